"""Ten models counted by archcalc and by other tools, beside what was derived without any counter: docs/peers.md.

pip install -c constraints.txt -e '.[bench]' && pip install --no-deps torchvision && pip install pillow
python bench/side_by_side.py            # writes docs/peers.md
python bench/side_by_side.py --models LSTM --out peers.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import ten_models  # noqa: E402
from processes import COLD, macs_of  # noqa: E402

OUT = HERE.parent / "docs" / "peers.md"
ARCHCALC = "archcalc"
HOW = {
    ARCHCALC: "dispatcher, tensors without data",
    "torch, meta": "dispatcher, tensors without data",
    "torch, CPU": "dispatcher, a run on CPU",
    "fvcore": "a jit trace of a run on CPU",
    "calflops": "patched functions, a run on CPU",
    "ptflops": "hooks and patched functions, a run on CPU",
    "torchinfo": "module hooks, a run on CPU",
    "thop": "module hooks, a run on CPU",
}
"""Each tool in the order of the page, and how it counts."""
NEAR = 0.03
"""How far from the derived number a right one may be: beyond biases, norms and activations, which some tools count."""


def command(tool: str, name: str) -> list[str]:
    """What is run."""
    if tool != ARCHCALC:
        return [sys.executable, str(HERE / "peers.py"), tool, name]
    model = ten_models.TEN[name]
    given = [word for text in model.inputs for word in ("-i", text)]
    reference = f"bench/ten_models.py:{model.make.__name__}"
    return [sys.executable, "-m", "archcalc", "flops", reference, *given, "-f", "csv", "--depth", "0"]


def counted(tool: str, name: str) -> int | None:
    """The multiply-adds that a tool prints; None if it fails."""
    done = subprocess.run(command(tool, name), capture_output=True, text=True, check=False, cwd=HERE.parent, env=COLD)
    macs = None if done.returncode else macs_of(done.stdout)
    print(f"{name:20} {tool:12} {done.stderr.strip()[-200:] if macs is None else macs}", file=sys.stderr)
    return macs


def near(macs: int | None, truth: int) -> bool:
    """Whether a count is right."""
    return macs is not None and abs(macs - truth) <= NEAR * truth


def cell(macs: int | None, truth: int) -> str:
    """A count as a share of what was derived; bold where it is wrong."""
    if macs is None:
        return "**fails**"
    share = f"{macs / truth:.3f}"
    return share if near(macs, truth) else f"**{share}**"


def summary_row(tool: str, counts: Mapping[str, int | None]) -> str:
    """A line of the first table: how many models a tool counts right, which it does not."""
    right = [name for name, macs in counts.items() if near(macs, ten_models.TEN[name].macs)]
    wrong = [
        f"{name} {'fails' if macs is None else f'{macs / ten_models.TEN[name].macs:.2f}'}"
        for name, macs in counts.items()
        if name not in right
    ]
    plain = tool == ARCHCALC or tool.startswith("torch,")
    label = tool.replace("torch,", "torch's counter,") if plain else f"{tool} {version(tool)}"
    return f"| {label} | {len(right)} of {len(counts)} | {', '.join(wrong) or '–'} | {HOW[tool]} |"


def page(names: Sequence[str]) -> str:
    """Run every tool on every model and write the page."""
    counts = {tool: {name: counted(tool, name) for name in names} for tool in HOW}
    rows = []
    for name in names:
        model = ten_models.TEN[name]
        cells = [cell(counts[tool][name], model.macs) for tool in HOW]
        inputs = " ".join(f"`{text}`" for text in model.inputs)
        rows.append(f"| {name} | {inputs} | {model.macs:,} | {model.source} | {' | '.join(cells)} |")
    return PAGE.format(
        torch=version("torch"),
        date=datetime.now(UTC).date().isoformat(),
        near=f"{NEAR:.0%}".replace("%", " %"),
        number=len(names),
        summary="\n".join(summary_row(tool, counts[tool]) for tool in HOW),
        head=" | ".join(HOW),
        line="|".join([" --: "] * len(HOW)),
        rows="\n".join(rows),
    )


PAGE = """\
# Beside other tools

{number} models of the usual kinds, counted by each tool as its documentation shows, a process a count, and
compared with a number that no counter made: what torchvision states beside its weights, or a sum written out by hand.
Measured on {date} with torch {torch}; repeat it with `python bench/side_by_side.py`, whose top says what it needs.
The models stand in `bench/ten_models.py`.

A count is *right* within {near}: some tools count biases, normalisation and activations among the multiply-adds, which
is a convention. A wrong one is shown as its share of the derived number.

<!-- peers -->
| tool | right | wrong, as a share of the truth | how it counts |
| :-- | --: | :-- | :-- |
{summary}
<!-- end of peers -->

ShuffleNet v2 comes out at 1.05 where normalisation and activations are counted. All other wrong counts have one cause:
attention and recurrent cells run in functions or in fused kernels, which hooks on modules do not see and for which a
tool has no formula. The number does not show it; fvcore logs a warning. archcalc counts torch's own operators, names
each one that it has no formula for, and prints such a total as `≥`.

## Every count

Shares of the derived multiply-adds; wrong ones in bold.

| model | input | derived MACs | from | {head} |
| :-- | :-- | --: | :-- |{line}|
{rows}

Time and memory of the same tools: [Benchmarks](benchmarks.md).
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(ten_models.TEN))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.out.write_text(page(options.models), encoding="utf-8")


if __name__ == "__main__":
    main()
