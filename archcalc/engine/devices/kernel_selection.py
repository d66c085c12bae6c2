"""Which kernels a device would take, where torch's tensors without data take none: attention, dropout, cells, autocast.

The ops' entries for tensors without data are replaced for the run, below every way they can be called, and put back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, get_kernel

from archcalc.engine.devices.autocast import AMP, Autocast
from archcalc.engine.devices.cpu_rnn import RECURRENT
from archcalc.engine.devices.cuda_cells import gru_cell, lstm_cell
from archcalc.errors import WrongUse

DEVICES = ("", "cpu", "cuda")
"""Whose kernels are assumed: nobody's (tensors alone), the CPU's, or those of an NVIDIA GPU."""
ATTENTION = ("auto", "math", "flash", "efficient")
BLOCK = {"": 1, "cpu": 1, "cuda": 512}
"""Bytes that each device's allocator rounds a block up to."""

aten = torch.ops.aten
Kernel = Callable[..., Any]
Wrap = Callable[[Kernel], Kernel]


def check(device: str, attention: str, amp: str) -> None:
    """WrongUse for a name that is not there."""
    if device not in DEVICES:
        raise WrongUse(f"there are no kernels of '{device}' here.", "choose  cpu  or  cuda, or leave --device out")
    if attention not in ATTENTION:
        raise WrongUse(f"there is no attention '{attention}'.", f"choose one of  {', '.join(ATTENTION)}")
    if amp and amp not in AMP:
        raise WrongUse(f"there is no mixed precision '{amp}'.", f"choose one of  {', '.join(AMP)}")


class KernelChoice:
    """The choice for one run: what replaces which op, and how often a fused attention was taken."""

    def __init__(self, device: str, attention: str, amp: str) -> None:
        self.device = device
        self.attention = attention if attention != "auto" else ("math" if not device else "flash")
        self.autocast = Autocast(amp, device) if amp else None
        self.taken: Counter[str] = Counter()

    @contextmanager
    def region(self) -> Iterator[None]:
        """Forward and loss of a step: where autocast acts."""
        with self.autocast.region() if self.autocast else ExitStack():
            yield

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The replaced ops, to the end of the block."""
        wraps: dict[str, list[Wrap]] = {}
        if self.attention != "math":
            wraps["scaled_dot_product_attention"] = [self._attend]
        if self.device == "cuda":
            wraps |= {"dropout": [_dropout], "lstm_cell": [lstm_cell], "gru_cell": [gru_cell]}
        if self.device == "cpu":
            wraps |= {name: [wrap] for name, wrap in RECURRENT.items()}
        for name, wrap in self.autocast.wrapped() if self.autocast else ():
            wraps.setdefault(name, []).append(wrap)
        if not wraps:
            yield
            return
        library: Any = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        try:
            for name, around in wraps.items():
                _replace(library, name, around)
            yield
        finally:
            library._destroy()

    def said(self) -> str:
        """How attention was computed, as the answer states it."""
        fused = {name: count for name, count in self.taken.items() if name != "math"}
        if not fused:
            return "unfused"
        return ", ".join(f"{name} in {count} of {self.taken.total()} calls" for name, count in fused.items())

    def _attend(self, unfused: Kernel) -> Kernel:
        def attention(
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attn_mask: Tensor | None = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            *,
            scale: float | None = None,
            enable_gqa: bool = False,
        ) -> Any:
            fused = self._fused(query, key, value, attn_mask, dropout_p, enable_gqa)
            self.taken[fused] += 1
            if fused == "math":
                return unfused(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
            mask = _added(attn_mask, query)
            if fused == "efficient":
                trained = query.requires_grad or key.requires_grad or value.requires_grad
                return aten._scaled_dot_product_efficient_attention(
                    query, key, value, mask, trained, dropout_p, is_causal, scale=scale
                )[0]
            if self.device == "cuda":
                return aten._scaled_dot_product_flash_attention(
                    query, key, value, dropout_p, is_causal, False, scale=scale
                )[0]
            return aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
            )[0]

        return attention

    def _fused(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, shared: bool
    ) -> str:
        """The kernel that the device takes for these tensors: each has calls that it cannot do."""
        masked = mask is not None and mask.requires_grad
        if any(t.dim() != 4 for t in (query, key, value)) or query.shape[-1] != value.shape[-1] or masked:
            return "math"
        if self.device == "cuda" or self.attention == "efficient":
            half = query.dtype in (torch.float16, torch.bfloat16)
            if self.attention == "flash" and half and mask is None:
                return "flash"
            return "math" if shared and query.shape[-3] != key.shape[-3] else "efficient"
        return "math" if dropout else "flash"


def _added(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """A mask of truth values as the fused kernels want it: 0 or -inf, added to the scores."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))


def _dropout(unfused: Kernel) -> Kernel:
    """CUDA's keeps a mask of one byte an element; the other a factor as wide as the input."""

    def dropout(input: Tensor, p: float, train: bool) -> Any:
        if not train or not 0 < p < 1 or not input.numel():
            return unfused(input, p, train)
        return aten.native_dropout(input, p, train)[0]

    return dropout


def _replace(library: Any, name: str, around: list[Wrap]) -> None:
    """Enter the wrapped kernel of an op for tensors without data; it gets the dispatch keys, which are passed on."""
    original = get_kernel(f"aten::{name}", "AutogradMeta")
    keys: list[Any] = []

    def innermost(*args: Any, **kwargs: Any) -> Any:
        return original.call_boxed(keys[-1], *args, **kwargs)

    kernel: Kernel = innermost
    for wrap in around:
        kernel = wrap(kernel)

    def entry(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        keys.append(keyset)
        try:
            return kernel(*args, **kwargs)
        finally:
            keys.pop()

    library.impl(name, entry, "AutogradMeta", with_keyset=True)
