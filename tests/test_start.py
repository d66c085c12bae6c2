"""What a command imports before it answers: fast commands start without what they do not use."""

from __future__ import annotations

import random

import pytest
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

import archcalc
from archcalc.render.document import NAME, NUMBER, Column, Document, Table
from archcalc.render.formats.as_table import NARROW, as_table, cells
from archcalc.text.entry_points import entry_points
from tests.helpers import run, run_fresh

SLOW = ("torch", "pydantic", "rich", "importlib.metadata", "sympy", "tempfile")
"""Modules that no fast command needs, each of them some hundredths of a second."""
PRINTED = "import sys; from archcalc.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    ("line", "further"),
    [
        ("list", ("archcalc.tracing", "archcalc.ops", "archcalc.hardware", "archcalc.analyses.report")),
        ("--help", ("archcalc.tracing", "archcalc.ops", "archcalc.hardware", "archcalc.networks.catalogue")),
        ("flops --help", ("archcalc.tracing", "archcalc.ops", "archcalc.cli.commands.law")),
        ("--version", ("archcalc.tracing", "archcalc.ops", "archcalc.networks.catalogue")),
        ("devices 'rtx*'", ("archcalc.tracing", "archcalc.ops", "archcalc.networks.catalogue")),
        ("flops TRACE", ("archcalc.analyses.memory", "archcalc.cli.commands.law")),
    ],
)
def test_a_fast_command_imports_what_it_uses(line: str, further: tuple[str, ...], tmp_path: object) -> None:
    trace = f"{tmp_path}/trace.json"
    if "TRACE" in line:
        with open(trace, "w", encoding="utf-8") as file:
            file.write(archcalc.trace("resnet-20").to_json())
    ran = run_fresh(*line.replace("'", "").replace("TRACE", trace).split(), code=PRINTED)
    assert ran.code == 0, ran.err
    imported = set(ran.err.split())
    assert "archcalc.cli.app" in imported
    assert not imported & {*SLOW, *further}


def test_completion_imports_no_torch_and_no_pydantic() -> None:
    words = {"_ARCHCALC_COMPLETE": "complete_bash", "COMP_WORDS": "archcalc flops shufflenet-v", "COMP_CWORD": "2"}
    code = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
        "sys.argv = ['archcalc']; from archcalc.cli import main; main([])"
    )
    ran = run_fresh(code=code, **words)
    assert "shufflenet-v1" in ran.out
    assert not set(ran.err.split()) & {"torch", "pydantic", "rich", "importlib.metadata"}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("flops resnet-20 --batch x", "should be a valid integer"),
        ("flops resnet-20 --batch 0", "greater than or equal to 1"),
        ("flops resnet-20 --batch -3", "greater than or equal to 1"),
        ("flops resnet-20 --depth 1.5", "should be a valid integer"),
        ("flops resnet-20 --batch 1_0", ""),
    ],
)
def test_what_is_refused_is_refused_in_typers_words(typed: str, said: str) -> None:
    """Plain values are read without pydantic; all others as before."""
    ran = run(*typed.split())
    assert (ran.code == 2) == bool(said), ran.err
    assert said in ran.err


def test_entry_points_are_those_of_importlib() -> None:
    from importlib import metadata

    for group in ("console_scripts", "pytest11", "nothing.of.this.name"):
        assert set(entry_points(group)) == set(metadata.entry_points(group=group))
    assert [point.name for point in entry_points("pytest11", "archcalc")] in ([], ["archcalc"])


def test_letters_that_take_one_cell_are_known_as_such() -> None:
    for code in range(0x20, 0x10000):
        if NARROW.fullmatch(chr(code)):
            assert cell_len(chr(code)) == 1, hex(code)
    assert (cells("日本"), cells("e\u0301"), cells("größe ≥ 3")) == (4, 1, 9)


def drawn_by_rich(document: Document) -> str:
    """The only table of a document as rich draws it."""
    table = document.tables[0]
    head, body, _ = table.cells()
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    for title, left in zip(head, table.left_aligned(), strict=True):
        drawn.add_column(title, justify="left" if left else "right", no_wrap=True)
    for line in body:
        drawn.add_row(*map(Text, line))
    console = Console(width=1000, no_color=True, color_system=None, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(drawn, crop=False)
    head, rule, *rows = (line.rstrip() for line in captured.get().splitlines())
    return "\n".join([head, rule[: max(map(cells, (head, *rows)))], *rows])  # rich draws it on below the last gap


@pytest.mark.parametrize("seed", range(8))
def test_a_table_looks_as_rich_draws_it(seed: int) -> None:
    draw = random.Random(seed)
    letters = "abc é≥·日本★ "
    rows = [
        {"name": "".join(draw.choices(letters, k=draw.randint(1, 9))).strip(), "n": draw.randint(0, 10**6)}
        for _ in range(5)
    ]
    document = Document("x", ["x"], [Table([Column("name", "name", NAME), Column("n", "number", NUMBER)], rows)])
    ours = as_table([document], None, False)
    assert ours.strip() == f"x\n\n{drawn_by_rich(document)}".strip()


def test_colour_changes_no_letter() -> None:
    document = Document("x", ["a · b"], [Table([Column("n", "number", NUMBER)], [{"n": 1}], {"n": 1})], ["foot"])
    plain, coloured = (as_table([document], 80, colour) for colour in (False, True))
    assert "\x1b[1m" in coloured
    for style in ("\x1b[0m", "\x1b[1m", "\x1b[2m"):
        coloured = coloured.replace(style, "")
    assert coloured == plain
