"""Files of torch.export: figures equal to the eager model's, inputs of the example, and what is refused unread."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.load.exported.vetting import Refused, vetted
from archcalc.errors import BadInput, BadReference, CannotFollow, WrongUse
from tests.helpers import report, run

KEYS = ("params", "buffers", "macs", "elementwise_flops", "peak_bytes", "output_bytes")


class Net(nn.Module):
    """A convolution, a norm, a tied table and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 10)
        self.register_buffer("scale", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)) * self.scale)


class Nested(nn.Module):
    """Inputs in a dict and by name; a result in a dict; embeddings and a head of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, batch: dict[str, Tensor], factor: int, mask: Tensor | None = None) -> dict[str, Tensor]:
        x = self.table(batch["ids"]) * factor
        return {"logits": self.head(x if mask is None else x * mask[..., None])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.pt2 at a batch of 2, any.pt2 at any batch up to 64, and nested.pt2."""
    made = tmp_path_factory.mktemp("programs")
    image = (torch.randn(2, 3, 16, 16),)
    dynamic = {"x": {0: torch.export.Dim("b", max=64)}}
    nested = ({"ids": torch.zeros(2, 5, dtype=torch.long)}, 3), {"mask": torch.ones(2, 5)}
    torch.export.save(torch.export.export(Net().eval(), image), made / "net.pt2")
    torch.export.save(torch.export.export(Net().eval(), image, dynamic_shapes=dynamic), made / "any.pt2")
    torch.export.save(torch.export.export(Nested().eval(), *nested), made / "nested.pt2")
    return made


pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export's own


def test_figures(folder: Path) -> None:
    """Those of the eager model, in all and by layer; of a training step, too."""
    ours, eager = report(str(folder / "net.pt2")), report(Net().eval(), (2, 3, 16, 16))
    assert {key: ours.totals[key] for key in KEYS} == {key: eager.totals[key] for key in KEYS}
    assert ours.macs == 2 * 16 * 16 * 3 * 9 * 8 + 2 * 8 * 10
    for path in ("body.0", "body.1", "body.2", "head"):
        one, other = ours.layers[path], eager.layers[path]
        assert (one.type, one.params, one.macs) == (other.type, other.params, other.macs)
    assert ours.trace.inputs[0].origin == "its example inputs"
    step = report(str(folder / "net.pt2"), train=True)
    assert step.totals["gradients_bytes"] <= 4 * step.params
    assert any("exported in" in note for note in step.notes)


def test_nested_inputs(folder: Path) -> None:
    """A dict, a number that the graph keeps, and an input by name; tied weights count once."""
    mask = torch.ones(2, 5, device="meta")
    eager = report(Nested(), {"batch": {"ids": torch.zeros(2, 5, dtype=torch.long)}, "factor": 3, "mask": mask})
    ours = report(str(folder / "nested.pt2"))
    alike = [key for key in KEYS if key != "peak_bytes"]
    assert {key: ours.totals[key] for key in alike} == {key: eager.totals[key] for key in alike}
    # the graph frees x once it is masked, and the eager forward keeps it under its name: 2 x 5 x 8 floats
    assert ours.peak_bytes == eager.peak_bytes - 4 * 2 * 5 * 8
    assert ours.params == 20 * 8


class Moves(nn.Module):
    """Changes of type and device, which a graph writes as ops with a device, and an `and` of masks."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            far = torch.arange(x.shape[1], device=x.device)
            seen = (far[None] <= far[:, None]) & (far[None] > far[:, None] - 3)
        return (seen.to(device=x.device, dtype=torch.float32) @ x.to("cpu", torch.float64).float()).to(x.dtype)


def test_devices_of_the_export(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Moves(), (torch.randn(6, 6),)), tmp_path / "moves.pt2")
    made = report(str(tmp_path / "moves.pt2"))
    assert (made.macs, made.totals["uncounted"], made.notes) == (6 * 6 * 6, [], ())


def test_sizes_that_may_change(folder: Path) -> None:
    """The batch of a program exported for any is an option; others, and those out of range, are refused in words."""
    net, any_ = str(folder / "net.pt2"), str(folder / "any.pt2")
    assert report(any_, batch=7).macs == 7 * report(any_, batch=1).macs
    assert report(any_, "5x3x16x16").macs == 5 * report(any_, batch=1).macs
    for reference, how, words in (
        (net, {"batch": 3}, "fixed"),
        (any_, {"size": 32}, "fixed"),
        (any_, {"batch": 100}, "up to 64"),
        (any_, {"inputs": "2x3x16x17"}, "does not take x=2x3x16x17"),
        (net, {"inputs": {"y": "2x3x16x16"}}, "its inputs are  x"),
    ):
        with pytest.raises(BadInput, match=words):
            archcalc.analyze(reference, **how)
    for how in ({"knobs": {"width": 2}}, {"dtype": "bfloat16"}, {"mode": "train"}, {"data": True}):
        with pytest.raises(WrongUse, match="does not apply"):
            archcalc.analyze(net, **how)


def changed(source: Path, target: Path, name: str, change: Callable[[bytes], bytes]) -> str:
    """A copy of an archive with one of its files changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, change(content) if entry.endswith(name) else content)
    return str(target)


def test_no_pickle_is_opened(folder: Path, tmp_path: Path) -> None:
    """Example inputs, stored as a pickle, may hold anything; a weight that is one is refused."""
    bad = b"cos\nsystem\n(S'touch ran'\ntR."
    inputs = changed(folder / "net.pt2", tmp_path / "inputs.pt2", "sample_inputs/model.pt", lambda _: bad)
    assert report(inputs).params == report(Net(), (2, 3, 16, 16)).params
    config = "model_weights_config.json"
    pickled = changed(
        folder / "net.pt2",
        tmp_path / "w.pt2",
        config,
        lambda text: text.replace(b'"use_pickle": false', b'"use_pickle": true', 1),
    )
    with pytest.raises(CannotFollow, match="as a pickle, which could run any code"):
        archcalc.analyze(pickled)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.ops.aten.relu.default", "torch.os.system"),
        ("torch.ops.aten.relu.default", "torch.ops.load_library"),
        ("torch.ops.aten.relu.default", "torch.ops.aten.__class__"),
        ("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default"),
        ("torch.ops.aten.relu.default", "_operator.attrgetter"),
        ("Symbol('s77', positive=True, integer=True)", "__import__('os').system('touch ran')"),
        ("Symbol('s77', positive=True, integer=True)", "Symbol('s77').__class__"),
        ("Symbol('s77', positive=True, integer=True)", "Max('print(1)', 2)"),
        ('"name": "relu"', '"name": "relu, y=print(1)"'),
        ("body.0,torch", 'body.0\\", print(1),torch'),
    ],
)
def test_a_graph_that_says_more_than_ops_and_sizes(folder: Path, tmp_path: Path, old: str, new: str) -> None:
    """Torch's reader would look up, evaluate or compile each of these."""
    with zipfile.ZipFile(folder / "any.pt2") as file:
        text = file.read("any/models/model.json").decode()
    symbol = text.partition("Symbol('")[2].partition("'")[0]
    old = old.replace("s77", symbol)
    assert old in text
    vetted(json.loads(text))
    with pytest.raises(Refused):
        vetted(json.loads(text.replace(old, new)))
    made = changed(
        folder / "any.pt2", tmp_path / "any.pt2", "model.json", lambda t: t.replace(old.encode(), new.encode())
    )
    with pytest.raises(CannotFollow, match="is not read"):
        archcalc.analyze(made)


def test_guards_are_not_run(folder: Path, tmp_path: Path) -> None:
    def guarded(text: bytes) -> bytes:
        return json.dumps({**json.loads(text), "guards_code": ["print(1 / 0)"]}).encode()

    assert report(changed(folder / "net.pt2", tmp_path / "net.pt2", "model.json", guarded)).macs


def test_other_files_end_in_a_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, an empty file, noise, half an archive, a zip of something else, weights, TorchScript, ONNX."""
    monkeypatch.chdir(tmp_path)
    whole = (folder / "net.pt2").read_bytes()
    Path("folder.pt2").mkdir()
    Path("empty.pt2").write_bytes(b"")
    Path("noise.pt2").write_bytes(b"noise" * 99)
    Path("half.pt2").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile("zip.pt2", "w") as file:
        file.writestr("a/b", "c")
    changed(folder / "net.pt2", Path("list.pt2"), "models/model.json", lambda _: b"[]")
    changed(folder / "net.pt2", Path("cut.pt2"), "models/model.json", lambda text: text[:99])
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), "scripted.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), "scripted.pt2")
    torch.save(nn.Linear(2, 2).state_dict(), "weights.pt")
    for name, words in (
        ("folder.pt2", "it is a folder"),
        ("empty.pt2", "is empty"),
        ("none.pt2", "there is no file"),
        ("noise.pt2", "no archive of torch.export"),
        ("half.pt2", "no archive of torch.export"),
        ("zip.pt2", "no program called model"),
        ("list.pt2", "damaged"),
        ("cut.pt2", "damaged"),
        ("scripted.pt", "torch.jit.load"),
        ("scripted.pt2", "torch.jit.load"),
        ("weights.pt", "path/to/file.py:Net"),
        ("weights.pth", "path/to/file.py:Net"),
        ("last.ckpt", "path/to/file.py:Net"),
        ("pytorch_model.bin", "config.json"),
        ("model.safetensors", "config.json"),
        ("model.onnx", "torch.export.save"),
    ):
        ran = run("flops", name)
        assert (ran.code, ran.out) == (2, ""), name
        assert words in ran.err, (name, ran.err)


def test_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    answer = json.loads(run("memory", "any.pt2", "--batch", "3", "--train", "--no-changes", "--json").out)
    assert (answer["model"]["source"], answer["inputs"][0]["shape"]) == ("exported", [3, 3, 16, 16])
    ran = run("any.pt2", "--batch", "3")
    assert "any.pt2 · exported · input 3x3x16x16 float32" in ran.out
    assert run("flops", "any.pt2", "-i", "x=3x3x16x16").code == 0


OBJECTS = """
import torch
from torch import nn

class Lightning(nn.Module):  # as a LightningModule is one, with its example_input_array
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 4)
        self.example_input_array = torch.zeros(3, 6)
    def forward(self, x):
        return self.net(x)

scripted = torch.jit.script(nn.Linear(6, 4))

def exported():
    return torch.export.load("linear.pt2").module()
"""


@pytest.mark.parametrize(("name", "inputs"), [("Lightning", None), ("scripted", "3x6"), ("exported", "3x6")])
def test_modules_of_other_kinds_as_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, inputs: Any
) -> None:
    """A Lightning module (its own example is the input), a scripted module, the module of an exported program."""
    program = torch.export.export(nn.Linear(6, 4), (torch.zeros(3, 6),))
    assert report(program.module(), (3, 6)).macs == 3 * 24
    monkeypatch.chdir(tmp_path)
    torch.export.save(program, "linear.pt2")
    file = tmp_path / "objects.py"
    file.write_text(OBJECTS)
    made = report(f"{file}:{name}", inputs)
    assert (made.params, made.macs, made.output_shape) == (28, 3 * 24, (3, 4))


def test_a_damaged_reference_needs_no_torch() -> None:
    with pytest.raises(BadReference, match="there is no file"):
        archcalc.analyze("nowhere.pt2")
