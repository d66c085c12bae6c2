"""The same step for real, and what the allocator says: is the computed peak the real one?

python -m bench.memory_truth                  all cases that are not in the file of rows yet; then the page
python -m bench.memory_truth 'users:*unet*'   some of them again, printed with what differs
python -m bench.memory_truth --rerun-wrong    those again whose peaks are not equal
python -m bench.memory_truth --cuda           all of them on a GPU, the page docs/accuracy-cuda.md
"""

from bench.memory_truth.case import Case
from bench.memory_truth.comparison import row

__all__ = ["Case", "row"]
