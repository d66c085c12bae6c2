"""The answer of `serve`: what fits and how fast at most, then the cache by layer, then what fits otherwise."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from archcalc.render.around import source
from archcalc.render.columns import ratio
from archcalc.render.document import BYTES, EXACT, LAYER, NAME, SHARE, TEXT, Column, Document, Table
from archcalc.render.frontier import Frontier, as_picture, as_text
from archcalc.render.pages.serve_for_machines import envelope
from archcalc.render.promise import Promise
from archcalc.render.typed import as_typed
from archcalc.studies.serve.pace import Pass
from archcalc.studies.serve.serve import Serving
from archcalc.text import units
from archcalc.text.durations import duration, rate

STEPS = 40
"""Points of the picture."""
LEFT_OUT = "not modelled: prefix caching, fragments of pages, activations, what devices send to one another, sampling"
BOUND = (
    "time: weights and cache read once at the bandwidth, products at the peak, whichever takes longer: a lower bound"
)


def serve(serving: Serving) -> Document:
    """The verdict, weights and cache, prefill and decode, the cache by layer, and the table of what fits."""
    rows = _rows(serving)
    head = [
        verdict(serving),
        _model_line(serving),
        _weights_line(serving),
        *_cache_lines(serving),
        *_pass_lines(serving),
    ]
    tables = [_fits(serving), _layers(rows)] if serving.table else [_layers(rows)]
    foot = [*_foot(serving), LEFT_OUT, *_next(serving)]
    return Document("serve", [*head, *serving.notes], tables, foot, envelope(serving, verdict(serving)), rows)


def verdict(serving: Serving) -> str:
    """'batch 8 at 32,768 tokens fits on one NVIDIA H100 SXM: 47.0 GiB of 73.1 GiB; 1,780 tokens/s at most'."""
    asked = f"batch {serving.batch:,} at {serving.context:,} tokens"
    budget, most = serving.budget, serving.pace.tokens_at_most(serving.batch, serving.context)
    pace = f"; {rate(most)} tokens/s at most" if most else ""
    if budget is None:
        bytes_ = serving.weights.total + serving.kv_bytes + serving.state_bytes
        return f"{asked} takes {units.size(bytes_)}: weights and cache{pace}"
    need, room = serving.placement.on_one(serving.batch, serving.context), budget.bytes
    where = _place(serving)
    each = " each" if serving.wanted.gpus > 1 else ""
    if serving.fits:
        return f"{asked} fits {where}: {units.size(need)} of {units.size(room)}{each}{pace}"
    needed = serving.devices_needed
    many = f"{units.plural(needed, 'device')} would do" if needed else "no number of devices would do"
    short = f"{units.size(need - room)} too much"
    return f"{asked} does not fit {where}: it needs {units.size(need)} of {units.size(room)}{each}, {short}; {many}"


def _place(serving: Serving) -> str:
    budget, many = serving.budget, serving.wanted.gpus
    assert budget is not None
    name = budget.hardware.name if budget.hardware else ""
    if not name:
        return f"within {units.size(budget.bytes)}" if many == 1 else f"on {many:,} devices"
    return f"on one {name}" if many == 1 else f"on {many:,} x {name}"


def _model_line(serving: Serving) -> str:
    trace = serving.model.trace
    settings = "".join(f" · {knob}={value}" for knob, value in trace.model.settings.items())
    asked = "asked for" if serving.asked_context else "by default: --context"
    context, batch = f"{serving.context:,} tokens ({asked})", f"batch {serving.batch:,}"
    return f"{trace.model.name} · {source(trace)}{settings} · {context} · {batch}"


def _weights_line(serving: Serving) -> str:
    weights = serving.weights
    parts = [f"{units.size(weights.tables)} of it embeddings that no step reads"] if weights.tables else []
    if weights.every and serving.model.chosen:
        reached = ratio(weights.read(serving.batch, serving.model.chosen), weights.total)
        parts.append(
            f"{units.size(weights.experts)} of it experts, {serving.model.chosen} of {weights.every} a token: "
            f"a step of batch {serving.batch:,} reads {100 * reached:.0f} % of all weights"
        )
    return f"weights ({serving.form.typed}): {units.size(weights.total)}" + (f"; {', '.join(parts)}" if parts else "")


def _cache_lines(serving: Serving) -> list[str]:
    each, late = serving.kv_bytes_per_token, serving.kv_bytes_per_late_token
    later = f", {late:,} B beyond the windows" if late != each else ""
    state = serving.state_bytes // serving.batch
    lines = []
    if each:
        lines.append(f"cache ({serving.kv}): {each:,} B a token{later}; {units.size(serving.kv_bytes)} needed")
    if state:
        lines.append(
            f"state: {units.size(state)} a sequence whatever its length; {units.size(serving.state_bytes)} needed"
        )
    held = serving.kv_held_bytes
    if held != serving.kv_bytes + serving.state_bytes:
        why = "in its own type, with the whole storages behind slices"
        lines.append(f"held by the library after a prefill: {units.size(held)} ({why})")
    return lines


def _pass_lines(serving: Serving) -> list[str]:
    pace, batch, context = serving.pace, serving.batch, serving.context
    full = serving.laws.prefill_macs(context, batch, full_head=True)
    head = f"; {units.si(full)} with the head on every position"
    lines = [
        _pass_line("prefill", pace.prefill(batch, context)) + head,
        _pass_line("decode", pace.decode(batch, context)),
    ]
    as_run = pace.decode_as_run(batch, context)
    if as_run is not None:
        lines.append(_as_run_line(as_run, batch))
    generate = serving.wanted.generate
    if generate:
        seconds = pace.generation_seconds(batch, context, generate) or 0.0
        tokens = f"{rate(batch * generate / seconds)} tokens/s at most"
        lines.append(f"{generate:,} tokens after the prompt: at least {duration(seconds)}, {tokens}")
    crossing = pace.crossing()
    if pace.hardware is not None:
        lines.append(
            f"products with weights wait for arithmetic from batch {crossing:,} on"
            if crossing
            else "products with weights wait for memory at every batch"
        )
    return lines


def _pass_line(name: str, of: Pass) -> str:
    line = f"{name}: {units.si(of.macs)}MACs, {units.size(of.traffic_bytes)} of weights and cache"
    return line if of.seconds is None else f"{line}, at least {duration(of.seconds)}, most of it bound by {of.bound_by}"


def _as_run_line(of: Pass, batch: int) -> str:
    """The step of the library, whose ops each read and write."""
    line = f"decode op by op, as the library runs it: {units.size(of.traffic_bytes)} moved"
    if not of.seconds:
        return line
    return f"{line}, at least {duration(of.seconds)}, {rate(batch / of.seconds)} tokens/s at most"


def _rows(serving: Serving) -> list[dict[str, Any]]:
    """The cache by the layers that have alike ones."""
    placed, whole = serving.placement, serving.kv_bytes + serving.state_bytes
    by_path: dict[str, list[Any]] = {}
    for cached in serving.laws.cache:
        by_path.setdefault(cached.path, []).append(cached)
    rows = []
    for path, several in by_path.items():
        bytes_ = serving.batch * sum(c.bytes(serving.context, placed.width, placed.page) for c in several)
        fixed = sum(c.bytes(0) for c in several)
        rows.append(
            {
                "path": path,
                "layers": several[0].layers,
                "window": next((c.window for c in several if c.window), None),
                "token_bytes": sum(c.bytes(1, placed.width) - c.bytes(0, placed.width) for c in several),
                "state_bytes": fixed,
                "cache_bytes": bytes_,
                "held_bytes": serving.batch * sum(c.held_bytes(serving.context) for c in several),
                "share": ratio(bytes_, whole),
            }
        )
    return rows


def _layers(rows: list[dict[str, Any]]) -> Table:
    columns = [
        Column("path", "layer", LAYER), Column("layers", "alike", EXACT), Column("window", "window", EXACT),
        Column("token_bytes", "a token", BYTES), Column("state_bytes", "a sequence", BYTES),
        Column("cache_bytes", "needed", BYTES), Column("share", "share", SHARE),
        Column("held_bytes", "held", BYTES, gives_way=True),
    ]  # fmt: skip
    if not any(row["window"] for row in rows):
        columns = [column for column in columns if column.key != "window"]
    return Table(columns, rows, title="cache by layer")


def _fits(serving: Serving) -> Table:
    rows = [
        {
            "what": f"batch {row.batch:,}" if row.of_batch else f"{row.context:,} tokens",
            "largest": f"{row.context:,} tokens" if row.of_batch else f"batch {row.batch:,}",
            "most": rate(row.tokens_per_second_at_most) if row.tokens_per_second_at_most else "",
        }
        for row in serving.table
    ]
    columns = [Column("what", "with", NAME), Column("largest", "at most", TEXT)]
    timed = any(row["most"] for row in rows)
    columns += [Column("most", "tokens/s at most", TEXT)] if timed else []
    return Table(columns, rows, title="what fits")


def _foot(serving: Serving) -> list[str]:
    lines = []
    budget = serving.budget
    if budget is not None:
        kept = f"{units.size(budget.capacity)} less {units.size(budget.reserved)} in reserve"
        lines.append(f"room: {kept} (--reserve); paged: {units.plural(serving.wanted.page, 'token')} a page")
    hardware = serving.pace.hardware
    if hardware is not None:
        lines += [BOUND, f"{hardware.name}: {(hardware.bandwidth or 0) / 1e9:,.0f} GB/s"]
    return lines


def _next(serving: Serving) -> list[str]:
    model = serving.model.trace.model
    if model.source == "module":
        return []
    more = "--on h100" if serving.pace.hardware is None else "--weights int4:128"
    more = "--fit 80GiB" if serving.budget is None and serving.pace.hardware is not None else more
    typed = as_typed(serving.model.trace) if model.source == "python" else shlex.quote(model.reference)
    return [f"next: archcalc serve {typed} --context {serving.context} {more}"]


def drawn(document: Document, serving: Serving, picture: str) -> Document:
    """The answer with the frontier of what fits: below it in characters, or as a picture in a format."""
    frontier = _frontier(serving)
    if picture:
        return replace(document, picture=as_picture([frontier], picture))
    return replace(document, foot=[*document.foot, "", *as_text(frontier)])


def _frontier(serving: Serving) -> Frontier:
    budget = serving.budget
    assert budget is not None
    longest = serving.placement.largest_context(1, budget.bytes)
    longest = max(1024, min(longest, 2**22))
    contexts = sorted({round(128 * (longest / 128) ** (n / STEPS)) for n in range(STEPS + 1)})
    found = [(context, serving.placement.largest_batch(context, budget.bytes)) for context in contexts]
    title = f"{serving.model.trace.model.name} {_place(serving)}"
    return Frontier(title, [pair for pair in found if pair[1]], (serving.context, serving.batch))


PROMISE = Promise(
    "serve",
    (
        "kv_bytes_per_token", "kv_bytes", "kv_held_bytes", "state_bytes", "weights_bytes", "prefill_macs",
        "decode_macs", "tokens_per_second_at_most", "largest_context", "largest_batch",
    ),
    ("path", "layers", "window", "token_bytes", "state_bytes", "cache_bytes", "held_bytes"),
    ("model", "inputs", "assumptions", "verdict", "what_fits"),
    {"verdict": {"type": "string"}, "what_fits": {"type": "array", "items": {"required": ["batch", "context"]}}},
)  # fmt: skip
"""The keys that its JSON always has."""
