"""Names, messages and values that act on a terminal, a log, a page or a spreadsheet are text in every format.

Each format is read back by a parser of its own.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unicodedata import category
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import archcalc
from archcalc.errors import CannotImport
from archcalc.render.document import EXACT, LAYER, TEXT, Column, Document, Table
from archcalc.render.formats import FORMATS, Screen, render
from archcalc.render.formats.as_html import as_html
from archcalc.render.formats.as_markdown import escaped, escaped_line
from archcalc.text.visible import ESCAPED, NUMBER, csv_cell, csv_line, visible, visible_json
from tests.helpers import in_rows, run

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07",
    "new\nline\rreturn\ttab",
    "\n\\input{/etc/passwd}",
    "\n::error::no",
    "::error file=a::no",
    "a ##[error]no",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "=1+1|cmd",
    "+x",
    "-x",
    "@SUM(A1)",
    "x;=1+1",
    "<script>alert(1)</script>&amp;",
    "]]><!-- --",
    "\"quoted'",
    "[link](https://evil.example) ![i](x)",
    "https://evil.example www.evil.example",
    "@someone #12 `code` *b* _i_ ~s~ $x$",
    "a|b",
    "[red]rich[/red]:smile:",
    "# heading",
    "% & $ # _ { } ~ ^ \\",
    "\ud800\ufffe\uffff\U000e0041",
    "{0} %25 %0A",
)
NAMES = [name.replace(".", "·") for name in HOSTILE]
"""The same as names of modules, which have no dots."""


def model(name: str) -> nn.Module:
    """A model with the name as that of a module, of a class, of a parameter, and in extra_repr."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.inner(x) * getattr(self, name).sum()

    def extra(self: Any) -> str:
        return name

    kind: Any = type(name, (nn.Module,), {"forward": forward, "extra_repr": extra})
    made = kind()
    made.inner = nn.Sequential()
    made.inner.add_module(name, nn.Linear(4, 4))
    made.register_parameter(name, nn.Parameter(nn.init.ones_(nn.Linear(4, 1).weight)))
    return made


def lines_of(text: str) -> list[str]:
    """The lines of a text, which must hold no character that acts on its reader, nor a command to a log."""
    lines = text.split("\n")
    for line in lines:
        assert not [hex(ord(c)) for c in line if category(c) in ESCAPED], line
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line
    return lines


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A stored trace of a model with each name, by the name; the file's own fields hold the name too."""
    folder = tmp_path_factory.mktemp("traces")
    document = json.loads(in_rows(archcalc.trace(model("NAME"), (2, 4))))
    trace = document["trace"]
    trace["model"] |= {"reference": "NAME", "source": "NAME", "settings": {"NAME": "NAME"}}
    trace["inputs"] = [{**input_, "name": "NAME", "origin": "NAME"} for input_ in trace["inputs"]]
    trace["notes"] = ["NAME"]
    text, paths = json.dumps(document), {}
    for number, name in enumerate(NAMES):
        path = folder / f"{number}.json"
        path.write_text(text.replace("NAME", json.dumps(name)[1:-1]), encoding="utf-8")
        paths[name] = str(path)
    return paths


COMMANDS = ("summary", "params", "flops", "memory --timeline", "shapes", "explain", "compare", "diff")


@pytest.mark.parametrize("format_", ["table", "plain", "md", "latex", "csv"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_format_lets_a_name_act(command: str, format_: str, traces: dict[str, str]) -> None:
    """Layers, classes, inputs, settings, notes and the model's name, from a stored trace."""
    usual = len(answer(command, traces["+x"], format_))
    every = 1 if command in ("summary", "diff") else 5
    for name, path in list(traces.items())[::every]:
        lines = answer(command, path, format_)
        assert len(lines) == usual, name
        if format_ == "latex":
            assert not [line for line in lines if "\\input" in line and not line.startswith("%")]
        if format_ == "csv":
            table = list(csv.reader(lines[:-1]))
            assert {len(row) for row in table} == {len(table[0])}
            assert not [c for row in table for c in row if c.startswith(tuple("=+-@")) and not NUMBER.fullmatch(c)]


def answer(command: str, path: str, format_: str) -> list[str]:
    name, *options = command.split()
    both = [path, path] if name in ("compare", "diff") else [path]
    ran = run(name, *both, *options, *(["--all"] if name == "diff" else []), "-f", format_)
    assert ran.code == 0, ran.err
    lines_of(ran.err)
    return lines_of(ran.out)


@pytest.mark.parametrize("name", [name for name in NAMES if "\ud800" not in name])
def test_names_of_a_module_at_hand(name: str) -> None:
    """As torch has them: of a module, a class, a parameter, and what extra_repr says."""
    report = archcalc.analyze(model(name), (2, 4))
    for text in (str(report), report.to_markdown(), report.to_latex(), report._repr_html_()):
        lines_of(text)
    assert report.layers[f"inner.{name}"].macs == 32
    assert json.loads(report.to_json())["rows"][1]["path"].endswith(name)


@pytest.mark.parametrize("name", NAMES)
def test_json_keeps_the_name_itself(name: str, traces: dict[str, str]) -> None:
    ran = run("flops", traces[name], "--json")
    assert ran.out.isascii()
    answer = json.loads(ran.out)
    assert answer["model"]["name"] == name
    assert f"inner.{name}" in [row["path"] for row in answer["rows"]]
    assert visible(f"note: {name}") in ran.err


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_keeps_the_name_and_shows_no_control(name: str, traces: dict[str, str]) -> None:
    lines_of(text := run("snapshot", traces[name]).out)
    (snapshot,) = json.loads(text)["models"]
    assert snapshot["reference"] == name
    assert f"inner.{name}" in [layer["path"] for layer in snapshot["layers"]]


def test_a_table_in_colour_has_the_codes_of_its_own_alone() -> None:
    document = _document("\x1b[31mred\x1b]0;x\x07[bold]b[/bold]")
    codes = re.findall(r"\x1b(?:\[[\d;]*m)?", render([document], "table", Screen(colour=True)))
    assert set(codes) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}


class Tags(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _document(name: str) -> Document:
    columns = [Column("path", "layer", LAYER), Column("what", name, TEXT), Column("params", "params", EXACT)]
    rows = [{"path": name, "what": name, "params": -5}]
    table = Table(columns, rows, {"path": "total", "what": "", "params": -5}, title=name)
    return Document("test", [name, name], [table], [name], {"totals": {}, "notes": [name]})


@given(name=st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None), min_size=1)))
def test_every_format_of_a_document_is_read_back(name: str) -> None:
    """One document with the name wherever a name can be."""
    document, shown = _document(name), visible(name)
    for format_ in FORMATS:
        if format_ != "json":
            lines_of(render([document], format_, Screen()))
    assert json.loads(render([document], "json", Screen()))["rows"][0]["path"] == name
    head, row = csv.reader(io.StringIO(render([document], "csv", Screen())))
    assert (head, row) == (["path", "what", "params"], [csv_cell(name), csv_cell(name), "-5"])
    page = Tags(as_html([document]))
    assert page.tags <= {"p", "small", "table", "thead", "tbody", "tfoot", "tr", "th", "td"}
    assert page.attributes <= {"style"}
    assert "".join(page.texts).count(shown) >= 5


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("<b>", r"\<b\>"),
        ("@someone", "@&#8203;someone"),
        ("owner/name#12", "owner/name#&#8203;12"),
        ("https://x", "https&#58;//x"),
        ("www.x", "www&#46;x"),
        ("[a](b)", r"\[a\](b)"),
        ("$x$ & y", "&#36;x&#36; &amp; y"),
        ("-5", "-5"),
    ],
)
def test_markdown_shows_text(typed: str, shown: str) -> None:
    assert escaped(typed) == shown


@pytest.mark.parametrize(
    ("typed", "shown"), [("# x", r"\# x"), ("- x", r"\- x"), ("12. x", r"12\. x"), ("===", r"\==="), ("12 x", "12 x")]
)
def test_a_line_of_markdown_begins_no_block(typed: str, shown: str) -> None:
    assert escaped_line(typed) == shown


def test_a_row_of_latex_is_no_argument_of_the_line_before() -> None:
    r"""`\\` takes a `[` or a `*` that follows it for its own."""
    table = Table([Column("path", "layer", LAYER)], [{"path": "a"}, {"path": "[2 others]"}, {"path": "*"}])
    text = render([Document("test", [], [table])], "latex", Screen())
    assert "{}[2 others]" in text
    assert "{}*" in text


@pytest.mark.parametrize(
    ("cell", "written"),
    [(-5, "-5"), (-0.5, "-0.5"), ("-5", "-5"), ("+1,000", '"+1,000"'), ("-2.5e-3", "-2.5e-3"), ("-1+1", "'-1+1"),
     ("=", "'="), (" =1", "' =1"), ("＝1", "'＝1"), ("\t=1", "\\t=1"), ("a;b", '"a;b"'), (True, "True")],
)  # fmt: skip
def test_numbers_stay_numbers_in_csv(cell: object, written: str) -> None:
    assert csv_line([cell]) == f"{written}\n"


@given(text=st.text(st.characters(codec=None)))
def test_what_is_visible_is_one_line_and_stays_as_it_is(text: str) -> None:
    assert len(lines_of(visible(text))) == 1
    assert visible(visible(text)) == visible(text)
    assert csv_cell(csv_cell(text)) == csv_cell(text)
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text


# ---- checks --------------------------------------------------------------------------------------

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module({name!r}, nn.Linear(4, 4))
    def forward(self, x):
        return self.get_submodule({name!r})(x)
def broken():
    raise ValueError({name!r})
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path


@pytest.mark.parametrize("name", [name for name in NAMES if "\ud800" not in name])
def test_checks_in_the_formats_of_machines(name: str, project: Path) -> None:
    """The name of a check, its message, a layer that is the largest, and the message of a model that fails."""
    (project / "net.py").write_text(NET.format(name=name), encoding="utf-8")
    quoted = json.dumps(name).replace("\\udb40\\udc41", "\\U000e0041")
    budget = f"input = '2x4'\nmax_params = 3\nmessage = {quoted}"
    text = f"[[check]]\nname = {quoted}\nmodel = 'net.py:Net'\n{budget}\n[[check]]\nmodel = 'net.py:broken'\n{budget}\n"
    (project / "archcalc.toml").write_text(text, encoding="utf-8")

    *annotations, count, end = run("check", "-f", "github").out.split("\n")
    assert (len(annotations), count, end) == (2, "1 failed, 1 could not be analysed, 0 passed", "")
    for annotation in annotations:
        command, place, message = re.fullmatch(r"::(error) (file=[^:]*)::(.*)", annotation).groups()
        lines_of(f"{command} {place}: {message}")
        assert [part.split("=")[0] for part in place.split(",")] == ["file", "line", "title"]
    suites = ET.fromstring(run("check", "-f", "junit").out)
    assert [suite.get("name") for suite in suites] == [re.sub(r"\s", " ", visible(name)), "net.py:broken"]
    assert [len(suite) for suite in suites] == [1, 1]
    lines_of("".join(suites.itertext()))
    sarif = json.loads(run("check", "-f", "sarif").out)
    for result in sarif["runs"][0]["results"]:
        lines_of(result["message"]["text"])
        assert unquote(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == "archcalc.toml"
    summary = (project / "summary.md").read_text(encoding="utf-8")
    lines_of(summary)
    assert not re.search(r"(?<!\\)<|@\w|https?://|(?<!&)#\d|(?<!\\)\]\(", summary), summary
    rows = [line for line in summary.split("\n") if line.startswith("| ")]
    assert {re.sub(r"\\.", "", row).count("|") for row in rows} == {7}
    for format_ in ("table", "plain", "md", "latex", "csv"):
        ran = run("check", "-f", format_)
        assert ran.code == 3
        lines_of(ran.out)


def test_an_annotation_is_one_line_with_its_own_breaks(project: Path) -> None:
    (project / "net.py").write_text(NET.format(name="a"), encoding="utf-8")
    text = '[[check]]\nname = "a%0A::error::b\\nc,d:e"\nmodel = "net.py:Net"\ninput = "2x4"\nmax_params = 3\n'
    (project / "archcalc.toml").write_text(text, encoding="utf-8")
    annotation = run("check", "-f", "github").out.split("\n")[0]
    assert "title=archcalc params%3A a%250A%3A%3Aerror%3A%3Ab\\nc%2Cd%3Ae::params: 20, limit ≤ 3" in annotation
    assert "(over by 17)%0Alargest: a 20" in annotation


@pytest.mark.parametrize("name", ['a"b\\c', "new\nline", "\x7f\u202e\U000e0041", "ö"])
def test_what_init_proposes_is_toml(name: str, project: Path) -> None:
    path = project / "odd" / f"{name}.py"
    path.parent.mkdir()
    path.write_text(NET.format(name="a"), encoding="utf-8")
    ran = run("init", f"odd/{name}.py:Net", "-i", "2x4")
    assert ran.code == 0, ran.err
    lines_of(ran.out)
    (check,) = tomllib.loads(ran.out)["tool"]["archcalc"]["check"]
    assert check["model"] == f"odd/{name}.py:Net"


# ---- errors and commands to paste -------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_errors_are_lines_of_their_own(name: str) -> None:
    ran = run("flops", name, "--json")
    assert ran.code == 2
    lines = lines_of(ran.err)
    assert lines[0].startswith("error: ")
    assert all(line.startswith("       ") for line in lines[1:-1])
    assert json.loads(ran.out)["error"]["kind"]


def test_the_message_of_a_model_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET.format(name="\n::error::x\x1b[2J"), encoding="utf-8")
    ran = run("flops", f"{tmp_path}/net.py:broken")
    lines_of(ran.err)
    assert ran.code == CannotImport.exit_code
    assert r"raised ValueError: ::error::x\x1b[2J." in ran.err


def test_a_command_to_paste_runs_nothing_of_a_stored_trace(tmp_path: Path) -> None:
    document = json.loads(in_rows(archcalc.trace(nn.Linear(2, 2), (1, 2))))
    document["trace"]["model"] |= {"source": "python", "reference": "$(reboot)"}
    for input_ in document["trace"]["inputs"]:
        input_ |= {"name": "x;reboot", "origin": "argument"}
    document["trace"]["inputs"] *= 2
    document["trace"]["inputs"][1] = {**document["trace"]["inputs"][0], "origin": "--inputs $(reboot)"}
    (tmp_path / "trace.json").write_text(json.dumps(document), encoding="utf-8")
    ran = run("flops", str(tmp_path / "trace.json"), "-f", "plain")
    assert ran.code == 0, ran.err
    assert "archcalc memory '$(reboot)' -i 'x;reboot=1x2' --inputs '$(reboot)'" in ran.out
