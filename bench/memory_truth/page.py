"""The page docs/accuracy.md, or docs/accuracy-cuda.md: how far off, what is more than 1 % off and why, every case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from archcalc.text.units import exact
from bench.memory_truth.case import KNOWN, OPERATORS, SOURCES
from bench.memory_truth.limits import MACS, PARAMETERS, STEP
from bench.memory_truth.table import cause_in_words, causes, distribution, judged, not_compared

Row = Mapping[str, Any]
PAGES = {"cpu": Path("docs/accuracy.md"), "cuda": Path("docs/accuracy-cuda.md")}
HOW = {
    "cpu": "the events of torch's allocator (`torch.profiler`, `profile_memory`)",
    "cuda": "the statistics of torch's allocator (`torch.cuda.max_memory_allocated`)",
}
CLASSES = {
    (
        "convolution",
        "convolution_backward",
    ): "layouts are computed by rule, and so is scratch in bfloat16; sums of several threads in float32 are estimated.",
    ("linalg_matrix_exp",): "the powers of the matrix, whose number depends on its values, are not counted.",
    ("between ops",): "numbers of Python that autograd keeps (8 bytes), states of the random generator in checkpoints.",
    ("not in the trace",): "another kernel runs on this machine than the one that is assumed.",
    ("kept from the first pass",): "results that every pass makes anew are counted once.",
    ("another moment",): "the two peaks are at different moments; the kernels' own memory decides which is higher.",
}
"""Words for classes of causes, by the ops or the words that they are seen in."""


def page(rows: Sequence[Row], device: str) -> str:
    """The whole page in Markdown, from the rows of all cases."""
    counted = judged(rows)
    lines = [
        f"# Accuracy of the memory figures{' on CUDA' if device == 'cuda' else ''}",
        "",
        *_wrapped(
            f"`python -m bench.memory_truth` runs each case for real on {device.upper()}, two training steps or two "
            f"forward passes, and follows {HOW[device]}. Beside them stands the peak of the second that "
            f"`archcalc memory MODEL --device {device}` computes (with `--train` for a training step) without running "
            "anything. Parameters, buffers and inputs are in both."
        ),
        "",
        *_verdict(counted),
        "",
        *(f"Measured {_until(rows)}with {each}." for each in sorted({r["machine"] for r in rows if "machine" in r})),
        "",
        *_wrapped(RULE),
        "",
        "## How far off",
        "",
        *distribution(rows),
        "",
        *_far(counted),
        *_sections(counted),
    ]
    listed = list(not_compared(rows))
    lines += ["", "## Not compared, and why", "", *listed] if listed else []
    return "\n".join(lines) + "\n"


def _until(rows: Sequence[Row]) -> str:
    """The last day of the runs, if the rows say it."""
    days = [row["day"] for row in rows if "day" in row]
    return f"on {max(days)} " if days else ""


def _wrapped(text: str) -> list[str]:
    joined = text.replace(" %", "\u00a0%")  # a number stays with its sign
    return [line.replace("\u00a0", " ") for line in wrap(joined, 118, break_on_hyphens=False)]


def _verdict(counted: Sequence[Row]) -> list[str]:
    compared = [row for row in counted if row["verdict"] == "compared"]
    exactly = sum(row["ours"] == row["truth"] for row in compared)
    tenth, one = (sum(abs(row["error"]) <= limit for row in compared) for limit in (0.1, 1))
    models = [row for row in compared if row["source"] != OPERATORS]
    near = sum(abs(row["error"]) <= 1 for row in models)
    return _wrapped(
        f"Of {len(counted)} cases {exactly} are equal to the byte, {tenth} within 0.1 % and {one} within 1 %; of the "
        f"{len(models)} models among them, without operators alone, {near} are within 1 %."
    )


RULE = (
    "All but the first group of cases are drawn by a rule, not chosen: the models of timm and transformers and the "
    "operators whose names have the smallest hashes, and all modules of `bench/memory_truth/users`; optimizer, "
    "loss, precision, batch, memory format, accumulation and frozen parts follow from other hashes of the name "
    f"(`bench/memory_truth/drawn.py`). Models of more than {PARAMETERS:,} parameters, steps of more than "
    f"{STEP / 2**30:.0f} GiB and forward passes of more than {MACS / 1e9:.0f} G multiply-adds are left out by the same "
    "rule. No case is left out because it is wrong. An operator's case is its largest sample in torch's database, "
    "often of a few hundred bytes, where 8 bytes are more than 1 %."
)
HOW_CAUSES_ARE_FOUND = (
    "The cause is computed: at the moment of the real peak all live bytes are set beside ours by the op that made "
    "them. *Inside* is all that the running kernel has made, results and buffers; *results* are those of earlier "
    "calls. The first number is ours, the second the real one."
)


def _far(counted: Sequence[Row]) -> list[str]:
    """What is more than 1 % off: each case with its causes, and words for classes of them."""
    far = [row for row in counted if row["verdict"] == "refused" or abs(row["error"]) > 1]
    if not far:
        return []
    explained = [row for row in far if "why" in row]
    lines = ["## More than 1 % off, and why", ""]
    if explained:
        lines += [
            *_wrapped(HOW_CAUSES_ARE_FOUND),
            "",
            *_classes(explained),
            "",
        ]
    lines += ["| case | error | cause |", "| :-- | --: | :-- |"]
    lines += [f"| {_case(row)} | {_error(row)} | {_cause(row)} |" for row in sorted(far, key=_size, reverse=True)]
    return [*lines, ""]


def _classes(rows: Sequence[Row]) -> Iterator[str]:
    """The classes of causes that occur, in words."""
    entries = {entry["op"].removeprefix("inside ") for row in rows for entry in causes(row)}
    for signs, words in CLASSES.items():
        if any(sign == entry or (" " in sign and sign in entry) for sign in signs for entry in entries):
            yield f"* {', '.join(sign if ' ' in sign else f'`{sign}`' for sign in signs)}: {words}"


def _size(row: Row) -> float:
    return abs(float(row.get("error", 1_000)))


def _cause(row: Row) -> str:
    return cause_in_words(row) if "why" in row or row["verdict"] == "refused" else ""


def _case(row: Row) -> str:
    return f"{row['name']} ({row['input']}, {_words(row)})"


def _words(row: Row) -> str:
    return f"{row['words']}, --data" if row.get("with_data") else str(row["words"])


def _error(row: Row) -> str:
    if row["verdict"] == "refused":
        return "refused"
    return "=" if row["ours"] == row["truth"] else f"{row['error']:+.3f} %"


def _sections(counted: Sequence[Row]) -> Iterator[str]:
    """A table of all cases of each source."""
    for source, words in SOURCES.items():
        rows = [row for row in counted if row["source"] == source and row["verdict"] == "compared"]
        if rows:
            reserved = "reserved" in rows[0]
            chosen = " (chosen by hand)" if source == KNOWN else ""
            yield f"## All {len(rows)} cases: {words}{chosen}"
            yield ""
            yield f"| model | input | step | computed, bytes | real, bytes | error |{' reserved, bytes |' * reserved}"
            yield f"| :-- | :-- | :-- | --: | --: | --: |{' --: |' * reserved}"
            yield from (
                _line(row) for row in (rows if source == KNOWN else sorted(rows, key=lambda row: str(row["name"])))
            )
            yield ""


def _line(row: Row) -> str:
    cells = [row["name"], row["input"], _words(row), exact(row["ours"]), exact(row["truth"]), _error(row)]
    cells += [exact(row["reserved"])] if "reserved" in row else []
    return f"| {' | '.join(cells)} |"
