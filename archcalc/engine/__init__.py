"""From a reference to a trace: parse, build without data, run once, record. Torch is imported here and no further.

reference -> load -> module -> inputs -> tracer -> Trace
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcalc.engine.load.references import BuiltIn, StoredTrace, parse
from archcalc.errors import BadReference, WrongUse, unreadable
from archcalc.networks import catalogue
from archcalc.tracing import Counted, Trace

if TYPE_CHECKING:
    from torch import nn


__all__ = ["BuiltIn", "Setup", "StoredTrace", "Training", "other_counts", "parse", "read", "trace"]


@dataclass(frozen=True)
class Training:
    """A training step: the optimizer, the loss, and the layers (patterns of paths) that are frozen or checkpointed.

    `accumulation` batches run forward and backward before the optimizer's turn.
    """

    optimizer: str = "adamw"
    loss: str = "sum"
    frozen: tuple[str, ...] = ()
    checkpoint: tuple[str, ...] = ()
    accumulation: int = 1


@dataclass(frozen=True)
class Setup:
    """How to build and run: knobs, inputs and their shorthands, dtype, mode. The defaults are the network's own.

    `inputs` are specifications such as "2x3x224x224" or "tokens=int64:1x77"; `batch`, `size` (height, width) and
    `seq_len` replace one axis of the default inputs. `mode` is eval or train: in a training forward pass dropout acts,
    batch norm takes its own statistics, and auxiliary heads run. `inputs_from` names a function, package.module:EXPR or
    path/to/file.py:EXPR, that gives what forward receives; `offline` forbids to ask the hub for a config.json. With
    `training` two whole steps are traced, in train mode. `device` names whose kernels are assumed: cpu, cuda, or
    nobody's; `attention` the kernel for it: auto (the device's own choice), math, flash or efficient; `amp` the lower
    precision of autocast: bf16 or fp16.
    """

    knobs: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    batch: int | None = None
    size: tuple[int, int] | None = None
    seq_len: int | None = None
    dtype: str = "float32"
    mode: str = "eval"
    inputs_from: str = ""
    offline: bool = False
    training: Training | None = None
    device: str = ""
    attention: str = "auto"
    amp: str = ""


def trace(model: str | nn.Module, setup: Setup | None = None, inputs: Any = None) -> Trace:
    """Run a model once on tensors without data and return the record of it.

    `inputs`, where given, are what forward receives and replace those of the setup. `model` is a reference (a
    built-in name, package.module:EXPR, path/to/file.py:EXPR, a stored trace) or a module, which stays as it is.
    Raises the errors of archcalc.errors: wrong names and inputs (exit code 2), failing models (3).
    """
    reference = parse(model) if isinstance(model, str) else model
    setup = setup or Setup()
    if isinstance(reference, StoredTrace):
        if setup != Setup() or inputs is not None:
            raise WrongUse(
                f"{model} is a stored trace: its inputs, knobs and dtype cannot be changed.",
                "trace the model again with the new settings",
            )
        return read(reference.path)
    if not isinstance(model, str) and not hasattr(model, "forward"):
        raise BadReference(repr(model)[:80], "it is neither text nor a torch.nn.Module")
    if isinstance(reference, BuiltIn):
        catalogue.resolve(reference.name)  # a misspelt name need not wait for torch
    from archcalc.engine.record.run import run

    return run(reference, setup, inputs)


def other_counts(model: str, setup: Setup) -> tuple[Counted, ...]:
    """What torch's FlopCounterMode and fvcore count for a model; raises what `trace` raises."""
    from archcalc.engine.load.build import load
    from archcalc.engine.other_counters import counts

    reference = parse(model)
    if isinstance(reference, StoredTrace):
        raise WrongUse(f"{model} is a stored trace: other counters need the model itself.", "name the model")
    return counts(load(reference, setup), setup)


def read(path: str) -> Trace:
    """The trace stored in a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadReference(path, f"the file cannot be read ({unreadable(error)})") from None
    return Trace.from_json(text, path)
