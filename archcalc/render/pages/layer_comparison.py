"""The answer of `law --table self-attention`: the layers of sequence models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.document import TEXT, Column, Document, Table
from archcalc.render.formulas import as_sympy, as_written, big_o, letters
from archcalc.render.promise import Promise
from archcalc.studies.law.layer_comparison import ComparedLayer, Meeting, meetings
from archcalc.studies.law.polynomials import leading


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
    verdict = " · ".join(f"{row['layer']} {row['macs_big_o']}" for row in rows)
    head = [
        f"MACs of a layer: {verdict}",
        "the layers of sequence models · n positions of width d, kernels of k, neighbourhoods of r",
    ]
    met = meetings(layers)
    foot = [
        *(_met(meeting) for meeting in met),
        "",
        "MACs and sequential contractions: laws, checked on members apart from those they were found on",
        "longest path: contractions on the shortest way between the two positions that are farthest apart, in as many",
        "layers as it takes; the form holds on every member that was traced, kernels of 2 to 5 among them",
        "the same layers by themselves: archcalc show self-attention-layer · archcalc law recurrent-layer --over n,d",
    ]
    crossings = [
        {
            "first": meeting.first.words,
            "second": meeting.second.words,
            "at": meeting.at or None,
            "more_where": f"{as_sympy(meeting.more, ('n', 'd'))} > {as_sympy(meeting.less, ('n', 'd'))}",
        }
        for meeting in met
    ]
    around = {"totals": {"layers": len(rows)}, "crossings": crossings, "notes": []}
    return Document("law", head, [Table(columns, rows)], foot, around)


def _met(meeting: Meeting) -> str:
    """Two costs, and where the first is the larger one."""
    over = ("n", "d")
    orders = [big_o(leading(formula), over) for formula in (meeting.first_macs, meeting.second_macs)]
    one, other = as_written(meeting.first_macs, over), as_written(meeting.second_macs, over)
    first = f"{meeting.first.words} at {meeting.at}" if meeting.at else meeting.first.words
    if meeting.more and meeting.less:
        more, less = as_written(meeting.more, over), as_written(meeting.less, over)
        where = f"more where {more} > {less}, equal at {more} = {less}"
    else:
        where = f"{'more' if meeting.more else 'less'} for every n and d"
        where += f", both {orders[0]}" if orders[0] == orders[1] else ""
    return f"{first} against {meeting.second.words}: {one} against {other}: {where}"


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
