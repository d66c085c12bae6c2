"""How far the computed peaks are off, by source and by mode, and why: tables in Markdown from the rows of the cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from archcalc.text.units import exact
from bench.memory_truth.case import SOURCES

Row = Mapping[str, Any]
LIMITS = (0.1, 1.0, 3.0)
"""Bounds of the error's classes in percent."""
CLASSES = ("exact", "≤ 0.1 %", "≤ 1 %", "≤ 3 %", "more", "refused")
EXPLAINED = 0.9
"""The share of a difference that its causes must cover together."""


def class_of(row: Row) -> str:
    """The class of a case's error; a case that archcalc refuses though the machine runs it has its own."""
    if row["verdict"] == "refused":
        return "refused"
    if row["ours"] == row["truth"]:
        return "exact"
    error = abs(row["error"])
    return next((words for words, limit in zip(CLASSES[1:], LIMITS, strict=False) if error <= limit), "more")


def judged(rows: Iterable[Row]) -> list[Row]:
    """The rows that count: compared ones, and those that archcalc alone refuses."""
    return [row for row in rows if row["verdict"] in ("compared", "refused")]


def distribution(rows: Sequence[Row]) -> list[str]:
    """Two tables of cases by the class of their error: all and by source, then by mode."""
    counted = judged(rows)
    by_source = {"all": counted}
    by_source |= {words: [r for r in counted if r["source"] == source] for source, words in SOURCES.items()}
    modes = sorted({mode for row in counted for mode in row["modes"]})
    by_mode = {mode: [row for row in counted if mode in row["modes"]] for mode in modes}
    return [*_table("source", by_source), "", *_table("mode", by_mode)]


def _table(title: str, groups: Mapping[str, Sequence[Row]]) -> list[str]:
    head = [f"| {title} | cases | {' | '.join(CLASSES)} |", f"| :-- | --: |{' --: |' * len(CLASSES)}"]
    return head + [_counts(words, rows) for words, rows in groups.items() if rows]


def _counts(words: str, rows: Sequence[Row]) -> str:
    classes = [class_of(row) for row in rows]
    return f"| {words} | {len(rows)} | {' | '.join(str(classes.count(one)) for one in CLASSES)} |"


# ---- causes --------------------------------------------------------------------------------------


def causes(row: Row) -> list[dict[str, Any]]:
    """The entries that make up nine tenths of a difference, the largest first: op, ours, real, in bytes.

    An entry "inside OP" is all that the running op has made, results and buffers; "OP" are results of earlier calls;
    "another moment" says that ours peaks elsewhere, and by how much it is higher there.
    """
    why = row["why"]
    entries = [dict(entry) for entry in why["at_real_peak"]]
    if why["elsewhere"]:
        entries.append({"op": "another moment", "ours": why["elsewhere"], "real": 0, "blocks": [0, 0]})
    entries.sort(key=lambda entry: -abs(entry["ours"] - entry["real"]))
    total, covered, kept = sum(abs(e["ours"] - e["real"]) for e in entries), 0, []
    for entry in entries:
        if covered >= EXPLAINED * total:
            break
        covered += abs(entry["ours"] - entry["real"])
        kept.append(entry)
    return kept


def cause_in_words(row: Row) -> str:
    """The causes of a difference on one line."""
    if row["verdict"] == "refused":
        return str(row["reason"])
    drew = ["a draw at random decided what ran"] if row["why"].get("drew") else []
    parts = [f"{_holder(e)} {exact(e['ours'])} for {exact(e['real'])}" for e in causes(row)[:3]]
    return "; ".join(drew + parts) + f"; the peak is in `{row['why']['real_peak']}`"


def _holder(entry: Mapping[str, Any]) -> str:
    op: str = entry["op"]
    if op.startswith("inside "):
        return f"inside `{op.removeprefix('inside ')}`"
    return op if " " in op else f"results of `{op}`"


def by_cause(rows: Sequence[Row]) -> Iterator[str]:
    """All wrong cases under their first cause, causes with most cases first; then calls that take other bytes."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["verdict"] == "compared" and row["ours"] != row["truth"] and (entries := causes(row)):
            groups[entries[0]["op"]].append(row)
    for op, wrong in sorted(groups.items(), key=lambda group: -len(group[1])):
        yield f"\n## {op}: {len(wrong)} cases\n"
        for row in sorted(wrong, key=lambda row: -abs(row["error"])):
            size = f"{exact(row['ours'])} for {exact(row['truth'])}"
            ours = row["why"]["our_peak"]
            yield f"* **{row['error']:+.3f} %** {row['key']}: {size}. {cause_in_words(row)}. Ours: {ours}"


def calls_by_op(rows: Sequence[Row], source: str = "") -> Iterator[str]:
    """Calls anywhere in a step that take or leave other bytes than the real ones, by op, with the worst example."""
    groups: dict[str, list[tuple[Row, Mapping[str, Any]]]] = defaultdict(list)
    for row in rows:
        if row["verdict"] == "compared" and (not source or row["source"] == source):
            for call in row["why"]["calls"]:
                groups[call["op"]].append((row, call))
    for op, found in sorted(groups.items(), key=lambda group: -len({row["key"] for row, _ in group[1]})):
        row, call = max(found, key=lambda pair: abs(pair[1]["takes"][0] - pair[1]["takes"][1]))
        cases, times = len({row["key"] for row, _ in found}), sum(call["times"] for _, call in found)
        (ours, real), (left, truly) = call["takes"], call["leaves"]
        yield (
            f"* `{op}`, {cases} cases, {times} calls. Worst: {call['call']}: takes {ours:,} for {real:,}, "
            f"leaves {left:,} for {truly:,} ({call['where']}; {row['key']})"
        )


def not_compared(rows: Sequence[Row]) -> Iterator[str]:
    """The cases without a comparison, each with its reason."""
    for row in rows:
        if row["verdict"] in ("not run", "left out"):
            said = f" (archcalc: {row['ours_says']})" if "ours_says" in row else ""
            yield f"* {row['key']}: {row['verdict']}, {row['reason']}{said}"


HOW_TO_READ = """Each case: error of the peak, ours for the real bytes, then the entries that make it up at the
moment of the real peak (ours for real): *inside `OP`* is all that the running kernel has made, *results of `OP`* are
those of earlier calls, *another moment* says that ours peaks elsewhere and is that much higher there, *between ops* are
tensors that no op made, such as the 8 bytes of a number that autograd keeps, *not in the trace* ops that ours lacks.
`takes` is the most that a call holds while it runs, `leaves` what outlives it, ours for real.
`python -m bench.memory_truth 'SOURCE:NAME'` runs again.
"""


def working_table(rows: Sequence[Row]) -> str:
    """Everything for whoever mends the engine."""
    refused = [f"* {row['key']}: {row['reason']}" for row in rows if row["verdict"] == "refused"]
    lines = ["# How far the computed peaks are off", "", HOW_TO_READ, *distribution(rows), *by_cause(rows)]
    lines += ["", "## Calls that take other bytes, wherever they stand in a step", "", *calls_by_op(rows)]
    lines += ["", "## Refused by archcalc, though the machine runs it", "", *refused]
    lines += ["", "## Not compared", "", *not_compared(rows)]
    return "\n".join(lines) + "\n"
