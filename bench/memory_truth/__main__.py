"""Run cases and write the page; see the package for how to call it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch

from bench.memory_truth.case import SOURCES, Case
from bench.memory_truth.comparison import ROWS
from bench.memory_truth.drawn import drawn
from bench.memory_truth.known import CASES
from bench.memory_truth.page import PAGES, page
from bench.memory_truth.processes import kept, rows_of, work_again
from bench.memory_truth.table import working_table

OPTIONS = ("--again", "--cuda", "--missing", "--rerun-wrong", "--table")


def all_cases() -> list[Case]:
    """Chosen cases first, then drawn ones."""
    return [*CASES, *drawn()]


def main(arguments: Sequence[str]) -> None:
    """Run the cases that the arguments name and print each; without patterns write the page from all rows."""
    device = "cuda" if "--cuda" in arguments else "cpu"
    if unknown := [word for word in arguments if word.startswith("--") and word not in OPTIONS]:
        sys.exit(f"there is no option {unknown[0]}: {', '.join(OPTIONS)}")
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here: run this on a machine with one, with a CUDA build of torch")
    if "--table" in arguments:
        print(working_table(list(kept(ROWS[device]).values())))
        return
    patterns = [word for word in arguments if not word.startswith("--")]
    cases = chosen(patterns, arguments, kept(ROWS[device]))
    work = work_again if "--again" in arguments else None
    for number, made in enumerate(rows_of(cases, ROWS[device], device, work), 1):
        print(f"[{number}/{len(cases)}] {in_words(made)}", flush=True)
    if not patterns:
        write_page(device)


def chosen(patterns: Sequence[str], options: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[Case]:
    """The cases that match a pattern, or all; of those the ones whose rows are not equal, or that have no row yet."""
    cases = all_cases()
    if patterns:
        cases = [c for c in cases if any(fnmatch(f"{c.source}:{c.name}", p) or fnmatch(c.key, p) for p in patterns)]
        if not cases:
            sys.exit(f"no case matches {' '.join(patterns)}: cases are named SOURCE:NAME, sources {', '.join(SOURCES)}")
    if "--again" in options:
        return [c for c in cases if c.key in rows]
    if "--rerun-wrong" in options:
        return [c for c in cases if c.key in rows and rows[c.key].get("ours") != rows[c.key].get("truth")]
    return [c for c in cases if c.key not in rows] if "--missing" in options or not patterns else cases


def write_page(device: str) -> None:
    """The page from the rows of all cases of today; rows of cases that are gone are left out."""
    rows = kept(ROWS[device])
    PAGES[device].write_text(
        page([c.described() | rows[c.key] for c in all_cases() if c.key in rows], device), encoding="utf-8"
    )


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
