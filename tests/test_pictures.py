"""Pictures for papers: areas are the figures, files are of their kind and the same every time, wrong use is told."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import archcalc
from archcalc.cli.app import app, command_name
from archcalc.cli.commands import register
from archcalc.render.pictures import areas
from tests.helpers import run
from tests.test_laws import STAIRS

register()
BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


def test_areas_are_the_values_and_fill_the_place() -> None:
    """Of resnet-50's parameters: each rectangle's share of 3 x 2 is the layer's share, and none lies outside."""
    report = archcalc.params("resnet-50")
    parts = [(layer.path, layer.params) for layer in report.root.walk() if not layer.children and layer.params]
    places = list(areas(parts, 1, 1, 3, 2))
    assert len(places) == len(parts)
    for place in places:
        assert place.w * place.h == pytest.approx(6 * place.value / report.params, rel=1e-9)
        assert 1 - 1e-9 <= place.x <= place.x + place.w <= 4 + 1e-9
        assert 1 - 1e-9 <= place.y <= place.y + place.h <= 3 + 1e-9


@pytest.mark.parametrize(
    ("typed", "ending", "says"),
    [
        ("params resnet-20", "svg", "resnet-20: 269.7 k in all"),
        ("memory resnet-20 --timeline", "svg", "resnet-20: peak "),
        ("sweep resnet-20 --set depth=20,32 --pareto macs,params:max --jobs 1", "svg", "resnet-20"),
        ("memory resnet-20 --fit 64MiB", "svg", "resnet-20: "),
        ("flops resnet-20", "pdf", ""),
        ("traffic resnet-20", "png", ""),
    ],
)
def test_a_picture_is_of_its_kind_and_the_same_every_time(typed: str, ending: str, says: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = []
    for number in range(2):
        file = tmp_path / f"{number}.{ending}"
        ran = run(*typed.split(), "-o", str(file))
        assert (ran.code, f"wrote {file}" in ran.err) == (0, True), ran.err
        made.append(file.read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(BEGINNINGS[ending])
    if says:
        ET.fromstring(made[0])
        assert f"<!-- {says}".encode() in made[0]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("summary resnet-20 -o x.svg", "this answer has no picture (.svg)."),
        ("params resnet-20 resnet-32 -o x.svg", "a picture is of one model; here are 2."),
        ("params resnet-20 --json -o x.svg", "a picture (.svg) has no other format."),
        ("sweep resnet-20 --set batch=1,2 -o x.svg", "add  --pareto macs,params:max"),
        ("flops channel-shuffle -o x.svg", "has any of macs: there is nothing to draw"),
        ("memory resnet-20 resnet-32 --fit 1GiB -o x.svg", "a picture is of one model; here are 2."),
        ("speed resnet-20 resnet-32 --on h100 -o x.svg", "a picture is of one model; here are 2."),
        ("speed --on -o x.svg", "this answer has no picture (.svg)."),
        ("snapshot resnet-20 -o x.svg", "the answer is JSON and has no form as .svg."),
        ("report resnet-20 -o x.json", "does not end in .html"),
        ("params resnet-20 -o x.html", "archcalc report MODEL -o x.html"),
        ("params resnet-20 -o x.xlsx", "end the file in  .json, .csv, .md, .tex, .txt"),
    ],
)
def test_what_cannot_be_drawn_is_told(typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*typed.split())
    assert ran.code == 2
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(command_name(command) for command in app.registered_commands))
def test_no_command_writes_a_text_to_a_file_of_another_kind(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages, pictures and sheets: what a command cannot make is refused before any work, in a sentence."""
    monkeypatch.chdir(tmp_path)
    given = {"cache": ["info"], "list": [], "devices": [], "check": [], "diff": ["resnet-20", "resnet-32"]}
    given["plan"] = ["gpt2", "--gpus", "2"]
    draws = name in ("params", "flops", "traffic", "memory", "speed", "law", "sweep", "serve")
    for ending in ("xlsx", "html", *(() if draws else ("svg", "pdf", "png"))):
        if (name, ending) != ("report", "html"):
            ran = run(name, *given.get(name, ["resnet-20"]), "-o", f"x.{ending}")
            assert (ran.code, f".{ending}" in ran.err, "Traceback" in ran.err) == (2, True, False), (ending, ran.err)
    assert list(tmp_path.iterdir()) == []


def test_a_law_that_is_not_there_is_told_and_not_drawn(tmp_path: Path) -> None:
    """The reason is printed; no file is made."""
    (tmp_path / "stairs.py").write_text(STAIRS)
    typed = f"law {tmp_path}/stairs.py:make(width=4) --over width -i 1x4 --figure params -o {tmp_path}/law.svg"
    ran = run(*typed.split())
    assert (ran.code, "no law" in ran.out, (tmp_path / "law.svg").exists()) == (3, True, False), ran.err
