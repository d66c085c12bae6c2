"""The answer of `law --table self-attention`: the layers of sequence models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.document import TEXT, Column, Document, Table
from archcalc.render.formulas import as_sympy, as_written, big_o, letters
from archcalc.render.promise import Promise
from archcalc.studies.law.layer_comparison import ComparedLayer


def layer_comparison(layers: Sequence[ComparedLayer]) -> Document:
    """One row a kind of layer: its laws, and the longest path between two positions."""
    rows = [_row(layer) for layer in layers]
    columns = [
        Column("layer", "layer", TEXT),
        Column("macs", "MACs of a layer", TEXT),
        Column("macs_big_o", "complexity", TEXT),
        Column("sequential", "sequential contractions", TEXT),
        Column("sequential_big_o", "", TEXT),
        Column("path", "longest path", TEXT),
        Column("path_big_o", "", TEXT),
    ]
    head = ["the layers of sequence models · n positions of width d, kernels of k, neighbourhoods of r"]
    foot = [
        "MACs and sequential contractions: laws, checked on members apart from those they were found on",
        "longest path: contractions on the shortest way between the two positions that are farthest apart, in as many",
        "layers as it takes; the form holds on every member that was traced, kernels of 2 to 5 among them",
        "the same layers by themselves: archcalc show self-attention-layer · archcalc law recurrent-layer --over n,d",
    ]
    around = {"totals": {"layers": len(rows)}, "notes": []}
    return Document("law", head, [Table(columns, rows)], foot, around)


def _row(layer: ComparedLayer) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": layer.kind.words, "network": layer.kind.network}
    names = list(letters(layer.over).values())
    for key, law in (("macs", layer.macs), ("sequential", layer.sequential)):
        row[key] = as_written(law.formula, layer.over)
        row[f"{key}_expression"] = as_sympy(law.formula, layer.over)
        row[f"{key}_big_o"] = big_o(law.leading, names)
    return {**row, "path": layer.path, "path_big_o": layer.path_big_o}


PROMISE = Promise(
    "law", ("layers",), ("layer", "macs_expression", "macs_big_o", "sequential_big_o", "path", "path_big_o")
)
"""The keys that its JSON always has."""
