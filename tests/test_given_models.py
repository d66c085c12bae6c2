"""What a function may return in place of a plain module: it works as the module does, or a sentence says why not."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc.engine.load.given_models import module_of, why_none
from archcalc.errors import BadInput, BadReference, CannotFollow
from tests.helpers import report, run, totals

NET = """
import dataclasses, functools
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.a, self.b = nn.Linear(8, width), nn.Linear(width, 4)

    def forward(self, x):
        return self.b(self.a(x).relu())


class Decorated(Net):
    @torch.compile
    def forward(self, x):
        return super().forward(x)


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.compile(Net())

    def forward(self, x):
        return self.inner(x)


@dataclasses.dataclass
class Bundle:
    model: nn.Module
    rate: float = 0.1


class Wrapper:
    def __init__(self):
        self.parts = {"net": Net()}

    def __call__(self, x):
        return x


def inner():
    net = Net()
    net.compile()
    return net


async def later():
    return Net()


partial = functools.partial(Net, width=8)
exported = lambda: torch.export.export(Net(), (torch.ones(2, 8),))
"""
LAMBDAS = {
    "compiled": "torch.compile(Net())",
    "parallel": "torch.compile(nn.DataParallel(Net()))",
    "scripted": "torch.jit.script(Net())",
    "traced": "torch.fx.symbolic_trace(Net())",
    "averaged": "torch.optim.swa_utils.AveragedModel(Net())",
    "program": "exported().module()",
    "pair": "(Net(), {'rate': 0.1})",
    "named": "{'model': Net()}",
    "bundle": "Bundle(Net())",
    "wrapper": "Wrapper()",
    "weights": "Net().state_dict()",
    "kind": "Net",
    "bound": "Net().forward",
    "unfinished": "functools.partial(Net, width=16)",
    "function": "lambda x: x",
    "nothing": "None",
    "optimizer": "torch.optim.Adam(Net().parameters())",
}


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """net.py in the current folder, with a function for each kind."""
    text = NET + "".join(f"{name} = lambda: {value}\n" for name, value in LAMBDAS.items())
    (tmp_path / "net.py").write_text(text)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("net")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "partial",
        "exported",
        "compiled",
        "parallel",
        "scripted",
        "traced",
        "averaged",
        "program",
        "Decorated",
        "Around",
        "inner",
    ],
)
def test_kinds_that_are_models(name: str) -> None:
    """Each is the two layers of 8·8 + 8 and 8·4 + 4 parameters, and 2·(64 + 32) MACs."""
    typed = (f"net.py:{name}", "-i", "2x8")
    assert totals("params", typed[0])["params"] == 108
    assert totals("flops", *typed)["macs"] == 192


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("pair", "it gives a tuple, with a module in it (item 0, a Net)", "return the model alone"),
        ("named", "it gives a dict, with a module in it ('model', a Net)", "return the model alone"),
        ("bundle", "it gives a Bundle, with a module in it (.model, a Net)", "return the model alone"),
        ("wrapper", "it gives a Wrapper, with a module in it (.parts, 'net', a Net)", "return the model alone"),
        ("weights", "it gives weights without the model", "return the model"),
        ("kind", "it gives the class Net", "return Net(...), or name the class itself"),
        ("bound", "it gives a method of Net", "return the module itself"),
        ("unfinished", "it gives a partial of Net", "return what it makes: Net(...)"),
        ("function", "it gives a function", "make it the forward of a torch.nn.Module"),
        ("nothing", "it gives nothing", "end the function with  return model"),
        ("optimizer", "it gives an Adam and not a torch.nn.Module", "name a module"),
        ("later", "it is asynchronous", "name a function without async"),
    ],
)
def test_kinds_that_are_none(name: str, words: str, hint: str) -> None:
    ran = run("flops", f"net.py:{name}", "-i", "2x8")
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert hint in ran.err


class Net(nn.Module):
    """8 -> 8 -> 4."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x).relu())


@pytest.mark.filterwarnings("ignore")
def test_the_library_takes_the_same_objects() -> None:
    """A program has the layers of its model and its example inputs; sizes that it was not exported for are refused."""
    program = torch.export.export(Net(), (torch.ones(2, 8),))
    made = report(program)
    assert made.macs == 192
    assert made.layers["a"].macs == 128
    with pytest.raises(BadInput, match="the exported program takes 2x8 and not 4x8"):
        archcalc.analyze(program, (4, 8))
    moving = torch.export.export(Net(), (torch.ones(2, 8),), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    assert archcalc.analyze(moving, batch=4).macs == 384
    with pytest.raises(BadInput, match=r"takes \?x8 and not 4x9"):
        archcalc.analyze(moving, (4, 9))
    assert report(torch.compile(Net()), (2, 8), train=archcalc.Training()).macs == 192
    for wrong in ((Net(), 3), None, partial(Net), Net().forward):
        with pytest.raises(BadReference, match="it gives"):
            archcalc.analyze(wrong, (2, 8))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
def test_layers_that_torch_quantized_are_refused() -> None:
    """Their weights are packed objects; before, they counted as no parameters at all."""
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(Net()), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(CannotFollow, match=r"0\.a is a Linear, whose weights have no shape here"):
        archcalc.params(quantized)
    plain: Any = nn.Sequential(torch.ao.nn.quantized.FloatFunctional(), Net())
    assert module_of(plain, "") is plain


def test_a_coroutine_is_closed() -> None:
    """Python would warn that it was never awaited."""

    async def later() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "asynchronous" in why_none(later())[0]
