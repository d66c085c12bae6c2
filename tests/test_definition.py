"""Parameters from the definition alone: no input, no forward pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import CannotImport, WrongUse
from archcalc.networks import catalogue
from tests.helpers import run, totals

MODELS = '''
import torch
from torch import nn

class Router(nn.Module):
    """8·(4 + 4) + 4·8 = 96 parameters; forward asks for values, and for an input that nobody declares."""
    def __init__(self, width=4):
        super().__init__()
        self.route = nn.Linear(width, 8, bias=False)
        self.experts = nn.ModuleList([nn.Linear(width, 1, bias=True) for _ in range(8)])
        self.register_buffer("scale", torch.ones(3, dtype=torch.float64))
        self.experts[0].weight.requires_grad_(False)

    def forward(self, x, what):
        raise RuntimeError("forward is not run")

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.LazyLinear(3)

    def forward(self, x):
        return self.linear(x)
'''


@pytest.fixture
def models(tmp_path: Path) -> str:
    """A file of models whose forward cannot run here."""
    file = tmp_path / "models.py"
    file.write_text(MODELS)
    return str(file)


def test_a_model_that_cannot_run_has_parameters(models: str) -> None:
    """4·8 + 8·(4 + 1) = 72 parameters, 4 of them frozen; a buffer of 3 doubles."""
    found = totals("params", f"{models}:Router")
    assert (found["params"], found["trainable_params"], found["buffers"]) == (72, 68, 3)
    assert totals("params", f"{models}:Router", "--set", "width=5")["params"] == 5 * 8 + 8 * 6


@pytest.mark.parametrize("name", catalogue.names()[::9])
def test_the_definition_has_the_parameters_of_the_run(name: str) -> None:
    made = archcalc.params(name)
    check = archcalc.analyze(name)
    for key in ("params", "trainable_params", "buffers", "params_bytes"):
        assert made.totals[key] == check.totals[key]


def test_a_module_at_hand_and_a_dtype() -> None:
    """Linear(4, 3) has 15 parameters: 30 bytes in bfloat16; a tied one counts once."""
    linear = nn.Linear(4, 3)
    tied = nn.ModuleDict({"a": linear, "b": linear})
    made = archcalc.params(tied, dtype="bfloat16")
    assert (made.params, made.totals["params_bytes"]) == (15, 30)
    assert (linear.weight.dtype, linear.weight.is_meta) == (torch.float32, False)


@pytest.mark.parametrize("options", [["--batch", "2"], ["-i", "1x4"], ["--mode", "train"], ["--data"], ["--size", "8"]])
def test_options_of_a_run_are_refused(options: list[str]) -> None:
    ran = run("params", "resnet-20", *options)
    assert ran.code == 2
    assert f"params takes no {options[0]}: parameters come from the definition alone" in ran.err


def test_keywords_of_a_run_are_refused() -> None:
    with pytest.raises(WrongUse, match="params takes no batch"):
        archcalc.params("resnet-20", batch=2)


def test_lazy_modules_say_that_they_need_an_input(models: str) -> None:
    with pytest.raises(CannotImport) as caught:
        archcalc.params(f"{models}:Lazy")
    assert "linear.weight is lazy" in caught.value.message
    assert "inputs=" in caught.value.hint
    assert " -i " in run("params", f"{models}:Lazy").err


def test_the_header_says_where_the_figures_come_from() -> None:
    assert run("params", "resnet-20").out.splitlines()[1] == (
        "resnet-20 · built-in · from the definition: no input, no run"
    )
    assert json.loads(run("params", "resnet-20", "--json").out)["inputs"] == []


def test_budgets_of_parameters_need_no_run(models: str, tmp_path: Path) -> None:
    """A model whose forward cannot run passes and fails budgets of parameters; others say that it cannot run."""
    file = tmp_path / "archcalc.toml"

    def check(line: str) -> int:
        file.write_text(f'[[check]]\nname = "router"\nmodel = "models.py:Router"\n{line}\n')
        return run("check", str(file)).code

    assert check("max_params = 72") == 0
    assert check("max_params = 71") == 1
    assert check("exact_params_bytes = 288") == 0  # 72·4
    assert check("max_params = 72\nmax_macs = 10") == 3


def test_a_training_step_is_not_a_definition() -> None:
    """A report of the definition has parameters and no multiply-adds at all."""
    assert "macs" not in archcalc.params("resnet-20").totals


class Sparse(nn.Module):
    """A sparse buffer, of which the size is in its values."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("graph", torch.eye(3).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_sparse_buffer_ends_in_a_sentence() -> None:
    with pytest.raises(archcalc.errors.ArchcalcError, match="graph is a sparse tensor"):
        archcalc.params(Sparse())
