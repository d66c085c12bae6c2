"""The states of a training step in a line, and for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from archcalc.analyses.report import Report
from archcalc.analyses.training_states import training_states


def states_line(report: Report) -> list[str]:
    """Bytes a trained parameter, part by part; nothing for a forward pass."""
    states = training_states(report.trace)
    if states is None:
        return []

    def each(bytes_: int) -> str:
        return f"{bytes_ / states.trained_params:.3g}"

    names = f" ({', '.join(states.state)})" if states.state else ""
    parts = (
        ("weights", states.weights_bytes, ""),
        ("master weights", states.master_bytes, ""),
        ("gradients", states.gradients_bytes, ""),
        ("optimizer state", states.optimizer_bytes, names),
    )
    shown = " + ".join(f"{name} {each(bytes_)}{more}" for name, bytes_, more in parts if bytes_)
    recipe = report.trace.assumptions.get("recipe") or ""
    line = f"{f'recipe {recipe}: ' if recipe else ''}{each(states.bytes)} bytes a trained parameter: {shown}"
    if not states.master_bytes:
        return [line]
    return [line, f"in the optimizer's turn gradients take {each(states.step_gradients_bytes)} bytes: float32 copies"]


def states_for_machines(report: Report) -> dict[str, Any]:
    """The same as JSON: bytes of each part, the number of trained elements, the names of the optimizer's tensors."""
    states = training_states(report.trace)
    return {} if states is None else {"training_states": {**asdict(states), "bytes": states.bytes}}
