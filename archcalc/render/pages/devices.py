"""The answer of `devices`: data sheets, and of a single one every peak and its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.hardware import Hardware
from archcalc.render.document import BYTES, NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.studies.budget import default_reserve
from archcalc.text import units

HALVES = ("bf16", "fp16")


def devices(found: Sequence[Hardware]) -> Document:
    """The table of some devices: how to name each, capacity, bandwidth, peaks, and whether these were read."""
    columns = [
        Column("name", "device", NAME),
        Column("alias", "name to type", NAME),
        Column("memory_bytes", "memory", BYTES),
        Column("gigabytes", "GB/s", NUMBER),
        Column("half", "16 bit", NUMBER),
        Column("fp32", "fp32", NUMBER, gives_way=2),
        Column("read", "source", TEXT, gives_way=1),
    ]
    one = found[0] if len(found) == 1 else None
    fitting = f"archcalc memory MODEL --train --fit {one.aliases[0] if one else 'NAME'}"
    foot = [
        *(_in_full(one) if one else []),
        "16 bit (bf16, else fp16) and fp32: dense peaks in TFLOP/s, a multiply-add being two",
        "memory: the total that nvidia-smi prints, where it was read, else the data sheet's figure read as binary",
        "source: read · recalled: not seen in a source · in part: some of its figures are recalled",
        *([f"next: archcalc devices NAME · {fitting}"] if one is None else []),
        *([f"next: {fitting}"] if one and one.capacity else []),
    ]
    rows = [_row(device) for device in found]
    table = Table(columns, [_shown(row) for row in rows])
    envelope = {"totals": {"devices": len(found)}, "notes": []}
    verdict = _verdict(rows[0]) if one else units.plural(len(found), "device")
    return Document("devices", [verdict], [table], foot, envelope, rows)


def _row(device: Hardware) -> Mapping[str, Any]:
    return {
        "name": device.name,
        "aliases": list(device.aliases),
        "kind": device.kind,
        "kernels": device.kernels,
        "memory_bytes": device.capacity,
        "memory_reported": device.reported,
        "sold_as": device.sold_as,
        "reserve_bytes": default_reserve(device).of(device.capacity or 0),
        "bandwidth_bytes_per_second": device.bandwidth,
        "peaks_per_second": dict(device.peaks),
        "recalled": list(device.recalled),
        "read": device.provenance,
        "source": device.source,
    }


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with the cells that people read: the first alias, GB/s and TFLOP/s."""
    peaks = {dtype: round(peak / 1e12, 4) for dtype, peak in row["peaks_per_second"].items()}
    bandwidth = row["bandwidth_bytes_per_second"]
    return {
        **row,
        "alias": row["aliases"][0],
        "gigabytes": None if bandwidth is None else bandwidth / 1e9,
        "half": next((peaks[dtype] for dtype in HALVES if dtype in peaks), None),
        "fp32": peaks.get("fp32"),
    }


def _verdict(row: Mapping[str, Any]) -> str:
    """A device, its memory, bandwidth and peak of 16 bit."""
    shown = _shown(row)
    parts = [
        str(row["name"]),
        units.size(row["memory_bytes"]) if row["memory_bytes"] else "",
        f"{shown['gigabytes']:,g} GB/s" if shown["gigabytes"] else "",
        f"{shown['half']:g} TFLOP/s in 16 bit" if shown["half"] else "",
    ]
    return " · ".join(part for part in parts if part)


def _in_full(device: Hardware) -> list[str]:
    recalled = set(device.recalled)
    peaks = [f"{dtype} {peak / 1e12:g}{' (recalled)' * (dtype in recalled)}" for dtype, peak in device.peaks.items()]
    kept = [fact for fact in ("memory", "bandwidth") if fact in recalled]
    return [
        f"names: {', '.join(device.aliases)}",
        f"dense peaks in TFLOP/s (int8: TOP/s): {', '.join(peaks)}",
        *([f"recalled: {', '.join(kept)}"] if kept else []),
        *([f"sold as {device.sold_as}"] if device.sold_as else []),
        f"source: {device.source}",
        "",
    ]


PROMISE = Promise(
    "devices",
    ("devices",),
    ("name", "aliases", "kind", "memory_bytes", "bandwidth_bytes_per_second", "peaks_per_second", "recalled", "source"),
)
"""The keys that its JSON always has."""
