"""JSON: the stable envelope, base units, every digit. docs/schema.json describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.render.document import Document
from archcalc.text.former_keys import ALIASES
from archcalc.text.visible import visible_json
from archcalc.version import __version__

SCHEMA_VERSION = 1


def as_json(documents: Sequence[Document]) -> str:
    """One document as an object, several as a list of them."""
    objects = [_object(document) for document in documents]
    return dumps(objects[0] if len(objects) == 1 else objects)


def error_as_json(kind: str, message: str, hint: str) -> str:
    """An error as a JSON document."""
    return dumps({"schema_version": SCHEMA_VERSION, "error": {"kind": kind, "message": message, "hint": hint}})


def dumps(value: Any) -> str:
    """JSON as archcalc writes it: two spaces, ASCII, a line end."""
    return visible_json(json.dumps(value, indent=2, allow_nan=False)) + "\n"


def _object(document: Document) -> dict[str, Any]:
    head: Mapping[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": document.command,
        "tool": {"name": "archcalc", "version": __version__},
    }
    around = {**document.envelope}
    if "totals" in around:
        around["totals"] = with_former_keys(around["totals"])
    return {**head, **around, "rows": [with_former_keys(row) for row in document.rows]}


def with_former_keys(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, also under their former keys, which stay within this schema version.

    >>> with_former_keys({"params_bytes": 8})
    {'params_bytes': 8, 'param_bytes': 8}
    """
    former = {key: figures[now] for key, now in ALIASES.items() if now in figures}
    return {**figures, **former}
