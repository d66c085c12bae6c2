"""What a function of --inputs returns is taken as it is; what a caller gives in Python may be a specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import BadInput
from tests.helpers import run

STEPS = """
import torch
from torch import nn

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(8, 8)

    def forward(self, x, steps=1, mode="tensor", scale=None, flag=False):
        for _ in range(steps):
            x = self.f(x)
        return x.sum() if mode == "loss" else x

class Depth(Steps):
    def forward(self, x, size="1"):
        for _ in range(2 if size == "2" else 1):
            x = self.f(x)
        return x

x = torch.zeros(2, 8)
plain = lambda: x
ints = lambda: {"x": x, "steps": 3}
bools = lambda: {"x": x, "flag": True, "scale": None}
floats = lambda: {"x": x, "scale": 0.5}
strs = lambda: {"x": x, "mode": "loss"}
shapelike = lambda: {"x": x, "mode": "2x8"}
several = lambda: (x, 3, "loss")
listed = lambda: [x, 3]
metas = lambda: {"x": x, "scale": [{"ori_shape": (4, 5, 3), "filename": "a.jpg", "flip": False}]}
depth2 = lambda: {"x": x, "size": "2"}
"""


@pytest.mark.parametrize(
    ("model", "function", "macs", "output"),
    [
        ("Steps", "plain", 128, [2, 8]),  # 2·8·8
        ("Steps", "ints", 3 * 128, [2, 8]),
        ("Steps", "bools", 128, [2, 8]),
        ("Steps", "floats", 128, [2, 8]),
        ("Steps", "strs", 128, []),
        ("Steps", "shapelike", 128, [2, 8]),
        ("Steps", "several", 3 * 128, []),
        ("Steps", "listed", 3 * 128, [2, 8]),
        ("Steps", "metas", 128, [2, 8]),
        ("Depth", "depth2", 2 * 128, [2, 8]),
        ("Depth", "plain", 128, [2, 8]),
    ],
)
def test_plain_values_stay_what_they_are(model: str, function: str, macs: int, output: Any, tmp_path: Path) -> None:
    answer = _answer(tmp_path, STEPS, model, function)
    assert answer["totals"]["macs"] == macs
    assert [(given["name"], given["shape"]) for given in answer["inputs"]] == [("x", [2, 8])]
    assert _answer(tmp_path, STEPS, model, function, "shapes")["totals"]["output_shape"] == output


def _answer(folder: Path, source: str, model: str, function: str, command: str = "flops") -> Any:
    (folder / "m.py").write_text(source, encoding="utf-8")
    ran = run(command, f"{folder}/m.py:{model}", "--inputs", f"{folder}/m.py:{function}", "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


OBJECTS = """
import dataclasses, types
from collections import UserDict, namedtuple
from typing import NamedTuple

import torch
from torch import nn

class Image:
    def __init__(self, tensor):
        self.tensor = tensor
        self.itself = self

@dataclasses.dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor
    name: str = "b"

@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: torch.Tensor
    y: torch.Tensor

class Slots:
    __slots__ = ("x", "y")
    def __init__(self, x, y):
        self.x, self.y = x, y

class Object:
    def __init__(self, x, y):
        self.x, self.y, self.itself = x, y, self

class Out(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, data, image):
        return Out(self.fc(data["tensor"]), self.fc(image.tensor))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, batch):
        return self.inner({"tensor": batch.x}, Image(batch.y))

class Pair(Net):
    def forward(self, x, y):
        return self.inner({"tensor": x}, Image(y))

Named = namedtuple("Named", "x y")
two = lambda: (torch.ones(2, 4), torch.ones(2, 4))
batch = lambda: Batch(*two())
by_name = lambda: {"batch": Batch(*two())}
in_tuple = lambda: (Batch(*two()),)
frozen = lambda: Frozen(*two())
slots = lambda: Slots(*two())
an_object = lambda: Object(*two())
namespace = lambda: types.SimpleNamespace(**dict(zip("xy", two())))
named = lambda: Named(*two())
mapping = lambda: UserDict(zip("xy", two()))
read_only = lambda: (types.MappingProxyType({"x": 1}), Batch(*two()))[1]
"""
PLACES = ["batch.x", "batch.y"]


@pytest.mark.parametrize(
    ("model", "function", "places"),
    [
        *(("Net", name, PLACES) for name in
          ("batch", "by_name", "in_tuple", "frozen", "slots", "an_object", "namespace", "named", "read_only")),
        ("Pair", "named", ["x", "y"]),  # a named tuple is several arguments where forward takes as many
        ("Pair", "mapping", ["x", "y"]),
    ],
)  # fmt: skip
def test_objects_are_one_argument_and_their_tensors_are_inputs(
    model: str, function: str, places: list[str], tmp_path: Path
) -> None:
    """One linear layer of 4·4 + 4 parameters on 2x4, twice: 2·2·4·4 MACs."""
    answer = _answer(tmp_path, OBJECTS, model, function)
    assert (answer["totals"]["macs"], answer["rows"][0]["path"]) == (64, "inner.fc")
    assert [(given["name"], given["shape"]) for given in answer["inputs"]] == [(place, [2, 4]) for place in places]
    assert answer["inputs"][0]["from"].startswith("--inputs ")
    assert _answer(tmp_path, OBJECTS, model, function, "summary")["totals"]["params"] == 20


LISTS = """
import torch
from torch import nn

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem1, self.stem2 = nn.Linear(2, 3), nn.Linear(2, 3)
        self.body, self.head1, self.head2 = nn.Linear(3, 3), nn.Linear(3, 5), nn.Linear(3, 7)

    def forward(self, batch):
        outs = []
        for item in batch:
            f = self.stem1(item["domain1"]) if "domain1" in item else self.stem2(item["domain2"])
            h = self.body(f)
            outs.append({"l1": self.head1(h), "l2": self.head2(h)})
        return outs

alone = lambda: [[{"domain1": torch.zeros(4, 2)}, {"domain2": torch.zeros(6, 2)}]]
by_name = lambda: {"batch": alone()[0]}
"""


@pytest.mark.parametrize("function", ["alone", "by_name"])
def test_lists_of_dicts(function: str, tmp_path: Path) -> None:
    """Stems (4 + 6)·2·3, body (4 + 6)·3·3, heads (4 + 6)·3·(5 + 7) = 60 + 90 + 360."""
    answer = _answer(tmp_path, LISTS, "Heads", function)
    assert answer["totals"]["macs"] == 510
    assert [given["name"] for given in answer["inputs"]] == ["batch.0.domain1", "batch.1.domain2"]
    assert _answer(tmp_path, LISTS, "Heads", function, "summary")["totals"]["params"] == 9 + 9 + 12 + 20 + 28


WRONG = """
import torch
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(8, 8)

x = torch.zeros(2, 8)
number, long, half, yes = lambda: 3, lambda: 10**5000, lambda: 2.5, lambda: True
nothing, a_set, frozen = lambda: None, lambda: {1}, lambda: frozenset([x])
generator, iterator = lambda: (x for _ in range(1)), lambda: iter([x])
function, kind, module, package = lambda: number, lambda: Net, lambda: Net(), lambda: torch
keys, names, many, few = lambda: {0: x}, lambda: {"y": x}, lambda: (x, x), lambda: ()
not_callable = 5

async def later():
    return x

def breaks():
    raise ValueError("no\\nbatch")

def ends():
    raise SystemExit(3)
"""


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("number", 2, "gave 3, an int, which is no input"),
        ("long", 2, "gave (a number of 5,001 digits), an int, which is no input"),
        ("half", 2, "gave 2.5, a float, which is no input"),
        ("yes", 2, "gave True, a bool, which is no input"),
        ("nothing", 2, "gave None, which is no input"),
        ("a_set", 2, "gave a set, which is no input"),
        ("frozen", 2, "gave a frozenset, which is no input"),
        ("generator", 2, "gave a generator, which is no input"),
        ("iterator", 2, "gave a list_iterator, which is no input"),
        ("function", 2, "gave a function, which is no input"),
        ("kind", 2, "gave a type, which is no input"),
        ("module", 2, "gave a Net, which is no input"),
        ("package", 2, "gave a module, which is no input"),
        ("keys", 2, "gave a dict with the key 0, which is no name"),
        ("names", 2, "forward cannot take what"),
        ("many", 2, "gave: too many positional arguments"),
        ("few", 2, "gave: missing a required argument: 'input'"),
        ("not_callable", 2, "gave 5, an int, which is no input"),
        ("missing", 2, "cannot be used: "),
        ("breaks", 3, "raised ValueError: no batch."),
        ("ends", 3, "raised SystemExit: 3."),
    ],
)
def test_what_is_no_input_is_a_sentence(function: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(WRONG, encoding="utf-8")
    ran = run("flops", f"{tmp_path}/m.py:Net", "--inputs", f"{tmp_path}/m.py:{function}")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.err


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_coroutine_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(WRONG, encoding="utf-8")
    ran = run("flops", f"{tmp_path}/m.py:Net", "--inputs", f"{tmp_path}/m.py:later")
    assert (ran.code, "gave a coroutine, which is no input" in ran.err) == (2, True)


# ---- in Python -----------------------------------------------------------------------------------


class Steps(nn.Module):
    """The same module, at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(8, 8)

    def forward(self, x: Tensor, steps: int = 1, flag: bool = False) -> Tensor:
        for _ in range(steps):
            x = self.f(x)
        return x


@pytest.mark.parametrize(
    ("inputs", "macs"),
    [
        ("2x8", 128),
        ((2, 8), 128),
        ([2, 8], 128),
        (torch.Size((2, 8)), 128),
        (["2x8"], 128),
        ({"x": "2x8", "steps": 3}, 384),
        ({"x": (2, 8), "flag": True}, 128),
        ((torch.zeros(2, 8), 3), 384),
        ([torch.zeros(2, 8)], 128),
    ],
)
def test_texts_and_shapes_in_python_are_specifications(inputs: Any, macs: int) -> None:
    assert archcalc.analyze(Steps(), inputs).macs == macs


@pytest.mark.parametrize("inputs", [3, True, 2.5, {1}, {1: "2x8"}, iter([1]), lambda: 1, nn.Linear(1, 1)])
def test_what_is_no_input_in_python(inputs: Any) -> None:
    with pytest.raises(BadInput, match="inputs gave "):
        archcalc.trace(Steps(), inputs)


def test_objects_in_python_are_left_as_they_are() -> None:
    """Their tensors are emptied in a copy; the sizes of a setup apply to them too."""

    class Batch:
        def __init__(self) -> None:
            self.x, self.names = torch.ones(2, 8), ["a"]

    class Net(Steps):
        def forward(self, batch: Any) -> Tensor:  # type: ignore[override]
            batch.seen = True
            return self.f(batch.x)

    batch = Batch()
    report = archcalc.analyze(Net(), batch, batch=4)
    assert (report.macs, report.trace.inputs[0].name, report.trace.inputs[0].shape) == (256, "batch.x", (4, 8))
    assert batch.x.device.type == "cpu"
    assert not hasattr(batch, "seen")
