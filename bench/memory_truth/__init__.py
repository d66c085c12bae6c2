"""The same step for real, and what the allocator says: is the computed peak the real one?

python -m bench.memory_truth                  the cases that have no row yet (a stopped run goes on); then the page
python -m bench.memory_truth 'users:*unet*'   these again, by SOURCE:NAME or the whole key, with their causes; '*': all
python -m bench.memory_truth --rerun-wrong    those again whose peaks are not equal; then the page
python -m bench.memory_truth --again          what archcalc computes now, beside the real bytes that are kept
python -m bench.memory_truth 'timm:*' --missing   of these the ones without a row; --rerun-wrong goes with patterns, too
python -m bench.memory_truth --table          all rows by cause, for whoever mends the engine
python -m bench.memory_truth --cuda           the same on a GPU, the page docs/accuracy-cuda.md

Rows are kept in bench/memory_truth.jsonl, the last of a case counts. Needs timm, torchvision, transformers, expecttest
and scipy for all cases; those of a library that is missing are left out.
"""

from bench.memory_truth.case import Case
from bench.memory_truth.comparison import row

__all__ = ["Case", "row"]
