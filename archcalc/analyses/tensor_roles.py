"""The role of a tensor for the module that needs it in backward: input, output, or a named result inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from archcalc.analyses.training_states import master_owners
from archcalc.ops.names import packet
from archcalc.tracing import Call, ModuleCall, Trace

COPIES = ("clone", "_to_copy")
EMPTY = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
"""Ops whose results have no values until an op writes them."""
DRAWN = ("bernoulli_", "random_")
SIDE_RESULTS: Mapping[str, str] = {
    "native_dropout": "its mask",
    "max_pool2d_with_indices": "its indices",
    "max_pool3d_with_indices": "its indices",
    "native_batch_norm": "its statistics",
    "_native_batch_norm_legit": "its statistics",
    "native_layer_norm": "its statistics",
    "native_group_norm": "its statistics",
}
"""Words for the results after the first, by op; backward needs them."""


class Roles:
    """The tensors of a trace as its modules see them. Storages are named by their numbers, as everywhere here."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._storage_of = [tensor.storage for tensor in trace.tensors]
        self.label_at = {module.path: _label(module.type, module.extra) for module in trace.modules}
        """The type of the module at a path, with the setting that decides what it keeps: 'ReLU(inplace=True)'."""
        self.inputs = self._storages(trace.input_tensors)
        self.outputs = set[int]().union(*(self._storages(c.outputs) for c in trace.module_calls if c.module == 0))
        """Outputs of the whole model, of every batch."""
        self._given: dict[int, set[int]] = defaultdict(set)
        self._made: dict[int, set[int]] = defaultdict(set)
        for run in trace.module_calls:
            self._given[run.module] |= self._storages(run.inputs)
            self._made[run.module] |= self._storages(run.outputs)

    def label(self, call: Call) -> str:
        """The label of the module that an op call belongs to."""
        return self.label_at[self.trace.path(call)]

    def reads_nothing(self, call: Call) -> bool:
        """Whether a call reads no element: it makes views of its inputs, or takes nothing but their shape and type."""
        name = packet(call.op)
        if name.endswith("_like") or name.startswith("new_"):
            return True
        if not call.outputs or name.endswith("_"):
            return False
        return self._storages(call.outputs) <= self._storages(call.tensors())

    def made_again(self, call: Call) -> bool:
        """Whether a call of backward runs in a module that backward calls, as it does for a checkpoint."""
        first = self.trace.module_calls[call.module_call].first
        return first < len(self.trace.calls) and self.trace.calls[first].phase == "backward"

    @cached_property
    def owners(self) -> Mapping[int, str]:
        """The path of the module that registered a parameter or buffer, also for its master weight."""
        owners = {self.trace.tensors[p.tensor].storage: p.owner for p in self.trace.parameters}
        return {**owners, **master_owners(self.trace)}

    @cached_property
    def _written(self) -> Mapping[int, list[int]]:
        """The calls that write a storage in place."""
        written: dict[int, list[int]] = defaultdict(list)
        for number, call in enumerate(self.trace.calls):
            name = packet(call.op)
            if name.endswith("_") and not name.endswith("__"):
                for storage in self._storages(call.outputs):
                    written[storage].append(number)
        return written

    @cached_property
    def _dtypes(self) -> Mapping[int, str]:
        return {tensor.storage: tensor.dtype for tensor in reversed(self.trace.tensors)}

    def what(self, number: int, reader: Call) -> str:
        """The role of a storage, such as 'its input', for the module whose op `reader` reads it in backward."""
        return self._seen_by(number, self.trace.module_calls[reader.module_call])

    def _seen_by(self, number: int, run: ModuleCall) -> str:
        """The role of a storage for the module of a call."""
        given, made = self._storages(run.inputs), self._storages(run.outputs)
        if number not in given | made:  # a checkpoint calls the layer again: all calls of the module
            given, made = self._given[run.module], self._made[run.module]
        if number in given and number in made:
            return "its output" if self._written_in(number, run) else "its input"
        if number in given or number in made:
            return "its input" if number in given else "its output"
        birth = self.trace.storages[number].birth
        if birth < 0:
            return "a constant"
        maker = self.trace.calls[birth]
        by = self.trace.module_calls[maker.module_call]
        if by.module == run.module:
            return self._inside(number, maker, run)
        if number in self._made[by.module]:
            return f"the output of {self.label(maker)}"
        return f"{self._inside(number, maker, by).removeprefix('its ')} of {self.label(maker)}"

    def _inside(self, number: int, maker: Call, run: ModuleCall) -> str:
        """Words for a tensor that an op inside a module made, such as 'its mask'."""
        name = packet(maker.op)
        writers = [packet(self.trace.calls[n].op) for n in self._written[number]] if number in self._written else []
        if any(writer in DRAWN for writer in writers):
            return "its mask"
        if name in COPIES:
            return self._copy(number, maker, run)
        places = [self.trace.tensors[tensor].storage for tensor in maker.outputs]
        if number in places[1:] and name in SIDE_RESULTS:
            return SIDE_RESULTS[name]
        if name in EMPTY and writers:
            name = writers[0]
        return f"the result of {name.strip('_')}"

    def _copy(self, number: int, maker: Call, run: ModuleCall) -> str:
        """Words for a tensor that was copied from another, such as 'a copy of its input'."""
        source = self.trace.tensors[next(maker.tensors())].storage
        whose = (
            "of its weights" if self.trace.storages[source].role == "parameter" else f"of {self._seen_by(source, run)}"
        )
        if self._dtypes[source] != self._dtypes[number]:
            return f"a {self._dtypes[number]} copy {whose}"
        birth = self.trace.storages[number].birth
        if any(
            birth < n and self.trace.calls[n].module_call == maker.module_call for n in self._written.get(source, ())
        ):
            return f"a copy {whose.replace('its output', 'its input')}, which it overwrites"
        return f"a copy {whose}"

    def _written_in(self, number: int, run: ModuleCall) -> bool:
        """Whether an op of a module's call, or of a module below it, writes a storage in place."""
        return any(run.first <= call < run.last for call in self._written.get(number, ()))

    def _storages(self, tensors: Iterable[int]) -> set[int]:
        return {self._storage_of[tensor] for tensor in tensors}


def _label(type_: str, extra: str) -> str:
    return f"{type_}(inplace=True)" if "inplace=True" in extra else type_
