"""A diff as a table: the largest changes first, all that stayed in one line, sums of every figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archcalc.analyses.metrics import DIFF, known_to
from archcalc.render.document import LAYER, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.studies.guard.comparison import Comparison
from archcalc.studies.guard.diff import CHANGED, MOVED, SAME, Change, totals
from archcalc.studies.guard.snapshot import LAYER_FIGURES, Snapshot
from archcalc.text import units

SHOWN = 20
"""Changed layers that are shown; the others are folded."""
SUMS = {metric.key: metric.words for metric in known_to(DIFF)}
"""The figures that are summed up, and their words."""


def diff(comparison: Comparison, *, everything: bool = False) -> Document:
    """The changed layers of two snapshots. Tables fold small changes; machine formats list every changed layer."""
    old, new, changes = comparison.old, comparison.new, comparison.changes
    rows = sorted((_row(change) for change in changes if change.status != SAME), key=_size)
    moved = [row for row in rows if row["status"] == MOVED]
    resized = [row for row in rows if row["status"] == CHANGED and row["only_output"]]
    kept = rows if everything else [row for row in rows if row not in moved and row not in resized]
    shown, rest = (kept, []) if everything or len(kept) <= SHOWN + 1 else (kept[:SHOWN], kept[SHOWN:])
    same = sum(change.status == SAME for change in changes)
    folded = [_folded(f"[{len(rest)} others]", rest)] if rest else []
    for words, status, number in (
        ("of another shape", CHANGED, len(resized)),
        ("moved", MOVED, len(moved)),
        ("unchanged", SAME, same),
    ):
        if number and (status == SAME or not everything):
            folded.append({"path": f"[{number} {words}]", "status": status, **dict.fromkeys(TEXTS, "=")})
    columns = [
        Column("status", "", TEXT),
        Column("path", "layer", LAYER),
        Column("what", "what", TEXT),
        Column("params_text", "params", "number"),
        Column("macs_text", "MACs", "number"),
        Column("output_text", "output", TEXT),
    ]
    sums = [row for key in SUMS if (row := _sum(key, old, new))]
    summing = Table(
        [
            Column("figure", "in all", TEXT),
            Column("old_text", "old", "number"),
            Column("new_text", "new", "number"),
            Column("change", "change", "number"),
            Column("percent", "", "number"),
        ],
        sums,
    )
    head = [
        _verdict(sums, len(rows)),
        f"{old.reference} → {new.reference}",
        f"old  {_about(old)}",
        f"new  {_about(new)}",
    ]
    equal = not rows and all(row["by"] == 0 for row in sums)
    foot = [] if equal else ["figures are a layer's own, without the layers inside it; = the same"]
    around = {
        "old": _side(old),
        "new": _side(new),
        "totals": {**totals(changes), "changed": len(rows) - len(moved), "moved": len(moved), "unchanged": same},
        "sums": [{key: row[key] for key in ("key", "old", "new", "by")} for row in sums],
        "notes": [],
    }
    records = [{key: value for key, value in row.items() if not key.endswith("_text")} for row in rows]
    return Document("diff", head, [Table(columns, [*shown, *folded]), summing], foot, around, records)


def _verdict(sums: Sequence[Mapping[str, Any]], changed: int) -> str:
    """How many layers changed, and by how much the parameters and the MACs."""
    if not changed and all(row["by"] == 0 for row in sums):
        return "no layer changed"
    main = [row for row in sums if row["key"] in ("params", "macs")]
    by = [f"{row['figure']} {row['change']}{f' ({each})' if (each := row['percent']) else ''}" for row in main]
    return " · ".join([f"{units.plural(changed, 'layer')} changed", *by])


TEXTS = ("params_text", "macs_text")


def _row(change: Change) -> dict[str, Any]:
    now = change.new or change.old
    assert now is not None, "a change has a layer"
    before = change.old.path if change.old is not None and change.status == MOVED else None
    described = _described(change)
    return {
        "status": change.status,
        "path": change.path,
        "old_path": change.old.path if change.old else None,
        "type": now.type,
        "only_output": _only_output(change),
        "what": f"was {before}" if before else described,
        **{figure: change.by(figure) for figure in LAYER_FIGURES},
        "old_output": _shapes(change.old),
        "new_output": _shapes(change.new),
        "params_text": _signed(change.by("params"), exact=True),
        "macs_text": _signed(change.by("macs"), exact=False),
        "output_text": _outputs(change),
    }


def _only_output(change: Change) -> bool:
    """Whether only the output shape of a layer changed."""
    old, new = change.old, change.new
    return (
        old is not None
        and new is not None
        and (old.extra, old.params) == (new.extra, new.params)
        and old.macs == new.macs
    )


def _described(change: Change) -> str:
    """The kind of layer, and the parts of its description that changed."""
    old, new = change.old, change.new
    if old is None or new is None:
        return (new or old).type if new or old else ""  # type: ignore[union-attr]
    kind = new.type if old.type == new.type else f"{old.type} → {new.type}"
    if old.extra == new.extra or old.type != new.type:
        return kind
    return f"{kind}: {', '.join(_changes(_settings(old.extra), _settings(new.extra)))}"


def _settings(extra: str) -> dict[str, str]:
    """The parts of a description by their names, or by their places where they have none.

    >>> _settings("3, 8, kernel_size=(3, 3), stride=(1, 2)")
    {'0': '3', '1': '8', 'kernel_size': '(3, 3)', 'stride': '(1, 2)'}
    """
    parts, depth = [""], 0
    for character in extra:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    named = [part.strip().partition("=") for part in parts if part.strip()]
    return {name if equals else str(place): value or name for place, (name, equals, value) in enumerate(named)}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """What became of each part.

    >>> list(_changes({"0": "64", "stride": "2", "bias": "False"}, {"0": "80", "stride": "2", "dilation": "3"}))
    ['64 → 80', 'new dilation=3', 'gone bias=False']
    """
    for name, value in new.items():
        title = "" if name.isdigit() else f"{name} "
        if name not in old:
            yield f"new {value if name.isdigit() else f'{name}={value}'}"
        elif old[name] != value:
            yield f"{title}{old[name]} → {value}"
    yield from (
        f"gone {value if name.isdigit() else f'{name}={value}'}" for name, value in old.items() if name not in new
    )


def _outputs(change: Change) -> str:
    texts = [", ".join(map(units.shape, layer.output)) for layer in (change.old, change.new) if layer]
    return " → ".join(dict.fromkeys(texts))


def _shapes(layer: Any) -> list[list[int]] | None:
    return None if layer is None else [list(shape) for shape in layer.output]


def _folded(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sums = {figure: sum(row[figure] for row in rows) for figure in LAYER_FIGURES}
    return {
        "path": name,
        "status": "",
        "what": "",
        "params_text": _signed(sums["params"], exact=True),
        "macs_text": _signed(sums["macs"], exact=False),
        "output_text": "",
    }


def _size(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return -abs(row["params"]), -abs(row["macs"]), -abs(row["elementwise_flops"])


def _sum(key: str, old: Snapshot, new: Snapshot) -> dict[str, Any] | None:
    """The old and new total of one figure with the change; None if a snapshot lacks it."""
    if key not in old.totals or key not in new.totals:
        return None
    before, after = int(old.totals[key]), int(new.totals[key])
    text = units.size if key.endswith("_bytes") else units.exact if key in ("params", "buffers") else units.si
    by = after - before
    sign = "=" if not by else f"{'+' if by > 0 else '-'}{text(abs(by))}"
    percent = "" if not by else units.difference(after, before)
    return {
        "key": key, "figure": SUMS[key], "old": before, "new": after, "by": by,
        "old_text": text(before), "new_text": text(after), "change": sign, "percent": percent,
    }  # fmt: skip


def _signed(number: int, *, exact: bool) -> str:
    if not number:
        return "="
    return f"{'+' if number > 0 else '-'}{units.exact(abs(number)) if exact else units.si(abs(number))}"


def _about(side: Snapshot) -> str:
    made = f" · torch {side.made_with['torch']}" if side.made_with.get("torch") else ""
    return f"{side.reference} · {', '.join(side.inputs) or 'no input'}{made}"


def _side(side: Snapshot) -> dict[str, Any]:
    return {"reference": side.reference, "inputs": list(side.inputs), "totals": dict(side.totals)}


PROMISE = Promise(
    "diff",
    (*LAYER_FIGURES, "changed", "moved", "unchanged"),
    ("status", "path", "old_path", "type", "params", "macs", "old_output", "new_output"),
    ("old", "new", "sums"),
)
"""The keys that its JSON always has."""
