"""Sentences that name the cause of a misuse, and the next thing to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import run, run_fresh

CODE = '''
import torch
from torch import nn

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)

    def forward(self, x, mask=None):
        return self.embedding(x)

class Looked(Tokens):
    """Looks its tokens up by an index."""
    def forward(self, x):
        return self.embedding.weight[x]

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, steps: int, tokens, quiet: "bool" = False):
        for _ in range(steps):
            x = self.linear(x)
        return x

class Named(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]):
        return batch["image"] + 1

class Sound(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6, 3))

    def forward(self, x):
        return self.net(x)
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of models, a package, a configuration, and files that hold no definition."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "pkg" / "inner").mkdir(parents=True)
    for place in ("pkg/__init__.py", "pkg/inner/__init__.py"):
        (tmp_path / place).touch()
    (tmp_path / "pkg" / "inner" / "model.py").write_text("from ..parts import part\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text('{"architectures": ["BertModel"]}')
    return tmp_path


SENTENCES = [
    ("summary net.py:Tokens -i 1x16", "try     -i int64:1x16", 3),
    ("summary net.py:Tokens -i x=1x16 -i mask=1x16", "try     -i x=int64:1x16", 3),
    ("flops net.py:Looked -i 2x16", "try     -i int64:2x16", 3),
    ("summary resnet-18 -i 3x224x224", "try     -i 1x3x224x224  (a batch axis in front)", 3),
    ("flops vgg-11 -i 3x224x224", "try     -i 1x3x224x224", 3),
    ("flops net.py:Sound -i 1x8", "try     -i 1x1x8", 3),
    ("summary pkg/inner/model.py:Net(3)", "try  pkg.inner.model:Net(3)", 3),
    ("summary resnet-18 1x3x32x32", "write  -i 1x3x32x32", 2),
    ("summary resnet-18 int64:1x16", "write  -i int64:1x16", 2),
    ("summary config.json", "pip install transformers", 2),
    ("params ./checkpoint", "pip install transformers", 2),
    ("summary model.onnx", "a graph in another format is not read here", 2),
    ("summary weights/model.PTH", "a file of weights holds no definition", 2),
    ("params model.safetensors", "path/to/file.py:Net", 2),
    ("summary net.py:Steps", "forward(x, steps: int, tokens, quiet: bool=False)", 2),
    ("summary net.py:Steps", '"steps": 1, "tokens": torch.zeros(1, 128, dtype=torch.int64)', 2),
    ("summary net.py:Named", "forward(batch: dict)", 2),
    ("summary net.py:Named", '{"batch": {"KEY": torch.zeros(1, 3, 224, 224)}}', 2),
    ("sumary resnet-18", "did you mean  archcalc summary ?", 2),
    ("flop resnet-18", "did you mean  archcalc flops ?", 2),
    ("resnet-5", "did you mean  archcalc summary resnet-", 2),
]


@pytest.mark.parametrize(("typed", "said", "code"), SENTENCES)
def test_a_sentence_names_the_cause(typed: str, said: str, code: int) -> None:
    ran = run(*typed.split())
    assert said in ran.err
    assert (ran.code, ran.out) == (code, "")


def test_what_a_hint_says_to_type_works(folder: Path) -> None:
    """The function that the hint for plain arguments shows, pasted into a file, is what forward takes."""
    line = run("summary", "net.py:Steps").err.partition("with  ")[2].strip()
    shown = line.replace("torch.zeros(1, 3, 224, 224)", "torch.zeros(2, 4)")
    (folder / "inputs.py").write_text(f"import torch\n{shown}\n")
    ran = run("flops", "net.py:Steps", "--inputs", "inputs.py:inputs")
    assert ran.code == 0
    assert "32" in ran.out  # 2·4·4 multiply-adds, one step


@pytest.mark.parametrize("typed", ["resnet-20", "net.py:Tokens -i int64:1x4", "conv[groups=4]", "ResNet_20 --json"])
def test_a_model_alone_is_its_summary(typed: str) -> None:
    alone, named = run(*typed.split()), run("summary", *typed.split())
    assert alone.code == 0
    assert alone.out == named.out


def test_a_library_that_breaks_behind_another_is_named(folder: Path) -> None:
    """Timm is there, and the torchvision that it imports is of another torch."""
    site = folder / "lib" / "site-packages"
    for name, code in (("timm", "import torchvision\n"), ("torchvision", "raise RuntimeError('no operator nms')\n")):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(code)
    path = f"import sys; sys.path.insert(0, {str(site)!r}); from archcalc.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = run_fresh("summary", "timm:resnet18", code=path)
    assert ran.code == 2
    assert "needs torchvision, which does not import: RuntimeError: no operator nms" in ran.err
    assert "pip install --force-reinstall torchvision  or uninstall it" in ran.err


def test_the_first_cause_of_a_failed_build_is_told() -> None:
    """Transformers raises from what failed; the first of the chain says what."""
    from archcalc.engine.load.libraries import first_cause

    innermost = ImportError("no tokenizers", name="tokenizers")
    error = ModuleNotFoundError("Could not import module 'LlamaConfig'")
    error.__cause__ = RuntimeError("failed to import llama")
    error.__cause__.__cause__ = innermost
    assert first_cause(error) is innermost
