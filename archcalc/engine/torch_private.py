"""Every private part of torch that archcalc leans on, each in one place, with the test that fails if torch changes it.

No other file of the package touches a name of torch that begins with an underscore; a test reads the sources for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch._C import _functorch as functorch
from torch.optim import Optimizer
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
    Part("TorchDispatchMode._should_skip_dynamo", "keeps torch._dynamo from being imported", f"{HERE}test_no_dynamo"),
    Part(
        "torch._C.DisableTorchFunction", "reads tensors without asking modes of functions", f"{HERE}test_no_functions"
    ),
    Part("torch.optim.Optimizer.step.__wrapped__", "updates without torch._dynamo", f"{HERE}test_optimizers"),
    Part("torch.utils._pytree.tree_map_only", "changes the tensors in nested arguments", f"{HERE}test_tree_map"),
    Part("torch.UntypedStorage._cdata", "the identity of a storage", f"{HERE}test_storage_key"),
    Part("torch.Tensor._version", "whether a tensor was written to since autograd kept it", f"{HERE}test_version"),
    Part("torch.autograd._get_sequence_nr", "which nodes a module call makes", f"{HERE}test_sequence_numbers"),
    Part("torch._C._current_autograd_node", "the node that runs in backward", f"{HERE}test_sequence_numbers"),
    Part("torch.autograd.graph.Node._sequence_nr", "the number of that node", f"{HERE}test_sequence_numbers"),
    Part("torch._C._dispatch_get_all_op_names", "the ops that autocast knows", f"{HERE}test_dispatcher"),
    Part("torch._C._dispatch_has_kernel_for_dispatch_key", "the ops that autocast knows", f"{HERE}test_dispatcher"),
    Part("torch._ops.OpOverload._opname", "an op's name", f"{HERE}test_op_overloads"),
    Part("torch._ops.OpOverload._schema", "an op's arguments and whether it writes", f"{HERE}test_op_overloads"),
    Part("torch.nn.Module._parameters, ._buffers, ._modules", "what a module registers itself", f"{HERE}test_modules"),
    Part("torch._C._functorch.get_unwrapped", "the tensor inside vmap's and grad's wrappers", f"{HERE}test_functorch"),
    Part("torch.library.Library._destroy", "puts replaced kernels back", f"{HERE}test_library"),
)


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
    """Nested lists, tuples and dicts with a function applied to every tensor."""
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


def version(tensor: Tensor) -> int:
    """How often a tensor was written to."""
    return tensor._version


def without_function_modes() -> AbstractContextManager[None]:
    """In this block modes for torch's functions are not asked: each question for a shape would pass through them."""
    return torch._C.DisableTorchFunction()


def sequence_number() -> int:
    """The number that the next node of autograd gets."""
    return int(autograd._get_sequence_nr())  # type: ignore[attr-defined]


def running_node() -> Any:
    """The node of autograd that runs now; None outside backward."""
    return torch._C._current_autograd_node()


def node_number(node: Any) -> int:
    """The sequence number of a node."""
    return int(node._sequence_nr())


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


def destroy(library: Any) -> None:
    """Unregister the kernels of a torch.library.Library."""
    library._destroy()
