"""The table of docs/benchmarks.md on configurations: the CPU seconds of an answer beside those of imports.

    pip install -c constraints.txt -e . && pip install transformers scipy     # and no torchvision
    python bench/configs.py llama3-8b mamba-2.8b

Each answer and the imports beside it are processes of one round. Where torchvision is installed, transformers imports
it with the class, so that an environment without it is the plainer measure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from processes import ROOT, macs_of, measured

FOLDER = ROOT / "tests" / "data" / "configs"
OTHERS = ("detr-r50",)
"""Left out unless named: its backbone is timm's, which needs torchvision."""
IMPORTS = ("from transformers import {kind}", "import torch, transformers", "import transformers")
"""What an answer is measured beside; `kind` is the class that the configuration names."""


def config_rows(python: str = sys.executable, names: list[str] | None = None) -> list[str]:
    """A line for each configuration of the tests' data, or for some of them, and one of the medians."""
    found = {name: _compared(python, FOLDER / f"{name}.json") for name in names or _names()}
    medians = [median(of) for of in zip(*(ratios for _, ratios in found.values()), strict=True)]
    return [
        *(_line(name, f"{macs:,}", ratios) for name, (macs, ratios) in found.items()),
        _line(f"the median of {len(found)}", "", medians),
    ]


def _names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem not in OTHERS)


def _compared(python: str, path: Path) -> tuple[int, list[float]]:
    """The multiply-adds of a configuration, and the CPU seconds of the answer by those of each import."""
    [kind] = json.loads(path.read_text(encoding="utf-8"))["architectures"]
    words = [python, "-m", "archcalc", "flops", f"hf:{path}", "--offline", "-f", "csv", "--depth", "0"]
    run = measured(words)
    macs = macs_of(run.out)
    if macs is None:
        raise SystemExit(f"{path.stem} is not answered: {' '.join(words)}")
    beside = [measured([python, "-c", code.format(kind=kind)]) for code in IMPORTS]
    if any(each.out is None for each in beside):
        raise SystemExit(f"{kind} does not import: {python} -c '{IMPORTS[0].format(kind=kind)}'")
    ratios = [run.cpu / each.cpu for each in beside]
    print(f"{path.stem:22} {run.cpu:5.2f} s, ratios {[round(ratio, 2) for ratio in ratios]}", file=sys.stderr)
    return macs, ratios


def _line(name: str, macs: str, ratios: list[float]) -> str:
    return f"| {name} | {macs} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"


if __name__ == "__main__":
    print("\n".join(config_rows(names=sys.argv[1:])))
