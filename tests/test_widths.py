"""What terminals of several widths show: nothing wraps, numbers stay whole, the verdict stands first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from torch import Tensor, nn

from archcalc.cli.grouped_help import GROUPS
from archcalc.cli.output import Shown
from archcalc.render.document import BYTES, EXACT, NUMBER, SHARE, SI, Document
from archcalc.render.formats import Screen, render
from archcalc.render.formats.as_table import as_table
from archcalc.render.formats.fitting import LAST_TO_GO, fitted
from archcalc.render.layers import Selection
from archcalc.render.pages import params, shapes, summary
from archcalc.text.units import BYTE_UNITS, SI_UNITS, one_scale
from archcalc.text.wrapping import cells, wrapped_commands
from tests.documents import answers, as_plain_data, from_plain_data, stored
from tests.helpers import report, run
from tests.regenerate import all_networks

STORED = list(stored())
FIGURES = frozenset((EXACT, SI, BYTES, NUMBER))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = {
        (command, line)
        for command, document in STORED
        for line in as_table([document], width, False).splitlines()
        if cells(line) > width
    }
    assert not wide


def test_drawings_fit_a_terminal_of_80_columns() -> None:
    """Those of all members: one that does not fit is left out, and a line says so."""
    wide = {
        name: line
        for name, network in all_networks().items()
        for line in (network.diagram or network.family.diagram).splitlines()
        if cells(line) > 80
    }
    assert not wide


@pytest.mark.parametrize("width", [60, 80])
def test_every_figure_is_whole(width: int) -> None:
    """Only columns that may go are left out, and each figure of the others is printed with all its digits."""
    for command, document in STORED:
        text = as_table([document], width, False)
        for table in document.printed:
            for part in fitted(table, width):
                _, body, total = part.table.cells()
                kinds = part.table.kinds()
                lines = [*body, *([total] if total else [])]
                figures = {
                    cell.strip() for line in lines for cell, kind in zip(line, kinds, strict=True) if kind in FIGURES
                }
                assert not [figure for figure in figures if figure not in text], command
                gone = [column for column in table.columns if column.title in part.left_out]
                assert all(column.gives_way or column.kind in LAST_TO_GO for column in gone), (command, part.left_out)
                assert [*part.table.columns] == [column for column in table.columns if column not in gone], command


def test_a_wide_terminal_shows_all_columns_and_whole_names() -> None:
    for command, document in STORED:
        text = as_table([document], 240, False)
        assert "left out at" not in text, command
        assert "…" not in text, command


def test_flops_are_the_first_column_to_go() -> None:
    document = next(document for command, document in STORED if command == "flops densenet-121 --backward")
    whole = max(map(cells, as_table([document], None, False).splitlines()[4:20]))
    gone = []
    for width in range(whole + 20, 59, -1):
        head = next(line for line in as_table([document], width, False).splitlines() if line.startswith("layer"))
        gone += [name for name in ("FLOPs", "elementwise") if name not in head and name not in gone]
    assert gone == ["FLOPs", "elementwise"]


def test_the_verdict_is_one_line_that_names_a_figure() -> None:
    """At 80 columns the first line is the verdict, whole; the model's own line comes behind it."""
    for command, document in STORED:
        first = as_table([document], 80, False).splitlines()[0]
        assert first == document.head[0] or command.startswith(("memory", "law", "traffic")), (
            command,
            document.head[0],
        )
        assert " · input " not in document.head[0], command
        assert re.search(r"\d|equal|MACs|no (layer|finding)", document.head[0]), (command, document.head[0])


@pytest.mark.parametrize("command", ["summary resnet-20", "params gpt2", "explain conv2d"])
def test_what_is_stored_is_what_commands_print(command: str) -> None:
    """The file is written by `python -m tests.documents`; its form keeps all that a terminal prints."""
    for document in answers(command):
        again = as_plain_data(document)
        for width in (60, 100):
            assert as_table([restored(again)], width, False, True) == as_table([document], width, False, True)


def restored(made: dict[str, object]) -> Document:
    return from_plain_data(json.loads(json.dumps(made)))


class Blocks(nn.Module):
    """Six equal blocks, a seventh that is wider, and a head."""

    def __init__(self) -> None:
        super().__init__()
        equal = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(6)]
        self.layers = nn.Sequential(*equal, nn.Sequential(nn.Linear(8, 16), nn.ReLU()))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


def test_equal_blocks_are_one_row_with_their_sum() -> None:
    made = report(Blocks(), (2, 8))
    rows = {row["path"]: row for row in params.params(made, Selection()).rows}
    assert rows["layers.{0..5}.0"]["params"] == 6 * (8 * 8 + 8)  # 432
    assert rows["layers.{0..5}.0"]["times"] == 6
    assert rows["layers.6.0"]["params"] == 8 * 16 + 16  # 144
    assert sum(row["params"] for row in rows.values()) == made.params
    assert "layers.{0..5}.0 x6" in render([params.params(made, Selection())], "table", Screen())


def test_each_block_has_a_row_where_it_is_asked_for() -> None:
    made = report(Blocks(), (2, 8))
    for selection in (Selection(unfold=True), Selection(depth=2), Selection(each=True), Selection(layer="layers")):
        paths = [row["path"] for row in summary.summary(made, selection).rows]
        assert not any("{" in path for path in paths), selection
        assert any("layers.5" in path for path in paths) or selection.layer
    rows = shapes.shapes(made, Selection(), only_changes=False).rows
    assert [row["path"] for row in rows][:2] == ["layers.{0..5}.0", "layers.{0..5}.1"]
    assert len(shapes.shapes(made, Selection(unfold=True), only_changes=False).rows) == 6 * 2 + 2 + 1


def test_blocks_that_differ_in_one_figure_are_not_one() -> None:
    class Uneven(Blocks):
        def __init__(self) -> None:
            super().__init__()
            self.layers[2][0].bias = None

    paths = {row["path"] for row in params.params(report(Uneven(), (2, 8)), Selection()).rows}
    assert {"layers.{0..1}.0", "layers.2.0", "layers.{3..5}.0"} <= paths


def test_a_list_of_equal_blocks_stands_as_its_blocks() -> None:
    """gpt2's list does nothing itself: its twelve blocks of 7,087,872 parameters are one row, or twelve."""
    made = report("gpt2[seq_len=8]")
    rows = {row["path"]: row["params"] for row in summary.summary(made, Selection()).rows}
    each = {row["path"]: row["params"] for row in summary.summary(made, Selection(unfold=True)).rows}
    assert rows["blocks.{0..11}"] == 12 * 7_087_872  # 12·(12·768² + 13·768)
    assert [each[f"blocks.{number}"] for number in range(12)] == [7_087_872] * 12
    assert sum(each.values()) == sum(rows.values()) == made.params


@pytest.mark.parametrize(
    "options", ["params resnet-18 --unfold", "params gpt2 --unfold --json", "params gpt2 --unfold --depth 2"]
)
def test_unfolding_what_is_not_folded_is_an_error(options: str) -> None:
    ran = run(*options.split())
    assert ran.code == 2
    assert ran.err.startswith("error: --unfold")


@pytest.mark.parametrize("format_", ["md", "latex"])
def test_commands_to_try_next_are_no_part_of_a_document(format_: str) -> None:
    for _, document in STORED:
        text = render([document], format_, Screen())
        assert "next: " not in text
        assert "-v: " not in text, "a document has all footnotes"


def test_recurring_footnotes_are_one_line_unless_all_are_asked_for() -> None:
    short, long = run("flops", "resnet-20").out, run("flops", "resnet-20", "-v").out
    assert "convention: 1 MAC = 2 FLOPs; contractions only · -v: elementwise, complete\n" in short
    assert "elementwise: bias" not in short
    assert "elementwise: bias" in long
    assert "complete: " in long


def test_a_long_command_goes_on_as_a_shell_reads_it() -> None:
    commands = ["archcalc flops net.py:Net -i x=1x3x224x224 -i y=1x1000", "archcalc list"]
    lines = wrapped_commands("next: ", commands, 40)
    assert max(map(len, lines)) <= 40
    typed = " ".join(line.removesuffix("\\") for line in lines).removeprefix("next:")
    assert typed.split() == " ".join(commands).split()
    assert [line.endswith("\\") for line in lines] == [True, False, False]


@pytest.mark.parametrize(
    ("values", "base", "names", "texts"),
    [
        ([593_000_000, 2_998_000_000], 1000, SI_UNITS, ["0.593", "2.998"]),  # G
        ([3_000, 9_000_000_000], 1000, SI_UNITS, ["3.00", "9,000,000.00"]),  # k: in M the first would be 0.003
        ([2**20, 3 * 2**30], 1024, BYTE_UNITS, ["1.00", "3,072.00"]),  # MiB: 1/1024 GiB has no three digits
        ([0, 0], 1000, SI_UNITS, ["0", "0"]),
    ],
)
def test_a_column_has_one_unit(values: list[int], base: int, names: tuple[str, ...], texts: list[str]) -> None:
    scale = one_scale(values, base, names)
    assert [scale.text(value) for value in values] == texts


def test_every_command_is_in_a_group_of_the_help() -> None:
    from archcalc.cli.commands import NAMES

    assert not set(NAMES) - {name for group in GROUPS.values() for name in group}
    assert "..." not in run("--help").out.partition("What there is:")[2]


def test_progress_tells_how_much_is_left() -> None:
    class Status:
        text = ""

        def update(self, text: str) -> None:
            self.text = text

    now = [0.0]
    clock: Callable[[], float] = lambda: now[0]  # noqa: E731
    status = Status()
    shown = Shown(status, "members traced", clock)
    shown.expect(10)
    assert status.text == "0 of 10 members traced"
    now[0] = 40.0
    shown.advance()  # 40 s each: nine others take 360 s
    assert status.text == "1 of 10 members traced, about 6 min 0 s left"
    shown.estimate(2)
    assert status.text == "1 of about 2 members traced, about 40 s left"
    shown.advance()
    shown.advance()  # more than was thought
    assert status.text == "3 members traced"


def test_shares_sum_up_in_the_bar_that_is_left() -> None:
    """The bar shrinks with the width and goes before any column does."""
    document = next(document for command, document in STORED if command == "params gpt2")
    bars = [max(line.count("█") for line in as_table([document], width, False).splitlines()) for width in (120, 72, 56)]
    assert bars[0] > bars[1] > bars[2] == 0
    assert SHARE in [column.kind for column in document.tables[-1].columns]
