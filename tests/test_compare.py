"""`compare`, and NAME[knob=value]: one network at several settings, each column with a name of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

import archcalc
from archcalc.engine.load.references import BuiltIn, parse
from archcalc.errors import BadReference
from tests.helpers import run, totals

CODE = """from torch import nn
class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(depth)))
    def forward(self, x):
        return self.layers(x)
"""


@pytest.mark.parametrize(
    ("text", "name", "knobs"),
    [
        ("conv[groups=4]", "conv", {"groups": 4}),
        ("conv[ groups = 4 , bias = true ]", "conv", {"groups": 4, "bias": True}),
        ("densenet[block_config=6,12,24,growth-rate=12]", "densenet", {"block_config": (6, 12, 24), "growth_rate": 12}),
        ("rnn[lengths=(20,12,5),output=last]", "rnn", {"lengths": (20, 12, 5), "output": "last"}),
        ("conv[rope={'type': 'a,b=c'},bias=false]", "conv", {"rope": {"type": "a,b=c"}, "bias": False}),
        ("conv", "conv", {}),
    ],
)
def test_knobs_in_brackets(text: str, name: str, knobs: dict[str, Any]) -> None:
    assert parse(text) == BuiltIn(name, knobs)


@pytest.mark.parametrize(
    "text", ["conv[groups=4", "conv[]", "conv[4]", "conv[=4]", "[groups=4]", "conv[a=1,a=2]", "conv[a=1]x"]
)
def test_broken_brackets_end_in_a_sentence(text: str) -> None:
    with pytest.raises(BadReference) as error:
        parse(text)
    assert "[knob=value]" in error.value.hint


@pytest.mark.parametrize("reference", ["net[1].py:Net", "a.py:Net([1, 2])", "folder[2]/trace.json"])
def test_other_references_may_have_brackets(reference: str) -> None:
    assert not isinstance(parse(reference), BuiltIn)


def rows(*arguments: str) -> dict[str, dict[str, Any]]:
    answer = json.loads(run("compare", *arguments, "--json").out)
    return {row["model"]: row for row in answer["rows"]}


def test_one_network_at_two_settings() -> None:
    """64·64·9 = 36,864 weights, and a quarter in 4 groups."""
    made = rows("conv", "conv[groups=4]")
    assert {name: row["params"] for name, row in made.items()} == {"conv": 36_864, "conv[groups=4]": 9_216}
    assert totals("flops", "conv[groups=4]") == totals("flops", "conv", "--set", "groups=4")
    assert "next: archcalc flops 'conv[groups=4]'" in run("params", "conv[groups=4]").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["conv[groups=4]", "--set", "groups=2"], "groups is given twice"),
        (["conv[grups=4]"], "did you mean  groups ?"),
        (["conv(groups=4)"], "write  'conv[groups=4]'"),
        (["net.py:Net[depth=4]"], "write  'net.py:Net(depth=4)'"),
    ],
)
def test_a_knob_that_is_set_twice_or_does_not_exist(options: list[str], said: str) -> None:
    ran = run("params", *options)
    assert ran.code == 2
    assert said in ran.err


def test_classes_are_told_apart_by_their_arguments(tmp_path: Path) -> None:
    """3 or 5 layers of 8·8 + 8 = 72 parameters."""
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "other.py").write_text(CODE)
    net, other = f"{tmp_path}/net.py:Net", f"{tmp_path}/other.py:Net"
    made = rows(net, f"{net}(depth=5)", "-i", "1x8")
    assert {name: row["params"] for name, row in made.items()} == {"Net": 216, "Net(depth=5)": 360}
    assert list(rows(net, other, "-i", "1x8")) == [net, other]
    assert list(rows(net, net, "-i", "1x8")) == ["Net (1)", "Net (2)"]


def test_a_setting_for_all_says_how_to_set_it_for_one() -> None:
    ran = run("compare", "conv", "conv", "--set", "groups=4")
    assert "conv (1)    conv (2)" in ran.out
    assert "--set applies to every model; for one of them write  'conv[groups=4]'" in ran.out
    assert "--set applies" not in run("compare", "conv", "conv[groups=4]").out


class Plain(nn.Linear):
    """Two of one class at hand."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def test_modules_at_hand_are_numbered() -> None:
    compared = archcalc.compare(Plain(4, 2), Plain(4, 3), inputs=(1, 4))
    assert compared.names == ["Plain (1)", "Plain (2)"]
    assert [report.params for report in compared.reports] == [10, 15]
