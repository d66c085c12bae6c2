"""The kernels of a run, where torch's tensors without data take none: attention, dropout, cells, autocast.

The ops' entries for tensors without data are replaced for the run, below every way they can be called, and put back.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, get_kernel

from archcalc.engine import choices
from archcalc.engine.devices import products_without_zeros
from archcalc.engine.devices.attention import efficient
from archcalc.engine.devices.autocast import Autocast
from archcalc.engine.devices.device import Device, Kernel, Wrap
from archcalc.engine.devices.own_autocast import own_regions
from archcalc.engine.torch_private import destroy, enter_without_data
from archcalc.errors import WrongUse


def check(attention: str, amp: str) -> None:
    """WrongUse for a kernel of attention, or a mixed precision, that does not exist."""
    if attention != choices.ONE_KERNEL:
        choices.attention(attention)
    choices.amp(amp)


class KernelSelection:
    """The kernels of one run: what replaces which op, and how often each kernel of attention was taken."""

    def __init__(self, device: Device, attention: str, amp: str) -> None:
        self.device = device
        self.kernels = device.kernels()
        self.asked = attention
        self.attention = {"auto": self.kernels.attention.default, choices.ONE_KERNEL: "flash"}.get(attention, attention)
        self.autocast = Autocast(device.autocast, amp)
        self.taken: Counter[str] = Counter()

    @contextmanager
    def region(self) -> Iterator[None]:
        """Forward and loss of a step: where autocast acts."""
        with self.autocast.region() if self.autocast.asked else nullcontext():
            yield

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The replaced ops, to the end of the block; those of autocast once it is asked for, or the model enters it."""
        outer = self.autocast.of_caller
        casts = bool(outer or self.autocast.asked)
        library = self._entered(casts)

        def cast() -> None:
            nonlocal library, casts
            if not casts:
                destroy(library)
                library, casts = self._entered(casts=True), True

        around = self.autocast.own_region(True, outer) if outer else nullcontext()
        try:
            with self.autocast.told(), own_regions(self.autocast, cast), around:
                yield
        finally:
            destroy(library)

    def _entered(self, casts: bool) -> Any:
        """The library of the replaced ops, with those that autocast changes if it `casts`."""
        replaced = {**products_without_zeros.NODES, **self.kernels.replaced}
        wraps: dict[str, list[Wrap]] = {name: [wrap] for name, wrap in replaced.items()}
        if self.attention != "math" or self.asked == "math":
            wraps["scaled_dot_product_attention"] = [self._attend]
        for name, wrap in self.autocast.wrapped() if casts else ():
            wraps.setdefault(name, []).append(wrap)
        library: Any = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        try:
            for name, around in wraps.items():
                _replace(library, name, around)
            for name, kernel in self.kernels.own.items():
                enter_without_data(library, name, kernel)
        except BaseException:
            destroy(library)
            raise
        return library

    def in_words(self) -> str:
        """How attention was computed, as the answer states it."""
        fused = {name: count for name, count in self.taken.items() if name != "math"}
        if not fused:
            could = self.asked in ("auto", "math", choices.ONE_KERNEL) or not self.taken
            return "unfused" if could else f"unfused: {self.asked} can do none of {self.taken.total()} calls"
        return ", ".join(f"{name} in {count} of {self.taken.total()} calls" for name, count in fused.items())

    def demand_use(self, model: str) -> None:
        """WrongUse for a kernel of attention that was asked for, if the run did not call attention."""
        if self.asked not in ("auto", choices.ONE_KERNEL) and not self.taken:
            message = f"--attention {self.asked} changes nothing: {model} does not call scaled_dot_product_attention."
            raise WrongUse(message, "leave --attention out; attention that is written out runs as it is written")

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
            choose, fused = self.kernels.attention.fused, "math"
            if self.attention != "math":
                fused = choose(self.attention, query, key, value, attn_mask, dropout_p, enable_gqa)
            self.taken[fused] += 1
            if fused == "math":
                return unfused(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
            kernel = efficient if fused == "efficient" else self.kernels.attention.flash
            mask = _added(attn_mask, query)
            return kernel(query, key, value, mask, dropout_p, is_causal=is_causal, scale=scale)

        return attention


def _added(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """A mask of truth values as the fused kernels want it: 0 or -inf, added to the scores."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))


def _replace(library: Any, name: str, around: list[Wrap]) -> None:
    """Enter the wrapped kernel of an op for tensors without data; it gets the dispatch keys, which are passed on."""
    original = get_kernel(f"aten::{name}", "AutogradMeta")
    keys: list[Any] = []
    thread = threading.get_ident()

    def innermost(*args: Any, **kwargs: Any) -> Any:
        return original.call_boxed(keys[-1], *args, **kwargs)

    kernel: Kernel = innermost
    for wrap in around:
        kernel = wrap(kernel)

    def entry(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:  # the entry belongs to the process, the run to one thread
            return original.call_boxed(keyset, *args, **kwargs)
        keys.append(keyset)
        try:
            return kernel(*args, **kwargs)
        finally:
            keys.pop()

    library.impl(name, entry, "AutogradMeta", with_keyset=True)
