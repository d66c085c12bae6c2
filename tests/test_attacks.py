"""What an attacker found: cases that once gave a wrong number or a traceback."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import CannotImport, ForwardFailed, NeedsData
from tests.helpers import ROOT, report, run, run_fresh

MODELS = """
import sys
import torch
from torch import nn

class TiedFromOutside(nn.Module):
    def __init__(self):
        super().__init__()
        w = nn.Parameter(torch.randn(10, 10))
        self.a, self.b = nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False)
        self.a.weight = w
        self.b.weight = w
    def forward(self, x):
        return self.b(self.a(x))

class NeedsItsWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("index", torch.tensor([1, 3]))
        self.linear = nn.Linear(int(self.index.max()), 4)
    def forward(self, x):
        return self.linear(x)

class Exits(nn.Module):
    def forward(self, x):
        sys.exit(0)

class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no")

class RaisesSpeechless(nn.Module):
    def forward(self, x):
        raise Speechless

class Nothing(nn.Module):
    def forward(self):
        return torch.ones(3)

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.LazyLinear(4)
    def forward(self, x):
        return self.linear(x)
instance = nn.Linear(2, 2)
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.py").write_text(MODELS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def totals(*arguments: str) -> Any:
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["totals"]


def test_one_parameter_registered_twice_counts_once(models: Path) -> None:
    assert totals("params", "m.py:TiedFromOutside")["params"] == 100


def test_a_constructor_that_reads_its_buffers_gets_them(models: Path) -> None:
    assert totals("params", "m.py:NeedsItsWeights")["params"] == 3 * 4 + 4


def test_a_forward_without_arguments(models: Path) -> None:
    assert totals("memory", "m.py:Nothing")["output_bytes"] == 12


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("Exits", 3, "SystemExit: 0"),
        ("RaisesSpeechless", 3, "raised Speechless"),
        ("instance --set bogus=1", 2, "takes no --set"),
        ("instance -i x=1x2", 2, "has no argument 'x'"),
        ("instance -i input=1x2 -i input=1x2", 2, "given twice"),
    ],
)
def test_odd_models_end_in_a_sentence(models: Path, model: str, code: int, said: str) -> None:
    name, *more = model.split()
    ran = run("flops", f"m.py:{name}", *more, *([] if "-i" in model else ["-i", "1x2"]), "--json")
    assert ran.code == code
    assert said in ran.err
    assert json.loads(ran.out)["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["resnet-20", "--batch", "99999999999999999999"],
        ["resnet-20", "--size", "99999999999"],
        ["resnet-20", "-i", "99999999999999999999x3x2x2"],
        ["resnet-20", "-i", "x".join(["9"] * 70)],
        ["resnet-18", "--set", "num_classes=1000000000000000000000"],
        ["resnet-18", "--set", "widen_factor=1e999"],
        ["densenet-121", "--set", "growth_rate=9223372036854775807"],
        ["densenet-121", "--set", "block_config=()"],
        ["densenet-121", "--set", "block_config=True,True"],
        ["densenet-121", "--set", "block_config=1.5,2"],
        ["densenet-121", "--set", "depth={[]:1}"],
        ["m.py:Nothing({[]:1})"],
        ["m.py:" + "-" * 3000 + "1"],
    ],
)
def test_huge_and_twisted_settings_are_wrong_use(models: Path, arguments: list[str]) -> None:
    ran = run("flops", *arguments)
    assert ran.code in (2, 3)
    assert ran.err.startswith("error: ")
    assert "bug" not in ran.err
    assert "Traceback" not in ran.err


def test_a_tensor_overwritten_without_data_has_no_values() -> None:
    class Stale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            b = torch.zeros(x.shape)
            b.copy_(x.abs() + 1)
            for _ in range(int(b.sum())):
                x = x @ x
            return x

    with pytest.raises(NeedsData):
        archcalc.trace(Stale(), (2, 2))


def test_names_with_dots_stay_apart() -> None:
    """A name with a dot in it, and one that looks like a path which is taken."""

    class Dotted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Sequential()
            self.a.b = nn.Linear(4, 4)
            self._modules["a.b"] = nn.Linear(4, 4)
            self._modules["conv_0.5"] = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a.b(self._modules["a.b"](self._modules["conv_0.5"](x)))

    made = report(Dotted(), (1, 4))
    assert (made.params, made.macs) == (60, 48)
    assert {path: layer.macs for path, layer in made.layers.items() if layer.type == "Linear"} == {
        "a.b": 16,
        "a.b'": 16,
        "conv_0.5": 16,
    }


def test_a_module_that_cannot_be_copied_says_so() -> None:
    class Locked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.lock = threading.Lock()

    with pytest.raises(CannotImport, match="cannot be copied"):
        archcalc.trace(Locked(), (1, 2))


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weight_norm() -> None:
    made = report(nn.utils.weight_norm(nn.Linear(4, 4)), (1, 4))
    assert (made.params, made.macs) == (4 * 4 + 4 + 4, 16)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_script_modules() -> None:
    made = report(torch.jit.script(nn.Linear(4, 4)), (1, 4))
    assert (made.params, made.macs) == (20, 16)


def test_wrong_convolutions_are_refused_in_any_memory_format() -> None:
    """Bias of the wrong length, and groups that do not divide."""
    x = torch.zeros(1, 4, 8, 8).to(memory_format=torch.channels_last)
    net = nn.Conv2d(4, 6, 3)
    net.bias = nn.Parameter(torch.zeros(16))
    with pytest.raises(ForwardFailed, match="bias of 6 elements"):
        archcalc.trace(net, x)


@pytest.mark.parametrize(("spec", "bias"), [("int64:2x4", True), ("float64:2x4", False), ("bool:2x4", True)])
def test_a_linear_of_another_dtype_is_refused(spec: str, bias: bool) -> None:
    """As torch refuses it on CPU."""
    with pytest.raises(ForwardFailed, match="must have the same dtype"):
        archcalc.trace(nn.Linear(4, 5, bias=bias), spec)


def test_a_damaged_trace_is_refused_whatever_is_wrong(tmp_path: Path) -> None:
    """Each field of a stored trace in turn replaced by something else: an answer or a sentence, never a traceback."""
    document = json.loads(archcalc.trace(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), (1, 3, 2, 2)).to_json())
    file = tmp_path / "trace.json"
    broken = 0
    for place in list(_places(document["trace"]))[::3]:
        for value in (None, -1, 10**9, "x", [], True):
            copy = json.loads(json.dumps(document))
            holder = copy["trace"]
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
            file.write_text(json.dumps(copy), encoding="utf-8")
            ran = run("summary", str(file))
            assert ran.code in (0, 2), (place, value, ran.err)
            broken += ran.code == 2
    assert broken > 100


def _places(value: Any, above: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from _places(item, (*above, key))


def test_special_files_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    assert run("params", "resnet-20", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8").startswith("{")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    assert run("params", "resnet-20", "-f", "json", "-o", str(pipe)).code == 0
    reader.join()
    assert pipe.is_fifo()
    assert got[0].startswith("{")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_a_sentence() -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m archcalc params resnet-20 > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to stdout: no space left on device.")


def test_a_closed_stdout_is_a_sentence() -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m archcalc params resnet-20 >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_error_of_our_own_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from archcalc import analyses

    def broken(*_: Any) -> Any:
        raise KeyError("oops")

    monkeypatch.setattr(analyses, "analyze", broken)
    ran = run("flops", "resnet-20")
    assert ran.code == 3
    assert "this is a bug" in ran.err
    assert "Traceback" not in ran.err


def test_stored_traces_hold_no_surprises() -> None:
    ran = run_fresh("flops", "/dev/null.json")
    assert ran.code == 2
