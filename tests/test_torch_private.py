"""The private parts of torch that archcalc leans on do what they are used for; engine/torch_private.py names them."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.library import Library
from torch.overrides import TorchFunctionMode

from archcalc.engine import torch_private as private
from tests.helpers import ROOT, run_fresh


class Names(private.DispatchMode):
    """The names of the ops that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(private.op_name(func))
        return func(*args, **(kwargs or {}))


def test_dispatch_mode() -> None:
    """It sees ops below autograd: linear as a transpose and a product."""
    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3)
    with Names() as seen:
        nn.functional.linear(x, weight)
    assert seen.names == ["t", "mm"]


def test_no_dynamo() -> None:
    code = """
import sys, torch
from archcalc.engine.torch_private import DispatchMode
class Mode(DispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))
with Mode():
    torch.ones(2) + 1
sys.exit('torch._dynamo' in sys.modules)
"""
    assert run_fresh(code=code).code == 0


def test_wrapped() -> None:
    """A call of torch.fx.wrap is noted, and leaves frames to the garbage collector."""
    before = len(private.WRAPPED)
    gc.collect()
    names: dict[str, Any] = {"__name__": "a_module"}
    exec(compile("import torch.fx\ntorch.fx.wrap('len')", "a_module.py", "exec"), names)
    assert len(private.WRAPPED) == before + 1
    assert gc.collect()
    torch.fx._symbolic_trace._wrapped_fns_to_patch.popitem()


def test_regions_of_autocast() -> None:
    """A region casts if it says so, and torch turns one of CUDA off where there is none."""
    region = torch.autocast("cpu", torch.bfloat16, enabled=False)
    assert not private.is_on(region)
    private.turn_on(region)
    with region:
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.bfloat16
    if not torch.cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"):
            assert not private.is_on(torch.autocast("cuda"))


def test_no_functions() -> None:
    """A mode for functions sees the question for a shape, and does not in the block."""
    seen: list[str] = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = torch.ones(2)
    with Mode():
        with private.without_function_modes():
            assert x.shape == (2,)
        assert not seen
        assert x.shape == (2,)
    assert len(seen) == 1


OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adafactor")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    """Without the marks for torch.compile an optimizer does the same to the last bit."""
    kind = getattr(torch.optim, name)
    updated = []
    for made in (kind, private.without_dynamo(kind)):
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5))]
        optimizer = made(parameters, lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            torch.stack([(p**2).sum() for p in parameters]).sum().backward()
            optimizer.step()
        assert all(p.grad is not None and not p.grad.requires_grad for p in parameters)
        updated.append(parameters)
    assert all(torch.equal(one, other) for one, other in zip(*updated, strict=True))


def test_a_training_step_does_not_import_dynamo() -> None:
    """Nor sympy, on a network of convolutions: together they take more than a second."""
    code = """
import sys, archcalc
archcalc.trace('densenet-bc-cifar', train=True)
archcalc.trace('densenet-bc-cifar', train=archcalc.Training('adafactor'))
sys.exit(bool({'torch._dynamo', 'sympy'} & set(sys.modules)))
"""
    assert run_fresh(code=code).code == 0


def test_tree_map() -> None:
    nested = [torch.ones(2), (torch.ones(3), 5), {"a": torch.ones(1), "b": "text"}]
    changed = private.with_tensors_changed(nested, lambda tensor: tensor.shape[0])
    assert changed == [2, (3, 5), {"a": 1, "b": "text"}]


@pytest.mark.parametrize("shared", [False, True])
def test_references(shared: bool) -> None:
    """A gradient whose storage another tensor shares has more references than one that autograd alone holds."""
    seen: list[tuple[bool, bool]] = []
    others: list[Tensor] = []
    alone = private.least_references()

    class Counting(private.DispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if private.op_name(func) == "add":
                seen.append((self._asks(), private.references(args[0]) == alone))
            out = func(*args, **(kwargs or {}))
            if shared and private.op_name(func) == "mul":
                others.append(out.detach())
            return out

        def _asks(self) -> bool:
            return private.called_by_autograd()

    h = torch.ones(2, device="meta", requires_grad=True) * 2
    with Counting():
        (h.exp() + h.sin()).sum().backward()
    assert seen == [(False, False), (True, not shared)]  # the first sum is the forward pass's own


def test_bfloat16() -> None:
    """OneDNN says whether it computes in bfloat16 as the processor's instructions tell."""
    supported = private.takes_bfloat16()
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False:
        assert supported
    assert isinstance(supported, bool)


def test_storage_key() -> None:
    """Views share it, copies do not."""
    tensor = torch.ones(4, device="meta")
    assert private.storage_key(tensor) == private.storage_key(tensor.view(2, 2))
    assert private.storage_key(tensor) != private.storage_key(tensor.clone())
    assert private.storage_key(tensor) == private.storage_key(tensor.untyped_storage())


def test_version() -> None:
    tensor = torch.ones(4)
    before = private.version(tensor)
    tensor.add_(1)
    assert private.version(tensor) == before + 1


def test_sequence_numbers() -> None:
    """A node's number tells between which two moments of forward it was made, also while it runs in backward."""
    x = torch.ones(3, requires_grad=True)
    assert private.running_node() is None
    before = private.sequence_number()
    y = x * 2
    after = private.sequence_number()
    assert before <= private.node_number(y.grad_fn) < after
    seen: list[int] = []

    class InBackward(private.DispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if private.op_name(func) == "mul":
                seen.append(private.node_number(private.running_node()))
            return func(*args, **(kwargs or {}))

    total = y.sum()
    with InBackward():
        total.backward()
    assert seen == [private.node_number(y.grad_fn)]


def test_functorch() -> None:
    """Inside vmap a module sees one sample; the whole tensor is inside the wrapper, several wrappers deep."""
    seen: list[tuple[int, ...]] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(private.unwrapped(x).shape))
        return x.sum()

    x = torch.ones(5, 2)
    torch.vmap(torch.func.grad(look))(x)
    assert seen == [(5, 2)]
    assert private.unwrapped(x) is x
    inside = torch.vmap(lambda row: row if private.in_transforms() else row.sum())(x)
    assert inside.shape == x.shape
    assert not private.in_transforms()


def test_dispatcher() -> None:
    """The lists of autocast are registered in a build without CUDA, too."""
    for key in ("AutocastCPU", "AutocastCUDA"):
        assert {"mm", "linear", "conv2d"} <= set(private.ops_with_kernel(key))
    assert "relu" not in set(private.ops_with_kernel("AutocastCUDA"))


def test_op_overloads() -> None:
    add_ = torch.ops.aten.add_.Tensor
    assert private.op_name(add_) == "add_"
    assert private.schema(add_).is_mutable
    assert [argument.name for argument in private.schema(add_).arguments] == ["self", "other", "alpha"]
    assert not private.schema(torch.ops.aten.add.Tensor).is_mutable


def test_modules() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3))
    (norm,) = private.own_modules(net).values()
    assert norm is net[0]
    assert list(private.own_parameters(net)) == []
    assert list(private.own_parameters(net[0])) == ["weight", "bias"]
    assert list(private.own_buffers(net[0])) == ["running_mean", "running_var", "num_batches_tracked"]


def test_hooks() -> None:
    """A module has hooks from when the first is registered to when the last is removed."""
    net = nn.Linear(2, 2)
    assert not private.has_hooks(net)
    for register in (net.register_forward_hook, net.register_forward_pre_hook):
        hook = register(lambda *_: None)
        assert private.has_hooks(net)
        hook.remove()
        assert not private.has_hooks(net)


def test_library() -> None:
    """A kernel that is registered for tensors without data acts, and is gone afterwards."""
    library: Any = Library("aten", "IMPL")  # type: ignore[no-untyped-call]

    def seven(x: Tensor) -> Tensor:
        return torch.empty(7, device="meta")

    x = torch.ones(2, device="meta")
    library.impl("relu", seven, "AutogradMeta")
    replaced = torch.relu(x).shape
    private.destroy(library)
    assert (replaced, torch.relu(x).shape) == ((7,), (2,))


@pytest.mark.parametrize("part", private.PARTS, ids=lambda part: part.name)
def test_each_part_has_its_guard(part: private.Part) -> None:
    file, _, name = part.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tracing_is_seen() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(private.is_tracing())
            return x + 1

    seen: list[bool] = []
    torch.jit.trace(Asks(), torch.ones(1), check_trace=False)
    assert seen == [True]
    assert not private.is_tracing()
