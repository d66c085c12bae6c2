"""The answer of `serve` for machines: its totals, what was assumed, and what fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.studies.serve.serve import Row, Serving


def totals(serving: Serving) -> dict[str, Any]:
    """The figures of the answer: bytes, MACs, tokens a second; None for what was not asked for."""
    pace, batch, context = serving.pace, serving.batch, serving.context
    prefill, decode = pace.prefill(batch, context), pace.decode(batch, context)
    as_run = pace.decode_as_run(batch, context)
    return {
        "kv_bytes_per_token": serving.kv_bytes_per_token,
        "kv_bytes": serving.kv_bytes,
        "kv_held_bytes": serving.kv_held_bytes,
        "state_bytes": serving.state_bytes,
        "weights_bytes": serving.weights.total,
        "embedding_bytes": serving.weights.tables,
        "prefill_macs": prefill.macs,
        "prefill_full_head_macs": serving.laws.prefill_macs(context, batch, full_head=True),
        "decode_macs": decode.macs,
        "prefill_traffic_bytes": prefill.traffic_bytes,
        "decode_traffic_bytes": decode.traffic_bytes,
        "decode_as_run_traffic_bytes": as_run.traffic_bytes if as_run else None,
        "decode_as_run_seconds": as_run.seconds if as_run else None,
        "prefill_seconds": prefill.seconds,
        "decode_seconds": decode.seconds,
        "decode_bound_by": decode.bound_by or None,
        "tokens_per_second_at_most": pace.tokens_at_most(batch, context),
        "arithmetic_from_batch": pace.crossing(),
        "largest_context": serving.largest_context,
        "largest_batch": serving.largest_batch,
        "devices_needed": serving.devices_needed,
        "fits": serving.fits if serving.budget else None,
    }


def envelope(serving: Serving, verdict: str) -> dict[str, Any]:
    """The answer for machines without its rows."""
    trace, budget = serving.model.trace, serving.budget
    model = trace.model
    return {
        "model": {
            "reference": model.reference, "name": model.name, "source": model.source, "config": dict(model.config),
        },
        "inputs": [
            {"name": i.name, "dtype": i.dtype, "shape": list(i.shape), "from": i.origin} for i in trace.inputs
        ],
        "assumptions": {
            "batch": serving.batch, "context": serving.context, "dtype": serving.model.dtype,
            "weights": serving.form.typed, "kv": serving.kv, "gpus": serving.wanted.gpus, "page": serving.wanted.page,
            "device": serving.pace.hardware.name if serving.pace.hardware else None,
            "capacity_bytes": budget.capacity if budget else None,
            "reserve_bytes": budget.reserved if budget else None,
        },
        "totals": totals(serving),
        "verdict": verdict,
        "what_fits": [_fit_row(row) for row in serving.table],
        "notes": list(serving.notes),
    }  # fmt: skip


def _fit_row(row: Row) -> Mapping[str, Any]:
    return {
        "batch": row.batch,
        "context": row.context,
        "largest": "context" if row.of_batch else "batch",
        "tokens_per_second_at_most": row.tokens_per_second_at_most,
    }
