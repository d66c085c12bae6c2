"""The guidelines for fast networks as findings, and the faults that a trace proves: each rule broken once."""

from __future__ import annotations

import json
from math import sqrt

import pytest
import torch
from torch import nn

import archcalc
from archcalc import engine
from archcalc.analyses.lint.guidelines import pointwise
from archcalc.analyses.lint.lint import RULES, lint
from archcalc.errors import WrongUse
from tests.helpers import run


def findings(module, shape, **how):
    """The findings of a module by rule: path and number."""
    return [(f.guideline, f.path, f.value) for f in archcalc.lint(module, [shape], **how).findings]


def test_g1_is_the_ratio_to_the_bound():
    """240 to 60 channels at 28x28: hw(c1 + c2) + c1·c2 over 2·√(hw·B) + B/hw."""
    conv = nn.Sequential(nn.Conv2d(240, 60, 1, bias=False))
    hw, b = 784, 784 * 240 * 60
    ratio = (hw * 300 + 240 * 60) / (2 * sqrt(hw * b) + b / hw)
    assert findings(conv, (1, 240, 28, 28), only="G1", threshold={"G1": 1.2}) == [("G1", "0", pytest.approx(ratio))]
    assert findings(conv, (1, 240, 28, 28), only="G1", threshold={"G1": ratio + 0.01}) == []


def test_g2_is_the_traffic_at_equal_multiply_adds():
    """C channels in g groups against c/√g channels without: hw·2c/√g + c²/g."""
    conv = nn.Sequential(nn.Conv2d(256, 256, 1, groups=4, bias=False))
    hw = 56 * 56
    ratio = (hw * 512 + 256 * 64) / (hw * 256 + 256 * 64)
    assert findings(conv, (1, 256, 56, 56), only="G2") == [("G2", "0", pytest.approx(ratio))]
    same = sum(archcalc.analyze(nn.Conv2d(128, 128, 1, bias=False), [(1, 128, 56, 56)]).totals[k] for k in ("macs",))
    assert same == archcalc.analyze(conv, [(1, 256, 56, 56)]).macs == 51_380_224


class Branches(nn.Module):
    """Some convolutions side by side, whose results are concatenated."""

    def __init__(self, number, shared=False):
        super().__init__()
        first = nn.Conv2d(8, 8, 3, padding=1)
        self.branches = nn.ModuleList(first if shared else nn.Conv2d(8, 8, 3, padding=1) for _ in range(number))

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def test_g3_counts_layers_that_do_not_wait_for_one_another():
    """Five branches are five; a chain of five is one; one layer used five times is one."""
    assert findings(nn.Sequential(Branches(5)), (1, 8, 8, 8), only="G3") == [("G3", "0", 5)]
    chain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(5)))
    assert findings(chain, (1, 8, 8, 8), only="G3") == []
    assert findings(nn.Sequential(Branches(5, shared=True)), (1, 8, 8, 8), only="G3") == []


class Residual(nn.Module):
    """A 1x1 convolution with a shortcut and a ReLU."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1, bias=False)

    def forward(self, x):
        return torch.relu(self.conv(x) + x)


def test_g4_is_the_share_of_elementwise_traffic():
    """X of 800 elements, a weight of 64: the convolution moves 1,664, the sum 2,400, the ReLU 1,600."""
    share = (2400 + 1600) / (1664 + 2400 + 1600)
    assert findings(nn.Sequential(Residual()), (1, 8, 10, 10), only="G4") == [("G4", "0", pytest.approx(share))]


def test_a_bias_before_batch_norm_has_no_effect():
    """16 parameters that the mean takes away; without the bias, or behind a ReLU, nothing is found."""

    def net(bias, *between):
        return nn.Sequential(nn.Conv2d(8, 16, 3, bias=bias), *between, nn.BatchNorm2d(16))

    assert findings(net(True), (1, 8, 8, 8), only="B1") == [("B1", "0", 16)]
    assert findings(net(False), (1, 8, 8, 8), only="B1") == []
    assert findings(net(True, nn.ReLU()), (1, 8, 8, 8), only="B1") == []


def test_channels_that_are_padded():
    """58 channels fill 64; the image's 3 channels, depthwise kernels and 64 are no finding."""
    net = nn.Sequential(nn.Conv2d(3, 58, 1), nn.Conv2d(58, 58, 3, groups=58), nn.Conv2d(58, 64, 1))
    found = sorted(findings(net, (1, 3, 8, 8), only="C1"))
    assert found == [("C1", path, pytest.approx(6 / 58)) for path in "012"]
    assert findings(nn.Conv2d(3, 64, 1), (1, 3, 8, 8), only="C1") == []


class Dead(nn.Module):
    """A layer whose result is thrown away, through an op more."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(self, x):
        _ = self.unused(x).relu()
        return self.used(x)


def test_results_that_nothing_uses():
    """The dead layer's result of 100 x 64 numbers, and the ReLU's."""
    assert sorted(findings(Dead(), (100, 64), only="D1")) == [("D1", "", 25_600), ("D1", "unused", 25_600)]


def test_in_place_activations_that_copy():
    """ReLU6(inplace=True) keeps a copy of its input for backward; ReLU works in place. Only a step shows it."""
    net = nn.Sequential(nn.Linear(8, 8), nn.SiLU(inplace=True), nn.Linear(8, 8), nn.ReLU(inplace=True))
    assert findings(net, (4, 8), only="I1", train=True) == [("I1", "1", 4 * 8 * 4)]
    assert findings(net, (4, 8), only="I1") == []


class Plain(nn.Module):
    """A layer in a plain list."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8, bias=False)]

    def forward(self, x):
        return self.layers[0](x)


def test_weights_that_no_module_registers():
    """8 x 8 elements that no optimizer trains."""
    assert findings(Plain(), (1, 8), only="W1") == [("W1", "", 64)]


def test_shufflenet_v1_is_found_out_and_v2_is_not():
    """v1's units under G1, G2 and G4; v2 has no grouped 1x1 convolution, and a mean G1 ratio of 1.004."""
    codes = {finding.guideline for finding in archcalc.lint("shufflenet-v1").findings}
    assert {"G1", "G2", "G4"} <= codes
    trace = archcalc.trace("shufflenet-v2")
    assert not {"G1", "G2"} & {finding.guideline for finding in lint(trace).findings}
    ratios = [conv.traffic / conv.bound for conv in pointwise(trace)]
    assert round(sum(ratios) / len(ratios), 3) == 1.004
    assert not [conv for conv in pointwise(trace) if conv.groups > 1]
    unit = next(conv for conv in pointwise(archcalc.trace("shufflenet-v1")) if conv.path == "stage2.1.conv1")
    assert (unit.traffic, round(unit.bound)) == (240_000, 113_434)


def test_findings_that_a_designer_agrees_with():
    """Inception's blocks are in fragments, ResNet's are not; GPT-2's vocabulary fills no eights."""
    assert {f.guideline for f in archcalc.lint("inception", only="G3").findings} == {"G3"}
    assert not archcalc.lint("resnet-50", only="G1,G2,G3").findings
    assert [f.path for f in archcalc.lint("gpt2", only="C1").findings] == ["words"]


def test_ignored_layers_and_unknown_rules():
    """A glob alone is for all rules, behind a code for one; wrong codes and bounds are told."""
    net = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16))
    assert findings(net, (1, 8, 8, 8), only="B1", ignore="B1:0") == []
    assert findings(net, (1, 8, 8, 8), only="B1", ignore="*") == []
    assert findings(net, (1, 8, 8, 8), only="B1", ignore="G1:*") == [("B1", "0", 16)]
    for wrong in ({"only": "g1"}, {"threshold": {"G1": "x"}}, {"threshold": {"X1": 1}}, {"ignore": "X1:*"}):
        with pytest.raises(WrongUse):
            archcalc.lint(net, [(1, 8, 8, 8)], **wrong)


def test_nothing_that_was_typed_is_ignored():
    """Layers that are not there, bounds of rules left out, a bound that is no number, a rule without its step."""
    net = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16))
    for wrong in ({"ignore": "B1:head*"}, {"only": "B1", "threshold": {"G1": 2}}, {"threshold": {"G1": float("nan")}}):
        with pytest.raises(archcalc.ArchcalcError):
            archcalc.lint(net, [(1, 8, 8, 8)], **wrong)
    assert run("lint", "resnet-20", "--only", "I1").out.startswith("nothing was looked at: I1 is of a training step")


def test_the_command_and_its_formats():
    """One line a finding, JSON with totals, GitHub's annotations and SARIF; the exit code is 0."""
    done = run("lint", "shufflenet-v1", "--only", "G1", "--threshold", "G1=2.1")
    assert done.code == 0
    assert done.out.startswith("6 findings: 6 of G1")
    assert "240 to 60 channels at 784 positions" in done.out
    document = json.loads(run("lint", "shufflenet-v1", "--only", "G2", "--json").out)
    assert document["totals"]["findings"] == len(document["rows"]) == 31
    assert set(document["rows"][0]) == {"guideline", "path", "value", "bound", "advice"}
    sarif = json.loads(run("lint", "shufflenet-v1", "--only", "G2", "-f", "sarif").out)
    assert len(sarif["runs"][0]["results"]) == 31
    annotations = run("lint", "shufflenet-v1", "--only", "G2", "-f", "github").out
    assert annotations.count("::warning") == 31


def test_bounds_of_rules_in_a_check(tmp_path, monkeypatch):
    """Lint = ["G1 <= 1.5"] holds the worst layer to a bound, and names it."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "archcalc.toml"
    file.write_text('[[check]]\nmodel = "shufflenet-v1"\nlint = ["G1 <= 1.5", "G3"]\n')
    done = run("check")
    assert done.code == 1
    assert "G1 unequal channels" in done.out
    assert "240 to 60 channels" in done.out
    file.write_text('[[check]]\nmodel = "shufflenet-v2"\nlint = ["G1 <= 1.5", "G2 <= 1"]\nmax_traffic = "65 MiB"\n')
    assert run("check").code == 0
    file.write_text('[[check]]\nmodel = "shufflenet-v2"\nlint = ["G7 <= 1.5"]\n')
    done = run("check")
    assert done.code == 2
    assert "G7" in done.err


SILU = """
from torch import nn

def net():
    return nn.Sequential(nn.Linear(8, 8), nn.SiLU(inplace=True), nn.Linear(8, 8))
"""


def test_a_rule_of_a_training_step_follows_the_settings_of_its_check(tmp_path, monkeypatch):
    """The activation copies its input for the gradient of the layer before it; that layer frozen, it does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(SILU)
    check = '[[check]]\nmodel = "net.py:net"\ninput = "4x8"\nlint = ["I1 <= 0"]\n'
    (tmp_path / "archcalc.toml").write_text(check)
    assert run("check").code == 1
    (tmp_path / "archcalc.toml").write_text(check + 'frozen = ["0"]\n')
    assert run("check").code == 0


def test_a_check_traces_its_model_once(tmp_path, monkeypatch):
    """Budgets of figures, of rules and of time share one forward pass."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(SILU)
    budgets = 'max_params = "1 k"\nlint = ["G3 <= 3", "C1 <= 1"]\nmax_time = "1 ms on h100-sxm"\n'
    (tmp_path / "archcalc.toml").write_text(f'[[check]]\nmodel = "net.py:net"\ninput = "4x8"\n{budgets}')
    traced = []
    trace = engine.trace
    monkeypatch.setattr(engine, "trace", lambda *args: traced.append(args) or trace(*args))
    assert run("check").code == 0
    assert len(traced) == 1


def test_every_rule_says_what_it_is():
    """Codes are two characters, words and units are there, and the help of the command names the guidelines."""
    for code, rule in RULES.items():
        assert code == rule.code
        assert rule.words
        assert rule.unit
