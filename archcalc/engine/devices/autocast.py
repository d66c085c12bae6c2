"""Mixed precision on tensors without data: torch's own autocast passes them by, so its lists are applied here.

Operations of the first list compute in the lower precision, those of the second in float32, those of the third in the
widest type of their arguments. A weight is cast once for a forward pass. Which ops autocast knows is read from torch's
dispatcher; those that no list here names are the ones that compute in float32. Code of a model that asks torch is told
whether autocast is on, and a part of a model that turns it off is left in its own types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import ops_with_kernel, with_tensors_changed

LOWER = {
    "cpu": """conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input conv_transpose3d.input conv1d.padding
        conv2d.padding conv3d.padding conv_tbc _convolution.deprecated bmm mm linalg_vecdot baddbmm addmm addbmm linear
        matmul prelu scaled_dot_product_attention _addmm_activation _native_multi_head_attention
        mkldnn_rnn_layer""",
    "cuda": """conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input conv_transpose3d.input conv_tbc convolution
        _convolution _convolution.deprecated cudnn_convolution cudnn_convolution_transpose prelu addmm addmv addr matmul
        einsum mm mv linalg_vecdot linear addbmm baddbmm bmm chain_matmul linalg_multi_dot lstm_cell gru_cell
        rnn_tanh_cell rnn_relu_cell _thnn_fused_lstm_cell _thnn_fused_gru_cell scaled_dot_product_attention
        _scaled_dot_product_flash_attention""",
}
WIDEST = {
    "cpu": "cat stack index_copy",
    "cuda": "addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add",
}
RESULTS = {
    "cpu": "",
    "cuda": """prod prod.dim_int softmax.int log_softmax.int cumprod cumsum sum sum.dim_IntList linalg_vector_norm
        linalg_matrix_norm linalg_matrix_norm.str_ord""",
}
"""On CUDA these give float32 without casting their argument first, where no type was asked for."""

Kernel = Callable[..., Any]
AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}
TOLD = ("cpu", "cuda")
"""The devices that a model may ask about: tensors without data say that they are on the first."""


class Autocast:
    """The regions in which autocast acts, and what each listed op does there.

    `amp` is the precision that was asked for, '' for none; `lists` the device whose lists are used. `own` are the types
    of the regions that the model entered by itself.
    """

    def __init__(self, lists: str, amp: str = "") -> None:
        self.lists, self.asked = lists, AMP.get(amp)
        self.own = set[torch.dtype]()
        self.backward = False
        self._depth = 0
        self._inside = False
        self._cast: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

    @contextmanager
    def region(self) -> Iterator[None]:
        """Autocast acts in this block; cast weights live to the end of the outermost block."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._cast.clear()

    @contextmanager
    def own_region(self, enabled: bool, dtype: torch.dtype) -> Iterator[None]:
        """A region that the model entered, or, not `enabled`, a part that it keeps out of autocast."""
        with _telling(enabled, dtype), self.region() if enabled else nullcontext():
            if enabled and dtype is not self.asked:
                self.own.add(dtype)
            yield

    @contextmanager
    def told(self) -> Iterator[None]:
        """Torch says whether autocast is on in this block; it casts tensors with data, known values, itself."""
        with _telling(self.asked is not None, self.asked or torch.get_autocast_dtype(self.lists)):
            yield

    @property
    def of_caller(self) -> torch.dtype | None:
        """The type of a region that the caller of the run is in, where no precision is asked for; None for none."""
        types = [torch.get_autocast_dtype(device) for device in TOLD if torch.is_autocast_enabled(device)]
        return types[0] if types and self.asked is None else None

    @property
    def lower(self) -> torch.dtype:
        """The lower precision of the innermost region."""
        return torch.get_autocast_dtype(TOLD[0])

    @property
    def _acts(self) -> bool:
        """In a region, and where backward runs a piece of forward again: gradients are recorded there alone.

        Not where the model turned autocast off.
        """
        again = self.asked is not None and self.backward and torch.is_grad_enabled()
        return (bool(self._depth) or again) and torch.is_autocast_enabled(TOLD[0])

    def wrapped(self) -> Iterator[tuple[str, Callable[[Kernel], Kernel]]]:
        """The listed ops, each with what it makes of the kernel that would run."""
        lower, widest, results = (set(table[self.lists].split()) for table in (LOWER, WIDEST, RESULTS))
        for name in sorted(_known(self.lists)):
            if name in lower:
                yield name, self._acting(self._lower)
            elif name in results:
                yield name, self._acting(self._result)
            else:
                yield name, self._acting(self._widest if name in widest else self._float32)

    def _acting(self, policy: Callable[..., Any]) -> Callable[[Kernel], Kernel]:
        def wrap(kernel: Kernel) -> Kernel:
            def run(*args: Any, **kwargs: Any) -> Any:
                if not self._acts or self._inside:
                    return kernel(*args, **kwargs)
                self._inside = True  # an op's own parts are not cast again
                try:
                    return policy(kernel, args, kwargs)
                finally:
                    self._inside = False

            return run

        return wrap

    def _lower(self, kernel: Kernel, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return kernel(*_each(args, self._to_lower), **_each(kwargs, self._to_lower))

    def _float32(self, kernel: Kernel, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return kernel(*_each(args, _to_float32), **_each(kwargs, _to_float32))

    def _widest(self, kernel: Kernel, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        wide: list[bool] = []
        _each((args, kwargs), lambda t: wide.append(t.dtype is torch.float32))
        to = _to_float32 if any(wide) else self._to_lower
        return kernel(*_each(args, to), **_each(kwargs, to))

    def _result(self, kernel: Kernel, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        half = args[0].is_floating_point() and args[0].dtype in AMP.values()
        if half and kwargs.get("dtype") is None and not any(isinstance(argument, torch.dtype) for argument in args):
            kwargs = {**kwargs, "dtype": torch.float32}
        return kernel(*args, **kwargs)

    def _to_lower(self, tensor: Tensor) -> Tensor:
        """In the lower precision; a trained float32 weight is cast once in a region."""
        if tensor.dtype is self.lower:
            return tensor
        if not (self._depth and tensor.dtype is torch.float32 and tensor.requires_grad and tensor.is_leaf):
            return tensor.to(self.lower)
        key = id(tensor), self.lower
        if key not in self._cast:
            self._cast[key] = (tensor, tensor.to(self.lower))
        return self._cast[key][1]


@contextmanager
def _telling(enabled: bool, dtype: torch.dtype) -> Iterator[None]:
    """Torch says so of every device that a model may ask about, to the end of the block."""
    before = [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in TOLD]
    try:
        for device in TOLD:
            _tell(device, enabled, dtype)
        yield
    finally:
        for device, (was_enabled, was) in zip(TOLD, before, strict=True):
            _tell(device, was_enabled, was)


def _tell(device: str, enabled: bool, dtype: torch.dtype) -> None:
    torch.set_autocast_enabled(device, enabled)
    torch.set_autocast_dtype(device, dtype)


@cache
def _known(device: str) -> frozenset[str]:
    """The ops with an entry for autocast on a device; registrations are there in a build for CPU, too."""
    return frozenset(ops_with_kernel(f"Autocast{device.upper()}"))


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32)


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same arguments with every tensor of floats below float64 changed."""

    def changed(tensor: Tensor) -> Any:
        floats = tensor.is_floating_point() and tensor.dtype is not torch.float64
        return change(tensor) if floats and tensor.is_meta else tensor

    return with_tensors_changed(value, changed)
