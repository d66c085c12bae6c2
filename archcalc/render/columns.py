"""Columns that several pages show, and shares of a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.render.document import EXACT, LAYER, SHAPE, SHARE, SI, TEXT, TYPE, Column

if TYPE_CHECKING:
    from archcalc.analyses.report import Report

LAYER_COLUMN = Column("path", "layer", LAYER)
TYPE_COLUMN = Column("type", "type", TYPE)
OUTPUT_COLUMN = Column("output_shape", "output", SHAPE)
SHARE_COLUMN = Column("share", "share", SHARE)
MACS_COLUMN = Column("macs", "MACs", SI)
FLOPS_COLUMN = Column("flops", "FLOPs", SI, gives_way=1)
"""Twice the MACs: the first column to give way."""
PARAMETERS_COLUMN = Column("params", "parameters", EXACT)
FIGURE_COLUMN = Column("figure", "figure", TEXT)


def ratio(part: int, whole: int) -> float:
    """A part of a whole; a part of nothing is 0."""
    return part / whole if whole else 0.0


def with_shares(rows: Sequence[Mapping[str, Any]], key: str, total: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows, each with its share of the total's `key`."""
    whole = total.get(key, 0)
    return [{**row, "share": ratio(row[key], whole)} for row in rows]


def with_share_of_all(total: Mapping[str, Any], key: str, report: Report) -> dict[str, Any]:
    """The total of some layers with its share of the whole model's."""
    return {**total, "share": ratio(total.get(key, 0), report.totals[key])}
