"""Every private part of torch that archcalc leans on, each in one place, with the test that fails if torch changes it.

No other file of the package touches a name of torch that begins with an underscore; a test reads the sources for that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch._C import _functorch as functorch
from torch.autograd import graph
from torch.fx import _symbolic_trace
from torch.optim import Optimizer
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


@dataclass(frozen=True)
class Part:
    """A private part: its name in torch, what it is used for, and the test that guards it (in tests/)."""

    name: str
    use: str
    test: str


HERE = "test_torch_private.py::"
PARTS = (
    Part("torch.utils._python_dispatch.TorchDispatchMode", "sees every op below autograd", f"{HERE}test_dispatch_mode"),
    Part("torch._export.serde", "reads the graph of an exported program", "test_exported.py::test_figures"),
    Part("torch.utils._pytree.treespec_loads", "gives a program its inputs", "test_exported.py::test_nested_inputs"),
    Part("TorchDispatchMode._should_skip_dynamo", "keeps torch._dynamo from being imported", f"{HERE}test_no_dynamo"),
    Part("torch._C.DisableTorchFunction", "reads tensors without modes of functions", f"{HERE}test_no_functions"),
    Part("torch.fx._symbolic_trace._wrapped_fns_to_patch", "whether torch.fx.wrap ran", f"{HERE}test_wrapped"),
    Part("torch.optim.Optimizer.step.__wrapped__", "updates without torch._dynamo", f"{HERE}test_optimizers"),
    Part("torch.utils._pytree.tree_map_only", "changes the tensors in nested arguments", f"{HERE}test_tree_map"),
    Part("torch.UntypedStorage._cdata", "the identity of a storage", f"{HERE}test_storage_key"),
    Part("torch.Tensor._version", "whether a tensor was written to since autograd kept it", f"{HERE}test_version"),
    Part("torch.autograd._get_sequence_nr", "which nodes a module call makes", f"{HERE}test_sequence_numbers"),
    Part("torch._C._current_autograd_node", "the node that runs in backward", f"{HERE}test_sequence_numbers"),
    Part("torch.autograd.graph.Node._sequence_nr", "the number of that node", f"{HERE}test_sequence_numbers"),
    Part("torch.autograd.graph._engine_run_backward", "whether autograd itself called an op", f"{HERE}test_references"),
    Part("torch.Tensor._use_count", "whether a gradient is referred to once", f"{HERE}test_references"),
    Part("torch._C._storage_Use_Count", "whether its storage is referred to once", f"{HERE}test_references"),
    Part(
        "torch.utils.checkpoint._default_meta_extractor",
        "what a checkpoint compares of a tensor",
        "test_gradient_sums.py::test_sums_are_in_place_where_autograd_has_them_in_place",
    ),
    Part("torch.autocast._enabled", "whether a region of autocast is on", f"{HERE}test_regions_of_autocast"),
    Part("torch._C._dispatch_get_all_op_names", "the ops that autocast knows", f"{HERE}test_dispatcher"),
    Part("torch._C._dispatch_has_kernel_for_dispatch_key", "the ops that autocast knows", f"{HERE}test_dispatcher"),
    Part("torch._ops.OpOverload._opname", "an op's name", f"{HERE}test_op_overloads"),
    Part("torch._ops.OpOverload._schema", "an op's arguments and whether it writes", f"{HERE}test_op_overloads"),
    Part("torch.nn.Module._parameters, ._buffers, ._modules", "what a module registers itself", f"{HERE}test_modules"),
    Part("torch.nn.Module._forward_hooks, ._forward_pre_hooks", "whether a module has hooks", f"{HERE}test_hooks"),
    Part("torch._C._functorch.get_unwrapped", "the tensor inside vmap's and grad's wrappers", f"{HERE}test_functorch"),
    Part("torch._C._are_functorch_transforms_active", "whether vmap or grad is at work", f"{HERE}test_functorch"),
    Part("torch.ops.mkldnn._is_mkldnn_bf16_supported", "whether oneDNN has bfloat16 kernels", f"{HERE}test_bfloat16"),
    Part("torch.cpu._is_avx512_bf16_supported", "which kernels oneDNN takes in bfloat16", f"{HERE}test_bfloat16"),
    Part("torch.cpu._is_amx_tile_supported", "which kernels oneDNN takes in bfloat16", f"{HERE}test_bfloat16"),
    Part("torch.library.Library.m", "enters a kernel for tensors without data", f"{HERE}test_library"),
    Part("torch.library.Library._destroy", "puts replaced kernels back", f"{HERE}test_library"),
)


WRAPPED: Mapping[Any, Any] = _symbolic_trace._wrapped_fns_to_patch
"""The functions given to torch.fx.wrap, which leaves its frame and those above, with their tensors, in a cycle."""
NO_CONTAINERS = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device))
"""Types of arguments that hold nothing else."""


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode whose `__torch_dispatch__` sees every op below autograd, without torch._dynamo, which takes a second."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def without_dynamo(kind: type[Optimizer]) -> Any:
    """The same optimizer without the marks for torch.compile, which import torch._dynamo, in a second."""
    words = {
        "add_param_group": unwrap(kind.add_param_group),
        "zero_grad": unwrap(kind.zero_grad),
        "step": torch.no_grad()(unwrap(kind.step)),
    }
    return type(kind.__name__, (kind,), words)


def with_tensors_changed(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested lists, tuples and dicts with a function applied to every tensor.

    Arguments of ops are mostly plain ones; other containers go through torch's own trees, which take several times as
    long.
    """
    if isinstance(value, Tensor):
        return change(value)
    kind = type(value)
    if kind in NO_CONTAINERS:
        return value
    if kind is tuple or kind is list:
        return kind([with_tensors_changed(item, change) for item in value])
    if kind is dict:
        return {key: with_tensors_changed(item, change) for key, item in value.items()}
    return tree_map_only(Tensor, change, value)


def storage_key(of: Tensor | torch.UntypedStorage) -> int:
    """The identity of a storage; two tensors that share their elements have one."""
    storage = of.untyped_storage() if isinstance(of, Tensor) else of
    return storage._cdata  # type: ignore[no-any-return]


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor inside the wrappers of vmap, grad and their kin; any other tensor itself."""
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def in_transforms() -> bool:
    """Whether code runs inside vmap, grad or their kin."""
    return bool(torch._C._are_functorch_transforms_active())


def version(tensor: Tensor) -> int:
    """How often a tensor was written to."""
    return tensor._version


def without_function_modes() -> AbstractContextManager[None]:
    """In this block modes for torch's functions are not asked: each question for a shape would pass through them."""
    return torch._C.DisableTorchFunction()


def is_tracing() -> bool:
    """Whether torch.jit.trace is running."""
    return torch._C._get_tracing_state() is not None


def sequence_number() -> int:
    """The number that the next node of autograd gets."""
    return int(autograd._get_sequence_nr())  # type: ignore[attr-defined]


def running_node() -> Any:
    """The node of autograd that runs now; None outside backward."""
    return torch._C._current_autograd_node()


def node_number(node: Any) -> int:
    """The sequence number of a node."""
    return int(node._sequence_nr())


def called_by_autograd() -> bool:
    """Whether the op that `__torch_dispatch__` of the caller's caller got comes from autograd, with no Python between.

    It is called three frames below autograd: by a function that the mode's method calls.
    """
    return sys._getframe(3).f_code is graph._engine_run_backward.__code__


def run_backward(root: Tensor, gradient: Tensor) -> None:
    """The backward pass of a tensor with its gradient.

    Autograd gets the edge of the graph in place of the tensor: it hands tensors to the modes of functions first.
    """
    edges = (graph.get_gradient_edge(root),)
    graph._engine_run_backward(edges, (gradient,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def called_by_checkpoint() -> bool:
    """Whether a checkpoint asks for what it compares of a tensor; to be called two frames below that question."""
    return sys._getframe(3).f_code is checkpoint._default_meta_extractor.__code__


def references(tensor: Tensor) -> tuple[int, int]:
    """How many references there are to a tensor and to its storage, those of an op's own call included."""
    return tensor._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)  # type: ignore[attr-defined]


@cache
def least_references() -> tuple[int, int]:
    """The references to a gradient and to its storage that only autograd holds, as `references` counts them.

    Not to be called inside a dispatch mode.
    """
    seen: list[tuple[int, int]] = []

    class Counting(DispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if op_name(func) == "add":
                seen.append(references(args[0]))
            return func(*args, **(kwargs or {}))

    with torch.enable_grad():
        leaf = torch.ones(2, requires_grad=True)  # without data the ops would import torch._dynamo
        twice = leaf * 1.0
        total = twice.exp().sum(), twice.sin().sum()
        with Counting():
            autograd.backward(total)
    return seen[0]


def ops_with_kernel(key: str) -> Iterator[str]:
    """The names of the ops of ATen that have a kernel under a dispatch key."""
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
            yield name.removeprefix("aten::")


def op_name(func: Any) -> str:
    """The name of an op overload without its library: 'add_'."""
    return str(func._opname)


def schema(func: Any) -> Any:
    """The schema of an op overload."""
    return func._schema


def own_parameters(module: nn.Module) -> Mapping[str, nn.Parameter | None]:
    """The parameters that a module itself registers."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """The buffers that a module itself registers."""
    return module._buffers


def own_modules(module: nn.Module) -> Mapping[str, nn.Module | None]:
    """The modules that a module itself registers."""
    return module._modules


def has_hooks(module: nn.Module) -> bool:
    """Whether functions are called before or after the module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def enter_without_data(library: Any, name: str, kernel: Callable[..., Any]) -> None:
    """Enter a kernel for tensors without data, also of an op that torch computes by smaller ones."""
    library.m.impl(name, "Meta", kernel, False)


def takes_bfloat16() -> bool:
    """Whether oneDNN computes in bfloat16 on this machine."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_products() -> bool:
    """Whether the processor has instructions of AVX-512 that multiply numbers of bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def has_tiles() -> bool:
    """Whether the processor has AMX, which multiplies small matrices."""
    return bool(torch.cpu._is_amx_tile_supported())


def destroy(library: Any) -> None:
    """Unregister the kernels of a torch.library.Library."""
    library._destroy()


def exported_program(graph: Mapping[str, Any], state: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> Any:
    """The program of torch.export that a graph, as its file's JSON has it, and tensors make. No pickle is involved."""
    from torch._export.serde import schema, serialize

    typed = serialize._dict_to_dataclass(schema.ExportedProgram, graph)  # type: ignore[no-untyped-call]
    return serialize.ExportedProgramDeserializer().deserialize(typed, dict(state), dict(constants))


def scalar_type(number: int) -> torch.dtype:
    """The type of elements that a file of torch.export numbers."""
    from torch._export.serde.serialize import deserialize_scalar_type

    return deserialize_scalar_type(number)  # type: ignore[arg-type]


def structured(flat: list[Any], spec: str) -> Any:
    """Values in a row as the structure that a stored specification tells."""
    from torch.utils._pytree import tree_unflatten, treespec_loads

    return tree_unflatten(flat, treespec_loads(spec))


def is_on(region: Any) -> bool:
    """Whether a region of torch.autocast casts anything."""
    return bool(region._enabled)


def turn_on(region: Any) -> None:
    """Let a region of torch.autocast cast, whatever torch found when it was made."""
    region._enabled = True
