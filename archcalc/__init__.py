"""archcalc: shapes, parameters, multiply-adds and memory of neural networks, from their definitions alone.

>>> import archcalc
>>> archcalc.analyze("densenet-121").params
7978856
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archcalc.analyses.report import Layer, Report
from archcalc.errors import ArchcalcError
from archcalc.tracing import Trace
from archcalc.version import __version__

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ArchcalcError", "Layer", "Report", "Trace", "__version__", "analyze", "trace"]


def trace(
    model: str | nn.Module,
    inputs: Any = None,
    *,
    knobs: Mapping[str, Any] | None = None,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    seq_len: int | None = None,
    dtype: str = "float32",
    mode: str = "eval",
) -> Trace:
    """Run a model once on tensors without data and record every op, tensor and storage.

    `model` is a reference ("densenet-121", "mynet:Net", "net.py:make(width=2)", "trace.json") or a module, which is
    only read. `inputs` are what forward receives: tensors (their values are not used), shapes such as (2, 3, 224,
    224), or texts such as "int64:2x77"; one alone, several in a list, or a dict by argument name. `setup` takes
    `knobs`, `batch`, `size` (height, width), `seq_len`, `dtype` and `mode`, as archcalc.engine.Setup says. Raises
    ArchcalcError, which has an exit code and a hint.
    """
    from archcalc import engine

    setup = engine.Setup(knobs or {}, batch=batch, size=size, seq_len=seq_len, dtype=dtype, mode=mode)
    return engine.trace(model, setup, inputs)


def analyze(model: str | nn.Module | Trace, inputs: Any = None, **setup: Any) -> Report:
    """Every figure of a model: parameters, MACs, shapes and memory, by layer and in sum.

    Takes what `trace` takes, or a trace.
    """
    from archcalc.analyses import analyze

    return analyze(model if isinstance(model, Trace) else trace(model, inputs, **setup))
