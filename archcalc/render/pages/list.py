"""The answer of `list`: the catalogue by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.networks.catalogue import FamilyEntry
from archcalc.render.columns import MACS_COLUMN, PARAMETERS_COLUMN
from archcalc.render.document import GROUP, NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.promise import Promise


def catalogue(families: Sequence[FamilyEntry]) -> Document:
    """The catalogue by family."""
    rows = [row for family in families for row in _members(family)]
    columns = [
        Column("family", "family", GROUP),
        Column("name", "network", NAME),
        Column("year", "year", NUMBER, gives_way=1),
        Column("input", "input", TEXT, gives_way=2),
        PARAMETERS_COLUMN,
        MACS_COLUMN,
    ]
    foot = [
        "* the default of its family: its name alone means this member · case, - and _ do not matter",
        f"figures at batch 1 with the default knobs · {OURS}",
        "next: archcalc show NAME · archcalc params NAME · archcalc flops NAME",
    ]
    count = (
        f"{len(rows)} network{'s' * (len(rows) != 1)} in {len(families)} famil{'y' if len(families) == 1 else 'ies'}"
    )
    totals = {"networks": len(rows), "families": len(families)}
    return Document("list", [count], [Table(columns, rows)], foot, {"totals": totals, "notes": []})


def _members(family: FamilyEntry) -> list[Mapping[str, Any]]:
    return [
        {
            "family": family.name,
            "name": member.name,
            "default": member.name == family.default,
            "aliases": [*member.aliases, *((family.name, *family.aliases) if member.name == family.default else ())],
            "year": member.year,
            "input": member.input,
            "params": member.params,
            "macs": member.macs,
            "knobs": dict(member.knobs),
        }
        for member in family.members
    ]


PROMISE = Promise("list", ("networks", "families"), ("family", "name", "year", "input", "params", "macs", "knobs"))
"""The keys that its JSON always has."""
