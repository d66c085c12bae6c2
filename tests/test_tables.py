"""Tables: content once, a shape per format; markup in names stays text; numbers are never cut."""

import csv
import io
import json

import pytest
from torch import Tensor, nn

import archcalc
from archcalc.render.document import EXACT, LAYER, SI, Column, Document, Table
from archcalc.render.formats import FORMATS, Screen, render
from archcalc.render.formats.as_table import as_table
from archcalc.render.layers import Selection
from archcalc.render.pages import flops, memory, params, shapes
from archcalc.text.encoding import encodable
from tests.helpers import report

EVIL = "a[b]_c|d&e<f>%#*`$"
ODD = Table(
    [Column("path", "layer", LAYER), Column("params", "params", EXACT), Column("macs", "MACs", SI)],
    [{"path": f"{EVIL}.relu[relu]", "params": 2_653_900, "macs": 1_814_073_344}],
    {"path": "total", "params": 2_653_900, "macs": 1_814_073_344},
    frozenset(["macs"]),
)
DOCUMENT = Document("test", ["name[x] · about"], [ODD], ["foot"], {"totals": {}})


@pytest.mark.parametrize("name", ["table", "plain"])
def test_markup_in_names_stays_text_on_screens(name: str) -> None:
    text = render([DOCUMENT], name, Screen())
    assert f"{EVIL}.relu[relu]" in text
    assert "≥ 1.814 G" in text


def test_markdown_escapes_what_would_break_a_row() -> None:
    text = render([DOCUMENT], "md", Screen())
    row = next(line for line in text.splitlines() if "relu" in line)
    assert row.replace("\\|", "").count("|") == 4
    assert r"\[relu\]" in row


def test_latex_escapes_its_special_characters() -> None:
    text = render([DOCUMENT], "latex", Screen())
    assert r"a[b]\_c|d\&e\textless{}f\textgreater{}\%\#*`\$" in text
    assert r"$\geq$ 1.814 G" in text


def test_csv_and_json_keep_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(render([DOCUMENT], "csv", Screen()))))
    assert rows[0] == {"path": f"{EVIL}.relu[relu]", "params": "2653900", "macs": "1814073344"}
    assert json.loads(render([DOCUMENT], "json", Screen()))["rows"][0]["macs"] == 1_814_073_344


@pytest.mark.parametrize("width", [20, 40, 50, 80, 200])
def test_narrow_screens_shorten_names_and_nothing_else(width: int) -> None:
    text = as_table([DOCUMENT], width, colour=False)
    assert "2,653,900" in text
    assert "≥ 1.814 G" in text
    whole = f"{EVIL}.relu[relu]" in text
    assert whole == (width not in (40, 50)), "a name gives way where that is enough, and only there"


def test_colour_adds_codes_and_no_text() -> None:
    import re

    coloured = as_table([DOCUMENT], None, colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == as_table([DOCUMENT], None, colour=False).split()
    assert "\x1b[" in coloured


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_character_has_a_stand_in(name: str, encoding: str) -> None:
    """No '?' for what archcalc prints of its own accord."""
    made = report("resnet-20")
    documents = [flops.flops(made, Selection()), shapes.shapes(made, Selection(), only_changes=False)]
    text = encodable(render(documents, name, Screen()), encoding)
    text.encode(encoding)
    assert "?" not in text


class Deep(nn.Module):
    """Own parameters beside those of children, and an unused child."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(nn.init.ones_(nn.Linear(3, 1).weight))
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
        self.unused = nn.Linear(3, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self.scale


@pytest.mark.parametrize("depth", [None, 0, 1, 2, 3])
def test_rows_add_up_at_every_depth(depth: int | None) -> None:
    made = report(Deep(), (2, 3))
    for view, key in ((params.params, "params"), (flops.flops, "macs"), (memory.memory, "at_peak_bytes")):
        document = view(made, Selection(depth=depth))
        assert sum(row[key] for row in document.rows) == made.totals[key]


def test_a_module_with_children_shows_what_it_does_itself() -> None:
    rows = params.params(report(Deep(), (2, 3)), Selection(depth=1)).rows
    assert {(row["path"], row["itself"], row["params"]) for row in rows} == {
        ("", True, 3),
        ("inner", False, 24),
        ("unused", False, 400),
    }


def test_top_keeps_the_largest_and_folds_the_rest() -> None:
    made = report("resnet-18")
    rows = flops.flops(made, Selection(depth=2, top=3)).rows
    assert len(rows) == 4
    assert rows[-1]["path"] == "[12 others]"
    assert sum(row["macs"] for row in rows) == made.macs


def test_layers_are_selected_by_glob() -> None:
    made = report("resnet-18")
    document = flops.flops(made, Selection(layer="layer?.0"))
    assert [row["path"] for row in document.rows] == [f"layer{i}.0" for i in (1, 2, 3, 4)]
    total = document.tables[-1].total
    assert total is not None
    assert total["path"] == "selected"
    assert total["macs"] == sum(made.layers[f"layer{i}.0"].macs for i in (1, 2, 3, 4))


def test_lower_bounds_are_marked_in_total_and_foot() -> None:
    class Inverse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.inverse() @ x

    text = render([flops.flops(report(Inverse(), (4, 4)), Selection())], "plain", Screen())
    assert "≥ 64" in text
    assert "no rule for aten.linalg_inv_ex" in text
    assert "complete" not in text


def test_the_library_is_one_screen() -> None:
    made = archcalc.analyze("densenet-121")
    assert made.params == 7_978_856
    assert made.flops == 2 * made.macs
    assert made.layers["denseblock1"].output_shape == (1, 256, 56, 56)
    assert made.output_shape == (1, 1000)
