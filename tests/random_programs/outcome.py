"""What a run of a program comes to: on real tensors by the counter of `products`, and as archcalc says it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

import archcalc
from archcalc.tracing import Trace
from tests.random_programs.products import Products
from tests.random_programs.program import Plan, Program, build

MODES = ("eval", "train", "step")
"""Evaluation, a forward pass of training, and a whole training step."""
KEPT_BY_KERNELS = {"conv3d", "fold", "embedding_bag"}
"""Stages whose CPU kernels keep more than the tensors: results in larger storages, or tables of their own."""
KEPT_BY_ORDER = {"lstm", "lstm_projected", "gru", "rnn", "last_state", "packed", "parametrised"}
"""Stages of recurrent layers, of which the CPU makes all input products first and archcalc takes cell by cell."""
NOT_ASKED = {"derivatives", "copied", "ensemble"}
"""Stages in which torch refuses to be asked what it keeps, and those that copy weights.

A storage that was kept once counts as kept while it lives: the copies of the step before are still there.
"""
NO_STEP = {"derivatives", "scripted"}
"""Stages that archcalc refuses in a training step: torch.func's derivatives, and weights of scripted modules."""
DISPUTED = {"_ctc_loss"}
"""Ops that may have a rule or may be named as having none."""
Seen = tuple[tuple[int, ...], str]
"""Shape and dtype of a tensor."""


@dataclass(frozen=True)
class Outcome:
    """All that the two runs must agree in.

    `stages` are what each stage gave, `outputs` what the program gave; `uncounted` are the ops of forward without a
    rule. `backward_macs` and the bytes that autograd keeps at the end of forward are None without a step.
    """

    stages: dict[str, Seen]
    outputs: list[Seen]
    params: int
    trainable_params: int
    macs: int
    backward_macs: int | None
    uncounted: set[str]
    kept_bytes: int | None


def mode_of(seed: int) -> str:
    """The mode that a program is run in by default."""
    return MODES[seed % 3]


def seen(tensor: Tensor) -> Seen:
    """Shape and dtype."""
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors in a result, in the order they stand there."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_of(item)


def measured(plan: Plan, mode: str) -> Outcome:
    """On real tensors. A training step keeps to the kernels that have a backward op for each forward op."""
    module, inputs = build(plan), plan.inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.no_grad():
            build_lazy(module, inputs)
        module.train(mode != "eval")
        stages: dict[str, Seen] = {}
        for i, stage in enumerate(module.stages):
            stage.register_forward_hook(lambda m, args, out, i=i: stages.update({f"stages.{i}": seen(out)}))
        counter, backward, kept = Products(), None, None
        if mode == "step":
            with kernels_with_backward():
                outputs, forward, no_rule, backward, kept = _step(module, inputs, counter)
        else:
            with torch.no_grad(), counter:
                outputs = module(*inputs)
            forward = counter.macs
            no_rule = counter.no_rule
    parameters = list(module.parameters())
    return Outcome(
        stages,
        list(map(seen, tensors_of(outputs))),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        forward,
        backward,
        no_rule,
        kept if tells_kept(plan) else None,
    )


@contextmanager
def kernels_with_backward() -> Iterator[None]:
    """Attention in matrix products and recurrent layers cell by cell, whose backward is made of the same ops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TF32 is for Intel's GPUs
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            yield


def build_lazy(module: Program, inputs: list[Tensor]) -> None:
    """A run that gives lazy layers their sizes, in evaluation, so that nothing is updated."""
    module.eval()(*inputs)


def tells_kept(plan: Plan) -> bool:
    """Whether the bytes kept for backward do not depend on the CPU's kernels."""
    return not {step.stage for step in plan.steps} & (KEPT_BY_KERNELS | KEPT_BY_ORDER | NOT_ASKED)


def _step(module: Program, inputs: list[Tensor], counter: Products) -> tuple[Any, int, set[str], int, int]:
    """Output, products of forward and its ops without a rule, products of backward, and the bytes kept for it."""
    given = [*module.parameters(), *module.buffers(), *inputs]
    kept = Kept()
    asked = saved_tensors_hooks(kept.pack, kept.unpack) if tells_kept(module.plan) else nullcontext()
    with counter:
        with asked:
            outputs = module(*inputs)
        forward, no_rule, saved = counter.macs, counter.no_rule, kept.bytes_beside(given)
        sum(t.sum() for t in tensors_of(outputs) if t.requires_grad).backward()
    return outputs, forward, no_rule, counter.macs - forward, saved


class Kept:
    """What autograd keeps for backward, as long as it keeps it."""

    @dataclass(eq=False)
    class Packed:
        """One tensor that autograd keeps."""

        tensor: Tensor

    def __init__(self) -> None:
        self.alive: WeakSet[Kept.Packed] = WeakSet()

    def pack(self, tensor: Tensor) -> Kept.Packed:
        packed = Kept.Packed(tensor.detach())  # a node that held its own result through us would never be freed
        self.alive.add(packed)
        return packed

    def unpack(self, packed: Kept.Packed) -> Tensor:
        return packed.tensor

    def bytes_beside(self, given: list[Tensor]) -> int:
        """Bytes of the storages, each once, that hold none of the given tensors."""
        theirs = {tensor.untyped_storage().data_ptr() for tensor in given if tensor.layout is torch.strided}
        storages = [packed.tensor.untyped_storage() for packed in self.alive]
        return sum({s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in theirs}.values())


def claimed(plan: Plan, mode: str) -> Outcome:
    """As archcalc says it, of a fresh module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how: dict[str, Any] = {"train": archcalc.Training("sgd")} if mode == "step" else {"mode": mode}
        made = archcalc.analyze(build(plan), plan.inputs(), **how)
    trace = made.trace
    totals = made.totals
    return Outcome(
        _stages(trace, len(plan.steps)),
        [_seen(trace, tensor) for tensor in trace.output_tensors],
        made.params,
        totals["trainable_params"],
        made.macs,
        totals["backward_macs"] if mode == "step" else None,
        {name.split(".")[1].rstrip("_") for name in totals["uncounted"]} - DISPUTED,
        totals["saved_total_bytes"] if mode == "step" and tells_kept(plan) else None,
    )


def _seen(trace: Trace, tensor: int) -> Seen:
    return trace.tensors[tensor].shape, trace.tensors[tensor].dtype


def _stages(trace: Trace, count: int) -> dict[str, Seen]:
    """What the first call of each stage gave."""
    names = {f"stages.{i}" for i in range(count)}
    found: dict[str, Seen] = {}
    for call in trace.module_calls:
        path = trace.modules[call.module].path
        if path in names and path not in found and len(call.outputs) == 1:
            found[path] = _seen(trace, call.outputs[0])
    return found


def differences(plan: Plan, mode: str) -> list[str]:
    """Where the two outcomes differ, in words; empty where they agree."""
    return compared(plan, measured(plan, mode), claimed(plan, mode))


def compared(plan: Plan, real: Outcome, said: Outcome) -> list[str]:
    """Where two outcomes of a plan differ, in words."""
    found = []
    for field in fields(Outcome):
        ours, theirs = getattr(said, field.name), getattr(real, field.name)
        if isinstance(ours, dict):
            for name in theirs:
                if ours.get(name) != theirs[name]:
                    step = plan.steps[int(name.rpartition(".")[2])]
                    found.append(f"{step} gives {theirs[name]}, archcalc says {ours.get(name)}")
        elif ours != theirs:
            found.append(f"{field.name}: {theirs} on the CPU, {ours} by archcalc")
    return found
