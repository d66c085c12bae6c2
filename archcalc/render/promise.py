"""The keys that a command's JSON always has within a schema version, and docs/schema.json, made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from archcalc.engine.load.references import LIBRARIES
from archcalc.render import pages
from archcalc.render.formats.as_json import SCHEMA_VERSION

LAYER = ("path", "type")
"""Keys of a row that is a layer."""
MODEL = ("model", "inputs", "assumptions")
"""Keys around the rows of an answer on one model."""
COUNT: dict[str, Any] = {"$ref": "#/$defs/count"}
TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
KINDS: dict[str, dict[str, Any]] = {
    "output_shape": {"$ref": "#/$defs/shapes"},
    "uncounted": TEXTS,
    "memory_bytes": {"type": ["integer", "null"], "minimum": 0},
    "communication_bytes": {"type": "object", "additionalProperties": {"$ref": "#/$defs/count"}},
    "bound_seconds": {"type": ["number", "null"], "minimum": 0},
    "bubble_share": {"type": "number", "minimum": 0},
    "calls": {"type": ["integer", "object"]},
    "path": {"type": "string"},
    "type": {"type": "string"},
    "fused_bound_seconds": {"type": "number", "minimum": 0},
    "share": {"type": "number", "minimum": 0},
}
"""Values of keys that are not counts."""


@dataclass(frozen=True)
class Promise:
    """The keys that a command's JSON always has: in its totals, in each row, and around them.

    A command with several forms of answer promises each of them. `further` are schemas of keys around the rows that
    the answer has only where it was asked for them. `sometimes` are totals that only some models have.
    """

    command: str
    totals: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)
    sometimes: tuple[str, ...] = ()


def promises() -> Iterator[Promise]:
    """The promise of every page."""
    for module in iter_modules(pages.__path__, "archcalc.render.pages."):
        promise = getattr(import_module(module.name), "PROMISE", None)
        if promise is not None:
            yield promise


def schema() -> dict[str, Any]:
    """The JSON schema of every answer and error."""
    from archcalc.text.former_keys import ALIASES

    by_command: dict[str, list[Promise]] = {}
    for promise in promises():
        by_command.setdefault(promise.command, []).append(promise)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"archcalc JSON, schema_version {SCHEMA_VERSION}",
        "description": (
            "What every command prints under --json: an answer, a list of answers (one for each model), or an error. "
            "Keys are added, never changed, within a schema_version. Counts are integers; keys ending in _bytes are "
            "bytes, those ending in _seconds seconds and floats. "
            f"Former keys stay: {', '.join(f'{old} is {new}' for old, new in ALIASES.items())}."
        ),
        "oneOf": [
            {"$ref": "#/$defs/error"},
            {"$ref": "#/$defs/answer"},
            {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/answer"}},
        ],
        "$defs": {
            **DEFINITIONS,
            "answer": {
                "type": "object",
                "required": ["schema_version", "command", "tool", "totals", "rows", "notes"],
                "properties": {**ANSWER, "command": {"enum": list(by_command)}},
                "allOf": [_commands(command, forms) for command, forms in by_command.items()],
            },
        },
    }


def _commands(command: str, forms: list[Promise]) -> dict[str, Any]:
    then = [_form(promise) for promise in forms]
    return {
        "if": {"properties": {"command": {"const": command}}},
        "then": then[0] if len(then) == 1 else {"anyOf": then},
    }


def _form(promise: Promise) -> dict[str, Any]:
    return {
        "required": list(promise.around),
        "properties": {
            "totals": {"required": list(promise.totals), "properties": _kinds((*promise.totals, *promise.sometimes))},
            "rows": {"items": {"required": list(promise.rows), "properties": _kinds(promise.rows)}},
            **promise.further,
        },
    }


def every_key(**kinds: Any) -> dict[str, Any]:
    """The schema of an object that has all of these keys."""
    return {"type": "object", "required": list(kinds), "properties": kinds}


def _kinds(keys: tuple[str, ...]) -> dict[str, Any]:
    """Schemas of the values of some keys: figures and bytes are counts."""
    from archcalc.analyses.metrics import METRICS

    known = {key: KINDS.get(key) or (COUNT if key in METRICS or key.endswith("_bytes") else None) for key in keys}
    return {key: kind for key, kind in known.items() if kind}


ANSWER: dict[str, Any] = {
    "schema_version": {"const": SCHEMA_VERSION},
    "tool": {
        "type": "object",
        "required": ["name", "version"],
        "properties": {"name": {"const": "archcalc"}, "version": {"type": "string"}},
    },
    "model": {"$ref": "#/$defs/model"},
    "models": {"type": "array", "items": {"$ref": "#/$defs/model"}},
    "inputs": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/input"}, {"type": "array"}]}},
    "assumptions": {"type": "object"},
    "totals": {"type": "object"},
    "rows": {"type": "array", "items": {"type": "object"}},
    "notes": TEXTS,
}
DEFINITIONS: dict[str, Any] = {
    "error": {
        "type": "object",
        "required": ["schema_version", "error"],
        "additionalProperties": False,
        "properties": {
            "schema_version": {"const": SCHEMA_VERSION},
            "error": {
                "type": "object",
                "required": ["kind", "message", "hint"],
                "additionalProperties": False,
                "properties": {
                    "kind": {"type": "string", "pattern": "^[a-z_]+$"},
                    "message": {"type": "string", "minLength": 1},
                    "hint": {"type": "string"},
                },
            },
        },
    },
    "count": {"type": "integer", "minimum": 0},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "shapes": {
        "anyOf": [{"$ref": "#/$defs/shape"}, {"type": "array", "items": {"$ref": "#/$defs/shape"}}, {"type": "null"}]
    },
    "model": {
        "type": "object",
        "required": ["reference", "name", "source", "config"],
        "properties": {
            "reference": {"type": "string"},
            "name": {"type": "string"},
            "source": {"enum": ["builtin", "python", "module", "exported", *LIBRARIES]},
            "config": {"type": "object"},
        },
    },
    "input": {
        "type": "object",
        "required": ["name", "dtype", "shape", "from"],
        "properties": {
            "name": {"type": "string"},
            "dtype": {"type": "string"},
            "shape": {"$ref": "#/$defs/shape"},
            "from": {"type": "string", "minLength": 1},
        },
    },
}
