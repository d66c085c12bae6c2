"""CPU seconds and peak memory of commands on networks of n and 2n parts: what is linear doubles at most.

    python -m bench.scale                         chains of 50,000 and 100,000 additions, 5,000 and 10,000 layers
    python -m bench.scale --ops 500000 --layers 10000

Each command is a process of its own; the import of torch is in its figures, and stands in the first line alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parent.parent
COMMANDS = ("flops", "shapes", "memory", "traffic", "lint")


class Chain(nn.Module):
    """Additions, one behind the other, in one module."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """The sum, of the same shape."""
        for _ in range(self.length):
            x = torch.add(x, 1)
        return x


def layers(number: int) -> nn.Module:
    """Linear layers in a row."""
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(number)))


def measured(words: list[str]) -> tuple[float, float]:
    """CPU seconds and peak MiB of a process; SystemExit if it fails."""
    environment = {**os.environ, "ARCHCALC_CACHE": "off"}
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ends with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=50_000)
    parser.add_argument("--layers", type=int, default=5_000)
    options = parser.parse_args()
    print("import torch: {:.2f} s, {:,.0f} MiB".format(*measured(["-c", "import torch"])))
    for name, size in (("Chain", options.ops), ("layers", options.layers)):
        for command in COMMANDS:
            for number in (size, 2 * size):
                words = ["-m", "archcalc", command, f"bench/scale.py:{name}({number})", "-i", "1x4"]
                seconds, peak = measured(words)
                print(f"{command:8} {name} {number:9,} {seconds:7.2f} s {peak:7,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
