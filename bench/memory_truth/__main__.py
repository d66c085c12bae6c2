"""Run cases and write the page; see the package for how to call it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench.memory_truth.case import Case
from bench.memory_truth.drawn import drawn
from bench.memory_truth.known import CASES
from bench.memory_truth.processes import kept, rows_of
from bench.memory_truth.table import working_table

ROWS = {"cpu": Path("bench/memory_truth.jsonl"), "cuda": Path("bench/memory_truth_cuda.jsonl")}


def all_cases() -> list[Case]:
    """Chosen cases first, then drawn ones."""
    return [*CASES, *drawn()]


def main(arguments: Sequence[str]) -> None:
    """Run the cases that the arguments name, print each, and write the page from all rows."""
    device = "cuda" if "--cuda" in arguments else "cpu"
    if "--table" in arguments:
        print(working_table(list(kept(ROWS[device]).values())))
        return
    patterns = [word for word in arguments if not word.startswith("--")]
    rows = kept(ROWS[device])
    cases = all_cases()
    if patterns:
        cases = [c for c in cases if any(fnmatch(f"{c.source}:{c.name}", p) or fnmatch(c.key, p) for p in patterns)]
    elif "--rerun-wrong" in arguments:
        cases = [c for c in cases if c.key in rows and rows[c.key].get("ours") != rows[c.key].get("truth")]
    else:
        cases = [c for c in cases if c.key not in rows]
    for number, made in enumerate(rows_of(cases, ROWS[device], device), 1):
        print(f"[{number}/{len(cases)}] {in_words(made)}", flush=True)


def in_words(made: dict[str, Any]) -> str:
    """A row as it is printed: its numbers, and what differs."""
    if made["verdict"] != "compared":
        return f"{made['key']}: {made['verdict']}, {made['reason']}"
    lines = [f"{made['key']}: {made['ours']:,} against {made['truth']:,}, {made['error']:+.3f} %"]
    if made["ours"] != made["truth"] and "why" in made:
        why = made["why"]
        lines += [f"    peaks: ours in {why['our_peak']}; real in {why['real_peak']}, in ours {why['there']}"]
        lines += [f"    ours is {why['elsewhere']:,} lower there than at its own peak"] if why["elsewhere"] else []
        for one in why["at_real_peak"][:6]:
            lines.append(f"    {one['op']}: {one['ours']:,} against {one['real']:,} in {one['blocks']} blocks")
        for one in why["calls"][:4]:
            lines.append(
                f"    {one['times']} x {one['where']} takes {one['takes']}, leaves {one['leaves']}: {one['call']}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
