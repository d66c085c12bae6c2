"""Who holds the bytes that are live during an op call, and why: by module type and cause, from the trace alone.

A tensor of forward that ops of backward still read is kept for them: the module that keeps it is the one whose backward
op reads it, and what it is to that module (its input, its output, a result inside) is told by `Roles`. Any other tensor
is held for the op that reads it next.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from archcalc.analyses.steady_pass import steady
from archcalc.analyses.tensor_roles import Roles
from archcalc.tracing import Storage, Trace

OF_OWNER = {"parameter": "parameters", "buffer": "buffers"}
"""Words for what a module registers."""
NAMED = 2
"""Modules that a cause names; more are counted."""


@dataclass(frozen=True)
class HeldByModule:
    """Live tensors with one cause: in words, the types of the modules, the ops that need them, the largest one's path.

    `ops` are those of backward that the tensors are kept for, or the op that makes or reads them.
    """

    why: str
    modules: tuple[str, ...]
    ops: tuple[str, ...]
    example: str
    tensors: int
    bytes: int


@dataclass(frozen=True)
class Cause:
    """Why a tensor is live, the labels of the modules and the ops that need it, and the path of a module.

    Tensors are added up whose causes are the same in words and modules.
    """

    why: str
    modules: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    path: str = ""


def held_by_module(trace: Trace, moment: int) -> tuple[HeldByModule, ...]:
    """All bytes that are live during the op call `moment`, by module type and cause, largest first.

    Each storage has one cause, so the rows add up to the live bytes then, the kernel's scratch included.
    """
    trace = steady(trace)
    live = _Live(trace, moment)
    held = [
        (live.cause(n, storage), storage.bytes)
        for n, storage in enumerate(trace.storages)
        if storage.bytes and storage.live_at(moment)
    ]
    scratch = trace.calls[moment].scratch
    if scratch:
        held.append((live.of_call(moment, "scratch of its kernel"), scratch))
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[Cause, int]]] = defaultdict(list)
    for cause, bytes_ in held:
        groups[cause.why, cause.modules].append((cause, bytes_))
    rows = [
        HeldByModule(
            why,
            modules,
            tuple(dict.fromkeys(op for cause, _ in members for op in cause.ops)),
            max(members, key=lambda member: member[1])[0].path,
            len(members),
            sum(bytes_ for _, bytes_ in members),
        )
        for (why, modules), members in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.bytes))


class _Live:
    """The causes of the storages that are live at a moment."""

    def __init__(self, trace: Trace, moment: int) -> None:
        self.trace, self.moment = trace, moment
        self.roles = Roles(trace)
        self.readers: dict[int, list[int]] = defaultdict(list)
        """For each storage the calls from the moment on that read its elements."""
        for number, call in enumerate(trace.calls[moment:], moment):
            if not self.roles.reads_nothing(call):
                for storage in {trace.tensors[tensor].storage for tensor in call.tensors()}:
                    self.readers[storage].append(number)

    def cause(self, number: int, storage: Storage) -> Cause:
        """The cause of a live storage."""
        role, roles = storage.role, self.roles
        if role == "workspace":
            return Cause("workspaces of libraries")
        if role == "input":
            return Cause("inputs of the model" if number in roles.inputs else "targets of the loss")
        if role == "cache":
            return Cause("the cache of the decoder", path=self._path(storage))
        if role in OF_OWNER:
            return self._at(roles.owners.get(number, ""), OF_OWNER[role])
        if role == "master":
            return Cause(f"{self._optimizer}: master weights in float32", path=roles.owners.get(number, ""))
        if role == "optimizer":
            state = self.trace.assumptions.get("optimizer_state")
            names = ", ".join(map(str, state)) if isinstance(state, tuple) else "its state"
            return Cause(f"{self._optimizer}: {names}", path=self._path(storage))
        if role == "gradient":
            return self._at(self._path(storage), "gradients of its parameters")
        if role == "activation gradient":
            return Cause("gradients of activations, held until backward ends", path=self._path(storage))
        return self._kept(number, storage) or self._passing(number, storage)

    @property
    def _optimizer(self) -> str:
        return str(self.trace.assumptions.get("optimizer", "optimizer"))

    def _path(self, storage: Storage) -> str:
        return self.trace.path(self.trace.calls[storage.birth]) if storage.birth >= 0 else ""

    def _at(self, path: str, what: str) -> Cause:
        label = self.roles.label_at[path]
        return Cause(f"{label}: {what}", (label,), path=path)

    def _kept(self, number: int, storage: Storage) -> Cause | None:
        """The cause of what backward still needs: made in forward, or made again there for a checkpoint."""
        made = self.trace.calls[storage.birth] if storage.birth >= 0 else None
        phase = made.phase if made else "forward"
        if phase == "optimizer" or (phase == "backward" and made and not self.roles.made_again(made)):
            return None
        reading = [self.trace.calls[n] for n in self.readers[number] if self.trace.calls[n].phase == "backward"]
        if not reading:
            return None
        calls = reading[::-1]  # in the order of forward
        labels = ["the loss" if phase == "loss" else self.roles.label(call) for call in calls]
        needs = dict.fromkeys((label, self.roles.what(number, call)) for label, call in zip(labels, calls, strict=True))
        (first, what), *more = needs
        words = [f"{first} keeps {what}", *(f"{label} {other}" for label, other in more)]
        why = ", ".join(words[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")
        again = ", made again in backward" if phase == "backward" else ""
        ops = tuple(dict.fromkeys(call.op for call in calls))
        return Cause(why + again, tuple(dict.fromkeys(labels)), ops, self.trace.path(calls[0]))

    def _passing(self, number: int, storage: Storage) -> Cause:
        """The cause of a tensor that no op of backward needs from forward: the op that makes or reads it."""
        following = next(iter(self.readers[number]), None)
        if storage.birth < 0:
            path = self.trace.path(self.trace.calls[following]) if following is not None else ""
            return self._at(path, "constants that are not registered")
        made = self.trace.calls[storage.birth]
        if made.phase == "optimizer":
            return Cause("temporaries of the optimizer's step", (), (made.op,), self._path(storage))
        if storage.birth == self.moment:
            return self.of_call(self.moment, "its result, being made")
        if following is not None:
            what = "tensors of backward" if made.phase == "backward" else "tensors"
            return self.of_call(following, f"{what} that it reads {'now' if following == self.moment else 'later'}")
        return self._unread(number, storage)

    def of_call(self, number: int, what: str) -> Cause:
        """The cause of a tensor that belongs to one op call."""
        call = self.trace.calls[number]
        label = "the loss" if call.phase == "loss" else self.roles.label(call)
        return Cause(f"{label}: {what}", (label,), (call.op,), self.trace.path(call))

    def _unread(self, number: int, storage: Storage) -> Cause:
        """The cause of a tensor that no op reads any more."""
        made = self.trace.calls[storage.birth]
        if number in self.roles.outputs:
            before = self.trace.steps and storage.birth < self.trace.steps[-1].forward
            why = "the output of the batch before" if before else "the output of the model"
            return Cause(why, (), (made.op,), self._path(storage))
        if made.phase == "loss":
            return Cause("the loss", (), (made.op,))
        if storage.role == "saved" and self.trace.assumptions.get("keep_gradients"):
            return Cause("activations, held until backward ends", path=self._path(storage))
        return self.of_call(storage.birth, "results that no op reads again")
