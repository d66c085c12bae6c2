"""Draw, trace, or compare; see the package for how to call it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.speed_truth.cases import all_cases, drawn_from, write


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    if arguments[:1] == ["--draw"]:
        write(list(drawn_from(Path(arguments[1]))))
        return
    if arguments[:1] == ["--trace"]:
        from bench.speed_truth.traces import trace_missing

        trace_missing([case for case in all_cases() if case.table in (arguments[1:] or case.table)])
        return


if __name__ == "__main__":
    main(sys.argv[1:])
