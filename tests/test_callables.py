"""What a reference calls, and what it never calls: Python's own functions, by whatever way they are reached."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
import torch

import archcalc
from archcalc.engine.load.callables import is_library, of_python_itself
from tests.helpers import run, run_fresh, totals

MODULE = """
import builtins, contextlib, functools, logging, operator, os, pathlib, subprocess, sys, types
from typing import Generic, TypeVar

import torch
from torch import nn

MARK = {mark!r}
T = TypeVar("T")

class Net(nn.Module, Generic[T]):
    def __init__(self, width=4):
        super().__init__()
        self.linear = nn.Linear(4, width)

    def forward(self, x):
        return self.linear(x)

    @staticmethod
    def static():
        return Net()

    @classmethod
    def of_class(cls):
        return cls()

def make(width=4):
    return Net(width)

class Maker:
    def __call__(self):
        return Net()

    def build(self):
        return Net()

class Called(functools.partial):
    pass

def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

maker, lambda_, instance = Maker(), lambda: Net(), nn.Linear(4, 4)
partial, of_partial, of_torch = functools.partial(make, 4), functools.partial(functools.partial(Net), 4), \\
    functools.partial(nn.Linear, 4, 4)
cached, lru, generic, static, decorated = functools.cache(make), functools.lru_cache(Net), Net[int], \\
    staticmethod(make), wrapped(make)
called = Called(make)

touch = f"touch {{MARK}}"
run, system, path, log = subprocess.run, os.system, pathlib.Path(MARK), logging.getLogger()
bad_partial = functools.partial(os.system, touch)
bad_nested = functools.partial(functools.partial(os.system), touch)
bad_method = types.MethodType(os.system, touch)
bad_cached = functools.lru_cache(os.system)
bad_static = staticmethod(os.system)
bad_subclass = Called(os.system, touch)
bad_caller = operator.methodcaller("x")

def batch():
    return torch.zeros(2, 4)
"""
GOOD = (
    "Net", "Net()", "Net(4)", "make", "make()", "make(width=4)", "Net.static", "Net.of_class", "maker", "maker.build",
    "maker.build()", "Maker.__call__(None)", "make.__call__()", "lambda_", "instance", "partial", "partial()",
    "of_partial", "of_torch", "cached", "cached()", "lru", "generic", "static", "decorated", "called",
    "nn.Linear(4, 4)",
)  # fmt: skip
BAD = (
    "os.system({touch!r})", "system({touch!r})", "run({touch!r}, shell=True)", "subprocess.Popen({touch!r})",
    "subprocess.run.__call__({touch!r})", "os.system.__call__({touch!r})", "bad_partial", "bad_partial()",
    "bad_nested", "bad_method", "bad_cached({touch!r})", "bad_static({touch!r})", "bad_subclass", "bad_caller",
    "path.touch()", "pathlib.Path.touch(1)", "path.cwd", "log.error('x')", "sys.exit()", "sys.exit", "os._exit(7)",
    "os.getpid", "builtins.eval('1')", "builtins.print('x')", "builtins.open({touch!r}, 'w')", "functools.partial(1)",
    "make.__globals__.clear()", "make.__class__(1)", "make.__get__(1)", "operator.call(1)", "os.path.join('a')",
    "types.SimpleNamespace()", "contextlib.suppress()", "MARK.upper()",
)  # fmt: skip


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as soon as something was called; beside it the module in files of several names."""
    mark = tmp_path / "mark"
    for name in ("mymod", "shadow/code", "shadow/posix", "shadow/token"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(MODULE.format(mark=str(mark)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(importlib.import_module("sys").modules, "mymod", raising=False)
    return mark


@pytest.mark.parametrize("place", ["mymod", "mymod.py", "shadow/code.py", "shadow/posix.py", "shadow/token.py"])
def test_what_is_called_and_what_never_is(place: str, mark: Path) -> None:
    """From a module, from a file, and from files that are called like modules of Python."""
    for expression in GOOD:
        assert archcalc.analyze(f"{place}:{expression}", (2, 4)).params == 20, expression
    for expression in BAD:
        ran = run("params", f"{place}:{expression.format(touch=f'touch {mark}')}")
        assert (ran.code, ran.out) == (2, ""), expression
        assert ran.err.startswith("error: "), expression
        assert "which is part of Python itself" in ran.err, expression
        assert not mark.exists(), expression


PYTHONS = (
    "os:system",
    "builtins:eval",
    "subprocess:run",
    "os.path:join",
    "sys:exit",
    "antigravity:fly",
    "_thread:exit",
)


@pytest.mark.parametrize("reference", PYTHONS)
def test_modules_of_python_are_not_even_imported(reference: str, mark: Path) -> None:
    ran = run("params", f"{reference}('touch {mark}')")
    assert (ran.code, ran.out) == (2, "")
    assert f"{reference.partition(':')[0]} is part of Python itself" in ran.err
    assert not mark.exists()


def test_antigravity_opens_nothing() -> None:
    code = "import sys; from archcalc.cli import main; main(['params', 'antigravity:x'])"
    code += "; print('antigravity' in sys.modules)"
    assert run_fresh(code=code).out == "False\n"


@pytest.mark.parametrize(
    "function", ["os:getpid", "mymod:os.getpid", "mymod.py:system('touch mark')", "builtins:input"]
)
def test_inputs_call_nothing_of_python(function: str, mark: Path) -> None:
    ran = run("flops", "mymod.py:Net", "--inputs", function)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: --inputs {function} cannot be used: ")
    assert "part of Python itself" in ran.err
    assert not mark.exists()


@pytest.mark.parametrize(
    "function", ["mymod.py:batch", "mymod:batch()", "mymod:torch.zeros(2, 4)", "torch:zeros(2, 4)"]
)
def test_inputs_call_functions_of_the_users_and_of_packages(function: str, mark: Path) -> None:
    assert archcalc.analyze("mymod.py:Net", setup=archcalc.Setup(inputs_from=function)).macs == 2 * 4 * 4


def test_checks_call_nothing_of_python(mark: Path) -> None:
    lines = [f"model = \"os:system('touch {mark}')\"", f"model = \"mymod.py:system('touch {mark}')\""]
    lines.append("model = 'mymod.py:Net'\ninputs = 'os:getpid'")
    Path("archcalc.toml").write_text("".join(f"[[check]]\n{line}\nmax_params = 3\n" for line in lines))
    ran = run("check", "-f", "plain")
    assert ran.code == 3
    assert ran.out.count("part of Python itself") == 3
    assert not mark.exists()


def test_homes() -> None:
    assert [is_library(name) for name in ("os", "os.path", "sys", "posix", "torch", "numpy", "tests", "__main__")] == [
        *[True] * 4,
        *[False] * 4,
    ]
    assert of_python_itself(torch.nn.Linear) == of_python_itself(archcalc.analyze) == ""
    assert of_python_itself(str.maketrans) == "builtins.str.maketrans"
    assert of_python_itself(dict.fromkeys) == "builtins.dict.fromkeys"
    assert of_python_itself(dict.get) == "builtins.dict.get"


PROGRAMS = """
import torch
from torch import nn

def traced():
    return torch.jit.trace(nn.Linear(8, 4), torch.zeros(2, 8))

def exported():
    return torch.export.export(nn.Linear(8, 4), (torch.zeros(2, 8),)).module()
"""


@pytest.mark.parametrize("name", ["traced", "exported"])
def test_functions_that_trace_or_export_what_they_make(tmp_path: Path, name: str) -> None:
    """Torch needs the weights for it: the first ended the process where they had lost their elements."""
    (tmp_path / "programs.py").write_text(PROGRAMS, encoding="utf-8")
    ran = run_fresh("flops", f"programs.py:{name}", "-i", "2x8", cwd=tmp_path)
    assert ran.code == 0
    assert "64 MACs" in ran.out  # 2 * 8 * 4


def test_a_file_is_run_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes compiled code for that of a file of the same size and the same second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "net.py"
    for width in (3, 5):
        file.write_text(f"from torch import nn\nNET = nn.Linear(4, {width})\n")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        assert totals("params", f"{file}:NET")["params"] == 5 * width
    assert not (tmp_path / "__pycache__").exists()
