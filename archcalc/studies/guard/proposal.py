"""Proposed checks: today's shape and figures of models, with a little room, as a section of a check file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from archcalc.engine.setup import Setup
from archcalc.studies.guard.sources import taken
from archcalc.text.units import exact, shape


def proposal(references: Sequence[str], setup: Setup, settings: Mapping[str, object], heading: str) -> str:
    """A section for each model: today's shape and figures, with a little room."""
    parts = []
    for reference in references:
        now = taken(reference, replace(setup, training=None))
        lines = [f"[[{heading}]]", f"model = {_quoted(reference)}"]
        lines += [f"{key} = {_toml(value)}" for key, value in settings.items() if value]
        totals = now.totals
        lines += [
            f"exact_params = {totals['params']}",
            f"max_macs = {_room(totals['macs'])}  # today {exact(totals['macs'])}",
            f"max_peak_memory = {_room(totals['peak_bytes'])}  # today {exact(totals['peak_bytes'])} bytes",
        ]
        output = now.layers[0].output
        lines += [f"output = {_quoted(shape(output[0]))}"] if len(output) == 1 and output[0] else []
        lines += ["no_uncounted_ops = true"] if not totals["uncounted"] else []
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _room(figure: int) -> int:
    """A limit 5% above a figure, rounded up to three digits."""
    more = figure + figure // 20
    unit: int = 10 ** max(0, len(str(more)) - 3)
    return -(-more // unit) * unit


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _quoted(str(value))


def _quoted(text: str) -> str:
    """A text as TOML's basic string: as JSON's, with the escapes that only TOML wants."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)
