"""CSV: the rows with every key and every digit, shapes as 1x3x224x224."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from archcalc.render.document import Document, shapes_text
from archcalc.text.visible import csv_line


def as_csv(documents: Sequence[Document]) -> str:
    """A line a row; with several documents the first column says which model."""
    named = len(documents) > 1
    keys = list(dict.fromkeys(key for document in documents for row in document.rows for key in row))
    lines = [csv_line(["model", *keys] if named else keys)]
    for document in documents:
        model = [document.envelope.get("model", {}).get("name", "")] if named else []
        lines += [csv_line([*model, *(_cell(row.get(key)) for key in keys)]) for row in document.rows]
    return "".join(lines)


def _cell(value: Any) -> Any:
    """A value as the text of one cell: shapes as 1x3x224x224, names separated by spaces, settings as JSON."""
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value)
    if not isinstance(value, list | tuple) or not value:
        return "" if value == [] else value
    if isinstance(value[0], str):
        return " ".join(value)
    whole = isinstance(value[0], list | tuple) or all(isinstance(item, int) for item in value)
    return shapes_text(value) if whole else "x".join("all" if v is None else f"{v:g}" for v in value)
