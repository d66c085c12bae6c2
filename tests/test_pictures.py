"""Pictures for papers: areas are the figures, files are of their kind and the same every time, wrong use is told."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import archcalc
from archcalc.render.pictures import areas
from tests.helpers import run

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
    ],
)
def test_what_cannot_be_drawn_is_told(typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*typed.split())
    assert ran.code == 2
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []
