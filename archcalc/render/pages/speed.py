"""The answer of `speed`: the verdict of each device, then the layers, then what the figures leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from archcalc.analyses.bound import CAUSES, FEMTO, KEYS, MEMORY, MOVED
from archcalc.ops.convolutions import could_be_winograds
from archcalc.render.around import document
from archcalc.render.columns import LAYER_COLUMN, SHARE_COLUMN, TYPE_COLUMN, ratio
from archcalc.render.document import NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import Promise
from archcalc.render.roofline import as_picture, as_text, roofline
from archcalc.render.typed import deeper, next_commands
from archcalc.studies.speed.speed import OnDevice, Speeds
from archcalc.text.durations import duration, rate
from archcalc.text.units import size

UNFUSED = "eager: every op by itself · compiled: all but products fused"


def speed(speeds: Speeds, selection: Selection) -> Document:
    """Verdicts first, one a device; the layers of the first device, times of all others beside them."""
    several = len(speeds.devices) > 1
    rows = [row for one in speeds.devices for row in _rows(one, selection)]
    shown = [_shown(row) for row in rows]
    columns = [
        *([Column("device", "device", NAME)] if several else []),
        LAYER_COLUMN,
        replace(TYPE_COLUMN, gives_way=True),
        Column("time", "at least", TEXT),
        SHARE_COLUMN,
        Column("bound_by", "bound by", TEXT),
        Column("flops_per_byte", "FLOP/byte", NUMBER),
        Column("fused_time", "compiled", TEXT, gives_way=True),
    ]
    table = Table(columns, shown)
    foot = [*_ridges(speeds), UNFUSED, left_out(speeds.devices), *_precision(speeds)]
    foot += next_commands(speeds.report, *deeper("speed" + _on(speeds), selection, table), "flops", "memory")
    made = document("speed", speeds.report, [*_by_batch(speeds), table], foot, {"devices": totals(speeds)})
    envelope = {**made.envelope, "notes": [*made.envelope["notes"], *speeds.notes]}
    if speeds.by_batch:
        envelope["by_batch"] = [{"batch": one.batch, **_total(one)} for one in speeds.by_batch]
    head = [*(verdict(one, speeds.trains) for one in speeds.devices), *_turns(speeds), *made.head, *speeds.notes]
    return replace(made, head=head, envelope=envelope, records=rows)


def verdict(one: OnDevice, trains: bool) -> str:
    """'h100: at least 1.42 ms a batch of 32, 78 % of it bound by memory; 22,500 images/s at most'."""
    bounds, what = one.bounds, "step" if trains else "pass"
    if not bounds.seconds:
        return f"{one.typed}: nothing is computed or moved, so that no time is needed"
    of = f"a {what}" if one.batch is None else f"a {'step of ' if trains else ''}batch of {one.batch:,}"
    of = f"a step of batch {one.batch:,}" if trains and one.batch else of
    cause, share = bounds.bound_by, 100 * bounds.by_cause[bounds.bound_by] / bounds.seconds
    line = f"{one.typed}: at least {duration(bounds.seconds)} {of}, {share:.0f} % of it bound by {cause}"
    most, fused = one.samples_at_most, one.fused_samples_at_most
    line += f"; {rate(most)} {_samples(one)}/s at most" if most else ""
    return line + f" · compiled at least {duration(bounds.fused_seconds)}" + (f", {rate(fused)}/s" if fused else "")


def _samples(one: OnDevice) -> str:
    shapes = [given.shape for given in one.report.trace.inputs]
    return "images" if shapes and len(shapes[0]) == 4 and shapes[0][1] == 3 else "samples"


def totals(speeds: Speeds) -> list[dict[str, Any]]:
    """One entry a device."""
    return [_total(one) for one in speeds.devices]


def _total(one: OnDevice) -> dict[str, Any]:
    bounds = one.bounds
    return {
        "device": one.typed,
        "name": bounds.hardware.name,
        "bound_seconds": bounds.seconds,
        "fused_bound_seconds": bounds.fused_seconds,
        "bound_by": bounds.bound_by,
        "memory_share": bounds.memory_share,
        "samples_per_second_at_most": one.samples_at_most,
        "fused_samples_per_second_at_most": one.fused_samples_at_most,
        "traffic_bytes": bounds.bytes,
        "fused_traffic_bytes": bounds.fused_bytes,
        "flops": bounds.flops,
    }


def _rows(one: OnDevice, selection: Selection) -> list[dict[str, Any]]:
    """The layers on a device, times in seconds."""
    found, _ = layer_rows(one.report, selection, KEYS, "bound_fs")
    return [_row(one, row) for row in found]


def _row(one: OnDevice, row: Mapping[str, Any]) -> dict[str, Any]:
    causes = {cause: row[f"{cause}_fs"] for cause in CAUSES}
    kept = {key: value for key, value in row.items() if key not in KEYS}
    return {
        "device": one.typed,
        **kept,
        "bound_seconds": row["bound_fs"] / FEMTO,
        "fused_bound_seconds": row["fused_bound_fs"] / FEMTO,
        "bound_by": max(CAUSES, key=causes.__getitem__) if row["bound_fs"] else "",
        "memory_share": ratio(causes[MEMORY], row["bound_fs"]),
        "share": ratio(row["bound_fs"], one.report.totals["bound_fs"]),
        "flops": row["product_flops"],
        "traffic_bytes": row[MOVED],
        "flops_per_byte": ratio(row["product_flops"], row[MOVED]),
    }


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "time": duration(row["bound_seconds"]),
        "fused_time": duration(row["fused_bound_seconds"]),
        "flops_per_byte": float(f"{row['flops_per_byte']:.3g}"),
    }


def _by_batch(speeds: Speeds) -> list[Table]:
    """The table of --sweep-batch."""
    if not speeds.by_batch:
        return []
    columns = [
        Column("batch", "batch", NUMBER), Column("device", "device", NAME), Column("time", "at least", TEXT),
        Column("sample", "a sample", TEXT, gives_way=True), Column("most", "samples/s at most", TEXT),
        Column("bound_by", "bound by", TEXT), Column("memory", "of it memory", TEXT, gives_way=True),
        Column("flops_per_byte", "FLOP/byte", NUMBER, gives_way=True),
        Column("fused", "compiled", TEXT, gives_way=True),
    ]  # fmt: skip
    rows = [
        {
            "batch": one.batch,
            **_total(one),
            "time": duration(one.bounds.seconds),
            "sample": duration(one.bounds.seconds / (one.batch or 1)),
            "most": rate(one.samples_at_most) if one.samples_at_most else "",
            "memory": f"{100 * one.bounds.memory_share:.0f} %",
            "flops_per_byte": float(f"{one.bounds.flops / max(one.bounds.bytes, 1):.3g}"),
            "fused": duration(one.bounds.fused_seconds),
        }
        for one in speeds.by_batch
    ]
    return [Table(columns, rows, title="batches")]


def _turns(speeds: Speeds) -> list[str]:
    """Where each device turns from one cause to another among the batches that were traced."""
    lines = []
    for device in speeds.devices:
        timed = (one for one in speeds.by_batch if one.typed == device.typed and one.bounds.seconds)
        swept = sorted(timed, key=lambda one: one.batch or 0)
        if not swept:
            continue
        pairs = [(a, b) for a, b in pairwise(swept) if a.bounds.bound_by != b.bounds.bound_by]
        told = [
            f"from {a.bounds.bound_by} to {b.bounds.bound_by} between batch {a.batch:,} and {b.batch:,}"
            for a, b in pairs
        ]
        first, last = (f"{one.batch:,}" for one in (swept[0], swept[-1]))
        where = f"at batch {first}" if len(swept) == 1 else f"at every batch from {first} to {last}"
        all_ = f"bound by {swept[0].bounds.bound_by} {where}"
        lines.append(f"{device.typed}: {'turns ' + ', '.join(told) if told else all_}")
    return lines


def _ridges(speeds: Speeds) -> list[str]:
    """The FLOP a byte above which products wait for arithmetic, by the type of numbers."""
    lines = []
    for one in speeds.devices:
        hardware = one.bounds.hardware
        ridges = {dtype: peak / (hardware.bandwidth or 1) for dtype, peak in hardware.peaks.items()}
        points = [f"{dtype} {ridge:.0f}" if ridge >= 10 else f"{dtype} {ridge:.2g}" for dtype, ridge in ridges.items()]
        launch = "" if hardware.launch is None else f" · {duration(hardware.launch)} between kernels"
        cache = "" if hardware.cache is None else f" beyond a cache of {size(hardware.cache)}, empty at first"
        speeds_ = f"{(hardware.bandwidth or 0) / 1e9:,.0f} GB/s{cache}{launch}"
        named = f"{one.typed} · {hardware.name}" if one.typed != hardware.name else one.typed
        lines.append(f"{named} · {speeds_} · arithmetic-bound above FLOP/byte: {', '.join(points)}")
    return lines


def left_out(devices: Sequence[OnDevice]) -> str:
    """The line that names effects which the bounds on these devices leave out."""
    unknown = [one.typed for one in devices if one.bounds.hardware.cache is None]
    whose = f" of {', '.join(unknown)}" if len(unknown) < len(devices) else ""
    cached = f"data that stay in a cache{whose}, " if unknown else ""
    fewer = "convolutions with fewer products (Winograd's), " if could_be_winograds(devices[0].report.trace) else ""
    return f"left out: {cached}{fewer}clocks above the data sheet's, the time of Python"


def _precision(speeds: Speeds) -> list[str]:
    if not any("tf32" in one.bounds.hardware.peaks for one in speeds.devices):
        return []
    told = speeds.report.trace.assumptions.get("float32_products")
    if told:
        return [f"float32: products may use TF32 (the program sets torch's float32 matmul precision to '{told}')"]
    return ["float32: convolutions, recurrent layers, attention may use TF32, other products do not (torch's defaults)"]


def _on(speeds: Speeds) -> str:
    assumptions = speeds.report.trace.assumptions
    amp = "" if assumptions.get("recipe") else assumptions.get("amp")
    return "".join(f" --on {one.typed}" for one in speeds.devices) + (f" --amp {amp}" if amp else "")


def drawn(document: Document, speeds: Speeds, picture: str) -> Document:
    """The answer with the roofline of each device: below it in characters, or as a picture in a format."""
    rooflines = [roofline(one.typed, one.report) for one in speeds.devices]
    if picture:
        return replace(document, picture=as_picture(rooflines, picture))
    return replace(document, foot=[*document.foot, *(line for each in rooflines for line in ("", *as_text(each)))])


PROMISE = Promise(
    "speed",
    ("devices",),
    ("device", "path", "type", "bound_seconds", "fused_bound_seconds", "bound_by", "share", "flops", "traffic_bytes"),
    ("model", "inputs", "assumptions"),
)
"""The keys that its JSON always has."""
