"""Run a module once and record everything: a mode for the ops, hooks for the modules, weak references for storages.

Nothing of the user's is changed: the module traced is a copy without data, and the mode ends with the run.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from archcalc.engine.devices.kernel_selection import KernelSelection
from archcalc.engine.meta import contraction_rules, mask_rules, training_rules  # noqa: F401, enter their rules
from archcalc.engine.meta.argument_checks import refuse
from archcalc.engine.meta.call_arguments import (
    Op,
    asks_for_values,
    demand_dense,
    op_of,
    tensors_by_use,
    tensors_in,
    tensors_of,
)
from archcalc.engine.meta.empty_modules import emptied
from archcalc.engine.meta.index_checks import refuse_out_of_bounds
from archcalc.engine.meta.known_values import LIMIT, KnownValues, NeedsValues
from archcalc.engine.meta.overlap_checks import refuse_overlap
from archcalc.engine.meta.own_draws import drawn
from archcalc.engine.meta.shape_rules import BY_ID
from archcalc.engine.meta.unknown_kernels import has_none, learned
from archcalc.engine.meta.value_checks import in_check
from archcalc.engine.record.entries import OPEN, Entries
from archcalc.engine.record.module_paths import Paths
from archcalc.engine.record.packing import lengths_for
from archcalc.engine.torch_private import (
    WRAPPED,
    DispatchMode,
    storage_key,
    with_tensors_changed,
    without_function_modes,
)
from archcalc.tracing import Call, Kept, ModuleCall, Step, Storage
from archcalc.tracing import Tensor as TraceTensor

COMPILED = frozenset(
    "view _unsafe_view t transpose permute expand slice select split unsqueeze squeeze clone detach alias empty "
    "lift_fresh _local_scalar_dense add_".split()
)
"""Ops whose meta kernels are compiled. Those in Python leave cycles behind, which keep their arguments alive until they
are collected; real kernels, which compute on tensors with data, leave none."""
BY_NUMBERS = (torch.ops.aten._ctc_loss.default,)
"""Ops that torch says ask for values, and whose shapes are in the numbers that they get beside their tensors."""
PACKING = ("_pack_padded_sequence",)
"""Ops that read the lengths of a batch's sequences, which are numbers, on any device."""
Region = Callable[[], AbstractContextManager[None]]
"""A function that returns the context manager in which autocast acts."""


class Recorder(DispatchMode):  # type: ignore[no-untyped-call]
    """The record of a run while it grows; a dispatch mode that sees every op below autograd."""

    def __init__(self, module: nn.Module, kernels: KernelSelection, known: KnownValues | None = None) -> None:
        super().__init__()
        self.module = module
        self.device, self.kernels, self.autocast = kernels.device, kernels.kernels, kernels.autocast
        self.paths = Paths(module)
        self.known = known or KnownValues()
        self.lengths: Sequence[int] | None = None
        self.unknown_lengths = False
        self.phase = "forward"
        self.calls: list[Call] = []
        self.entries = Entries(self.device, self.calls)
        self.module_calls: list[ModuleCall] = []
        self.stack: list[int] = []
        self.failed: tuple[int, str] | None = None
        self.state_names: tuple[str, ...] = ()
        self.keeps: tuple[Kept, ...] = ()  # what autograd kept in training steps
        self._multiplied, self._unseen = set[bool](), False
        self._wrapped = len(WRAPPED)
        self._overwritten: dict[int, torch.UntypedStorage] = {}
        self._hooks: list[RemovableHandle] = []

    # ---- ops ----

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        op = op_of(func)
        if self._unseen or op.marks:
            return func(*args, **kwargs)
        if len(WRAPPED) != self._wrapped:  # code of the run imported a module that calls torch.fx.wrap: torch._dynamo
            self._wrapped = len(WRAPPED)
            gc.collect(0)
        tensors = tensors_of((*args, *kwargs.values()) if kwargs else args)
        demand_dense(tensors, "an argument of", func)
        bare = [t.is_meta for t in tensors]
        empty = True in bare or any(storage_key(t) in self._overwritten for t in tensors)
        if op.name in PACKING:
            args = self._with_lengths(args)
        elif empty and False in bare:
            self._note_overwritten(func, args, kwargs)
            args, kwargs = with_tensors_changed((args, kwargs), self._empty)
            tensors = tensors_of((*args, *kwargs.values()))
        refuse(func, args, kwargs)
        written, read = tensors_by_use(op, args, kwargs) if op.mutable else ((), ())
        if written:
            refuse_overlap(op, written, read)
        refuse_out_of_bounds(op, args, self.known.of)
        inputs, attributes = self.entries.arguments(op, args, kwargs)
        out = self.kernels.result(func, args, kwargs, self._result(op, args, kwargs, tensors, empty))
        results = [out] if isinstance(out, Tensor) else tensors_of((out,))
        demand_dense(results, "the result of", func)
        self.known.follow(op, args, kwargs, tensors, results, written)
        outputs = self.entries.made(op, args, inputs, results)
        self._note_workspace(func)
        scratch = self.kernels.scratch(func, args, kwargs, out)
        writes = tuple([name for name in op.written if name in inputs]) if op.mutable else ()
        where = self.caller(tensors), self.phase
        self.calls.append(Call(op.label, *where, inputs, outputs, attributes, scratch, writes))
        return out

    def _result(
        self, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Sequence[Tensor], empty: bool
    ) -> Any:
        """What an op returns: by a shape rule, by torch's kernel for tensors without data, or by values known here."""
        func = op.overload
        shape_rule = BY_ID.get(id(func))
        out = NotImplemented if shape_rule is None else shape_rule(*args, **kwargs)
        if out is not NotImplemented:
            return out
        if empty and asks_for_values(op, args):
            out = self.known.answer(func, args, kwargs, tensors)
            if out is NotImplemented and func in BY_NUMBERS:
                return learned(func, args, kwargs, tensors)
            return self.assumed(func) if out is NotImplemented else out
        if not empty and asks_for_values(op, args):
            self.known.asked(tensors)
        try:
            out = drawn(op, args, kwargs, self.known.generator)
        except NotImplementedError as error:
            if not empty or not has_none(error):
                raise
            out = self.known.answer(func, args, kwargs, tensors)
            return learned(func, args, kwargs, tensors) if out is NotImplemented else out
        if op.name not in COMPILED and (empty or not tensors):
            gc.collect(0)
        return out

    def assumed(self, func: Any) -> Any:
        """The result of an op that needs values, if one may be assumed; NeedsValues otherwise."""
        if op_of(func).name == "_local_scalar_dense" and in_check():
            return True
        raise NeedsValues(op_of(func).label)

    def _with_lengths(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a packing with lengths that have values: known ones, those of the setup, or full length."""
        data, lengths, batch_first = args
        if not lengths.is_meta:
            return args
        values = self.known.of(lengths)
        if values is None:
            batch, longest = (data.shape[0], data.shape[1]) if batch_first else (data.shape[1], data.shape[0])
            values = lengths_for(self.lengths, batch, longest)
            self.unknown_lengths = True
        else:
            self.known.asked([lengths])
        return data, values, batch_first

    def _note_overwritten(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note that real tensors are overwritten from tensors without data: their values are unknown from then on."""
        written, _ = tensors_by_use(op_of(func), args, kwargs)
        for storage in (tensor.untyped_storage() for tensor in written if not tensor.is_meta):
            self._overwritten[storage_key(storage)] = storage

    def _empty(self, tensor: Tensor) -> Tensor:
        """The tensor without its values, unless it holds a single number."""
        number = tensor.dim() == 0 and storage_key(tensor) not in self._overwritten
        return tensor if number or tensor.is_meta else self.twin(tensor)

    def twin(self, real: Tensor) -> Tensor:
        """A copy of a real tensor without values; the record shows it as the same tensor and storage."""
        if real.is_meta:
            return real
        twin: Tensor = emptied(real)
        if real.numel() <= LIMIT and storage_key(real) not in self._overwritten:
            self.known.note(twin, real)
        self.entries.alias(twin, self.tensor(real, "constant"))
        return twin

    def same(self, tensor: Tensor, number: int) -> Tensor:
        """A second tensor for an entered one, which the record and the known values take for the first."""
        self._unseen = True
        try:
            second = tensor.detach()
        finally:
            self._unseen = False
        values = self.known.of(tensor)
        if values is not None:
            self.known.note(second, values)
        self.entries.name(second, number)
        return second

    def _note_workspace(self, func: Any) -> None:
        """Record the workspace that a library allocates at its first call in a thread; backward has its own thread."""
        size, thread = self.kernels.workspace(func), self.phase == "backward"
        if size and thread not in self._multiplied:
            self._multiplied.add(thread)
            self.storages.append(Storage(size, "workspace", len(self.calls), None))

    def caller(self, tensors: Sequence[Tensor]) -> int:
        """The module call that an op on these tensors belongs to."""
        return self.stack[-1] if self.stack else 0

    # ---- tensors and storages ----

    @property
    def tensors(self) -> list[TraceTensor]:
        """The tensors that were entered, by their ids."""
        return self.entries.tensors

    @property
    def storages(self) -> list[Storage]:
        """The storages that were entered, by their ids."""
        return self.entries.storages

    def tensor(self, tensor: Tensor, role: str, born: int = OPEN) -> int:
        """The id of a tensor; one not seen before, or changed in place since, is entered with its storage."""
        return self.entries.tensor(tensor, role, born)

    def close(self) -> None:
        """End the record: write each storage's death, None for those alive, and stop watching them and the modules."""
        self.entries.close()
        for hook in self._hooks:
            hook.remove()  # or module and record keep each other until the garbage collector comes

    # ---- modules ----

    def steps_of(self) -> tuple[Step, ...]:
        """The training steps of the run; a forward pass has none."""
        return ()

    def watch_modules(self) -> None:
        """Register hooks on every module below the root; the caller enters and leaves the root itself."""
        for module in {id(m): m for path, m in self.paths.walk() if path}.values():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks: its ops belong to whoever calls it
                before, after = module.register_forward_pre_hook, module.register_forward_hook
                self._hooks.append(before(self.enter, with_kwargs=True))
                self._hooks.append(after(self.leave, with_kwargs=True, always_call=True))

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Record that a module's forward begins; ops of a copy that forward made belong to its caller."""
        if module not in self.paths:
            return
        index = self.paths.index(module, self.stack[-1] if self.stack else None)
        parent = self.stack[-1] if self.stack else None
        inputs = self._seen((args, kwargs))
        self.stack.append(len(self.module_calls))
        self.paths.entered(index)
        self.module_calls.append(ModuleCall(index, parent, inputs, (), len(self.calls), OPEN))

    def leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        """Record that a module's forward ends; if it raised, keep the path of the innermost module."""
        if module not in self.paths:
            return
        error = sys.exc_info()[1]
        if error is not None and (self.failed is None or self.failed[0] != id(error)):
            self.failed = (id(error), self.here())  # not the error itself, whose frames would keep tensors alive
        number = self.stack.pop()
        call = self.module_calls[number]
        outputs = self._seen(out)
        self.module_calls[number] = ModuleCall(
            call.module, call.parent, call.inputs, outputs, call.first, len(self.calls)
        )

    def _seen(self, values: Any) -> tuple[int, ...]:
        """The ids of the tensors that a module gets or returns."""
        with without_function_modes():
            return tuple([self.entries.tensor(t, "constant") for t in tensors_in(values)])

    def here(self) -> str:
        """Path of the module that is running."""
        return self.paths.modules[self.module_calls[self.stack[-1]].module].path if self.stack else ""
