"""Draw, trace, or compare; see the package for how to call it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.speed_truth.cases import all_cases, drawn_from, write
from bench.speed_truth.comparison import compare_all
from bench.speed_truth.page import BEGIN, END, section

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def main(arguments: list[str]) -> None:
    """Draw with --draw FOLDER, trace with --trace [TABLE...], else compare and write the page's section.

    With --missing only cases without a row are compared.
    """
    if arguments[:1] == ["--draw"]:
        write(list(drawn_from(Path(arguments[1]))))
        return
    if arguments[:1] == ["--trace"]:
        from bench.speed_truth.traces import trace_missing

        trace_missing([case for case in all_cases() if not arguments[1:] or case.table in arguments[1:]])
        return
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(before + section(compare_all("--missing" not in arguments)) + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
