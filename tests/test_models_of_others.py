"""Models from outside the catalogue: libraries by name, inputs that they declare, values they compute from numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import NeedsData
from bench.models import torchvision_ops
from tests.helpers import report, run, run_fresh

TIMM = """
from torch import nn

def list_models():
    return ["tiny_net", "tiny_vit"]

def create_model(name, pretrained, width=4, img_size=8):
    assert not pretrained
    module = nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * (img_size - 2) ** 2, 2))
    module.pretrained_cfg = {"input_size": (3, 8, 8)}
    return module
"""
BROKEN = 'raise RuntimeError("operator torchvision::nms does not exist")'


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A timm of one network and a torchvision compiled for another torch, in place of those installed."""
    for name, code in (("timm", TIMM), ("torchvision", BROKEN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("timm", "torchvision")}
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.usefixtures("packages")
def test_a_model_of_timm_by_name_with_its_own_input() -> None:
    ran = run("summary", "timm:tiny_net", "--json")
    document = json.loads(ran.out)
    assert document["totals"]["params"] == 3 * 4 * 9 + 4 + 4 * 36 * 2 + 2
    assert document["model"]["source"] == "timm"
    assert document["inputs"][0]["from"] == "timm default_cfg"
    larger = report("timm:tiny_net", knobs={"img_size": 10})
    assert larger.trace.inputs[0].shape == (1, 3, 10, 10)
    assert larger.trace.inputs[0].origin == "img_size"


@pytest.mark.usefixtures("packages")
def test_a_model_of_a_library_at_two_settings() -> None:
    """Width 4 and 8: 3·w·9 + w of the convolution, w·36·2 + 2 of the classifier."""
    ran = run("compare", "timm:tiny_net", "timm:tiny_net[width=8]", "--json")
    rows = {row["model"]: row["params"] for row in json.loads(ran.out)["rows"]}
    assert rows == {"tiny_net": 4 * (28 + 72) + 2, "tiny_net[width=8]": 8 * (28 + 72) + 2}
    assert "archcalc flops 'timm:tiny_net[width=8]'" in run("params", "timm:tiny_net[width=8]").out
    assert "width is given twice" in run("params", "timm:tiny_net[width=8]", "--set", "width=2").err


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("timm:tiny_nte", "did you mean  timm:tiny_net"),
        ("timm:", "type  timm:vit_base_patch16_224"),
        ("timm:tiny_net --set depth=3", "unexpected keyword argument 'depth'"),
        ("torchvision:resnet18", "operator torchvision::nms does not exist"),
    ],
)
def test_a_wrong_name_or_library_ends_in_a_sentence(reference: str, said: str) -> None:
    ran = run("params", *reference.split())
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_library_that_is_not_installed_says_what_to_type() -> None:
    hidden = "import sys; sys.modules['transformers'] = None; from archcalc.cli import main"
    ran = run_fresh(code=f"{hidden}; sys.exit(main(['params', 'hf:bert']))")
    assert ran.code == 2
    assert "pip install transformers" in ran.err


class Positions(nn.Module):
    """Asks for values that come from shapes alone, as many Transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        packed = (places.diff() != 1).cumsum(0)
        if bool((packed[-1] == 0).all()):
            x = self.linear(x)
        return x[:, places[places > 1]]


def test_a_forward_may_ask_for_what_it_made_from_numbers() -> None:
    made = report(Positions(), (2, 5, 4))
    assert made.macs == 2 * 5 * 4 * 4
    assert made.output_shape == (2, 3, 4)


class Overwritten(nn.Module):
    """Writes its input into a tensor of numbers, so that nobody knows them any more."""

    def forward(self, x: Tensor) -> Tensor:
        flags = torch.zeros(3, device=x.device)
        first = flags[:1]
        flags.copy_(x)
        return x if first.sum() > 0 else -x


def test_what_the_input_is_written_into_has_no_values() -> None:
    with pytest.raises(NeedsData):
        archcalc.trace(Overwritten(), (3,))


class Detector(nn.Module):
    """Takes a list of images."""

    def forward(self, images: list[Tensor]) -> dict[str, list[Tensor]]:
        return {"sums": [image.sum() for image in images]}


FILE = """
import torch
from torch import Tensor, nn

class Detector(nn.Module):
    def forward(self, images: list[Tensor]):
        return {"sums": [image.sum() for image in images]}

class Lit(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 3)
        self.example_input_array = torch.zeros(5, 7)
    def forward(self, x):
        return self.linear(x)

class Paired(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 3)
    def forward(self, batch, scale=1):
        return {"out": self.linear(batch["x"]) * scale, "more": (batch["y"][0] + 1,)}

def batch():
    return {"batch": {"x": torch.zeros(2, 7), "y": [torch.zeros(3)]}, "scale": 2}

def wrong():
    raise ValueError("no data set here")

class Inverse(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(FILE)
    return tmp_path


@pytest.mark.usefixtures("file")
def test_a_list_of_tensors_where_forward_wants_one() -> None:
    assert json.loads(run("shapes", "m.py:Detector", "-i", "3x8x8", "--json").out)["totals"]["output_shape"] == []


@pytest.mark.usefixtures("file")
def test_an_example_that_the_model_carries_is_its_input() -> None:
    one = json.loads(run("flops", "m.py:Lit", "--json").out)["inputs"][0]
    assert (one["shape"], one["from"]) == ([5, 7], "example_input_array")
    assert json.loads(run("flops", "m.py:Lit", "--batch", "9", "--json").out)["totals"]["macs"] == 9 * 7 * 3


@pytest.mark.usefixtures("file")
def test_a_function_makes_nested_inputs() -> None:
    document = json.loads(run("flops", "m.py:Paired", "--inputs", "m.py:batch", "--json").out)
    assert document["totals"]["macs"] == 2 * 7 * 3
    assert [(one["name"], one["shape"]) for one in document["inputs"]] == [("batch.x", [2, 7]), ("batch.y.0", [3])]


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--inputs m.py:wrong", 3, "no data set here"),
        ("--inputs m.py:nothing", 2, "has no 'nothing'"),
        ("--inputs resnet-18", 2, "names no function"),
        ("--inputs m.py:batch --batch 3", 2, "does not combine"),
    ],
)
def test_inputs_that_cannot_be_made_end_in_a_sentence(options: str, code: int, said: str) -> None:
    ran = run("flops", "m.py:Paired", *options.split())
    assert ran.code == code
    assert said in ran.err


@pytest.mark.usefixtures("file")
def test_strict_makes_a_gap_an_error() -> None:
    assert run("flops", "m.py:Inverse", "-i", "4x4").code == 0
    for command in ("flops", "summary", "compare"):
        ran = run(command, "m.py:Inverse", "-i", "4x4", "--strict")
        assert ran.code == 3
        assert "aten.linalg_inv_ex" in ran.err
        assert not ran.out
    assert run("flops", "resnet-18", "--strict").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "macs"),
    [
        ("timm:vit_base_patch16_224", 12 * (12 * 197 * 768**2 + 2 * 197**2 * 768) + 196 * 768**2 + 768 * 1000),
        ("timm:vit_tiny_r_s16_p8_224", 433_681_920),  # runs its stem when it is built; torch's FlopCounterMode
        ("torchvision:resnet50", 4_089_184_256),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_models_of_libraries(reference: str, macs: int) -> None:
    torchvision_ops()
    library, _, name = reference.partition(":")
    models = pytest.importorskip({"timm": "timm", "torchvision": "torchvision.models"}[library])
    built = getattr(models, "create_model", getattr(models, "get_model", None))(name)
    made = report(reference)
    assert made.params == sum(p.numel() for p in built.parameters())
    assert made.macs == macs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_models_of_transformers(tmp_path: Path) -> None:
    """BERT in closed form; a local config.json; experts counted for the tokens they get; a knob that is none."""
    torchvision_ops()
    pytest.importorskip("transformers")
    n, d = 128, 768
    assert report("hf:bert").macs == 12 * (12 * n * d * d + 2 * n * n * d) + d * d
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 2}))
    assert report(f"hf:{tmp_path}/config.json").macs == 2 * (12 * n * d * d + 2 * n * n * d) + d * d
    sizes = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
    knobs = {**sizes, "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2, "head_dim": 16}
    attention, router, experts = 4 * n * 64 * 64 + 2 * n * n * 64, n * 64 * 8, 2 * n * 3 * 64 * 96
    assert report("hf:MixtralConfig", knobs=knobs).macs == attention + router + experts
    ran = run("params", "hf:bert", "--set", "hidden_sizes=4")
    assert ran.code == 2
    assert "did you mean  hidden_size" in ran.err
    assert run("params", "hf:nobody/nothing", "--offline").code == 3
