"""A report against what others say: printed figures, another implementation, other counters; differences in words.

A reason is computed from the report: ops that another tool counts beside contractions, ops that it has no rule for, or
a plain reading of the network that gives the printed number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import prod

from archcalc.analyses.conventions import contractions
from archcalc.analyses.flops import Contractions
from archcalc.analyses.report import Report
from archcalc.ops.names import packet
from archcalc.ops.registry import operations_of
from archcalc.text.units import last_digit, parse_count, rounds_to, si
from archcalc.tracing import Counted

PRODUCT_NAMES = frozenset(
    """
    conv linear matmul addmm bmm mm einsum mv dot baddbmm addbmm convolution _convolution _scaled_mm _grouped_mm
    _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    """.split()
)
"""Names under which counters count contractions; what they count under other names is beside them."""
MULTIPLYING = frozenset(
    """
    mv dot vdot baddbmm addbmm addmv addr _trilinear bilinear scaled_dot_product_attention lstm gru rnn_tanh rnn_relu
    lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell multi_head_attention_forward _transformer_encoder_layer_fwd
    _native_multi_head_attention _convolution_mode conv_tbc _grouped_mm _scaled_mm _int_mm einsum tensordot
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d chain_matmul linalg_multi_dot
    """.split()
)
"""Ops with contractions inside: where a counter has no rule for one, its number lacks them."""
DIGITS_FOR_A_READING = 3
"""A number printed with fewer digits fits too many readings of a network to prove one."""


@dataclass(frozen=True)
class Counterpart:
    """One figure of ours beside another's, `value`, which may have been `printed` rounded.

    `value` is None where the other could not say (`reasons` then hold its error). A check that does not agree is
    `explained` when its reasons account for the whole difference.
    """

    figure: str
    by: str
    ours: int
    value: int | None
    printed: str = ""
    agrees: bool = False
    explained: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """equal, explained, unexplained, or not run."""
        if self.value is None:
            return "not run"
        return "equal" if self.agrees else "explained" if self.explained else "unexplained"


def against_printed(report: Report, figure: str, printed: str, by: str, note: str) -> Counterpart:
    """A published figure: equal to its last digit, or as a plain reading of the network gives it, or as `note` says."""
    ours, value = int(report.totals[figure]), parse_count(printed)
    if rounds_to(ours, printed):
        return Counterpart(figure, by, ours, value, printed, agrees=True)
    reading = _reading(report, figure, printed)
    reason = reading or note
    return Counterpart(figure, by, ours, value, printed, explained=bool(reason), reasons=(reason,) if reason else ())


def against_report(report: Report, other: Report) -> list[Counterpart]:
    """Another implementation, counted by ourselves: parameters and MACs, with the kinds of module or op that differ."""
    by = other.trace.model.reference
    params = _changes(_params_by_type(report), _params_by_type(other))
    ops: tuple[Mapping[str, int], ...] = (report.record(Contractions).macs_by_op, other.record(Contractions).macs_by_op)
    macs = _changes(*({op.removeprefix("aten."): count for op, count in counted.items()} for counted in ops))
    return [
        Counterpart(figure, by, int(report.totals[figure]), (value := int(other.totals[figure])),
              agrees=value == report.totals[figure], reasons=reasons if value != report.totals[figure] else ())
        for figure, reasons in (("params", params), ("macs", macs))
    ]  # fmt: skip


def against_counter(report: Report, counted: Counted) -> Counterpart:
    """Another counter: what it counts beside contractions, and the contractions that it has no rule for."""
    ours = int(report.totals["macs"])
    if counted.failed:
        return Counterpart("macs", counted.by, ours, None, reasons=(f"failed: {counted.failed}",))
    beside, products = Counter[str](), 0
    for ops in counted.macs.values():
        for op, macs in ops.items():
            if op in PRODUCT_NAMES:
                products += macs
            else:
                beside[op] += macs
    reasons = [f"counts {op}: {_signed(macs)}" for op, macs in beside.most_common()]
    ours_too = {packet(op) for op in report.record(Contractions).macs_by_op}  # ops of other libraries among them
    missing, blind = ours - products, sorted((MULTIPLYING | ours_too - PRODUCT_NAMES).intersection(counted.unknown))
    if missing:
        where = _where(report, counted)
        why = f"no rule for {', '.join(blind)}" if missing > 0 and blind else "and names no op without a rule"
        verb = "misses products" if missing > 0 else "counts more products"
        reasons.append(f"{verb} in {where}: {_signed(-missing)} ({why})")
    value = products + sum(beside.values())
    explained = missing == 0 or (missing > 0 and bool(blind))
    return Counterpart("macs", counted.by, ours, value, "", value == ours and not missing, explained, tuple(reasons))


def _where(report: Report, counted: Counted) -> str:
    """The modules whose own products differ, by type."""
    types: Counter[str] = Counter()
    for path, layer in report.layers.items():
        theirs = sum(macs for op, macs in counted.macs.get(path, {}).items() if op in PRODUCT_NAMES)
        if layer.own["macs"] != theirs:
            types[layer.type] += 1
    shown = [f"{times} x {name}" if times > 1 else name for name, times in types.most_common(3)]
    return ", ".join(shown) + (f" and {len(types) - 3} types more" if len(types) > 3 else "")


def _reading(report: Report, figure: str, printed: str) -> str:
    """The plain reading of the network that gives the printed number, if there is one."""
    ours, unit = int(report.totals[figure]), last_digit(printed)
    if Decimal(parse_count(printed)) == (Decimal(ours) // unit) * unit:
        return f"{si(ours)} cut, not rounded"
    if sum(character.isdigit() for character in printed) < DIGITS_FOR_A_READING:
        return ""
    readings = _readings_of_macs(report) if figure == "macs" else _readings_of_params(report)
    for words, number in readings:
        if number != ours and rounds_to(number, printed):
            return f"{words}: {si(number)}"
    return ""


def _readings_of_macs(report: Report) -> Iterator[tuple[str, int]]:
    trace, macs = report.trace, report.macs
    yield "in FLOPs, 2 x MACs", 2 * macs
    yield "convolutions only", sum(n for op, n in report.record(Contractions).macs_by_op.items() if "convolution" in op)
    counted = contractions(trace)
    biases = sum(operations_of(trace, trace.calls[number]) or 0 for number in counted)
    norms = sum(prod(trace.shape(call.outputs[0])) for call in trace.calls if packet(call.op).endswith("batch_norm"))
    yield "with biases", macs + biases
    yield "with 1 an element in batch norm", macs + norms
    yield "with 2 an element in batch norm", macs + 2 * norms
    yield "with elementwise work", macs + int(report.totals["elementwise_flops"])
    yield "without the products a causal mask hides", macs - int(report.totals["causal_hidden_macs"])


def _readings_of_params(report: Report) -> Iterator[tuple[str, int]]:
    by_type, params = _params_by_type(report), report.params
    biases = sum(
        prod(report.trace.shape(parameter.tensor))
        for parameter in report.trace.parameters
        if parameter.kind == "parameter" and parameter.names[0].rpartition(".")[2].startswith("bias")
    )
    yield "with buffers", params + int(report.totals["buffers"])
    yield "without normalisation", params - sum(n for kind, n in by_type.items() if "Norm" in kind)
    yield "without biases", params - biases
    yield "without embeddings", params - by_type["Embedding"]
    last = [layer for layer in report.root.walk() if layer.type == "Linear" and layer.calls]
    if last:
        yield f"without {last[-1].path}", params - last[-1].own["params"]


def _params_by_type(report: Report) -> Counter[str]:
    by_type: Counter[str] = Counter()
    for layer in report.root.walk():
        by_type[layer.type] += layer.own["params"]
    return by_type


def _changes(ours: Mapping[str, int], theirs: Mapping[str, int]) -> tuple[str, ...]:
    """Differences of the other's figures by name: more (+) or less (-)."""
    names = dict.fromkeys((*ours, *theirs))
    changes = {name: theirs.get(name, 0) - ours.get(name, 0) for name in names}
    return tuple(f"{name} {_signed(change)}" for name, change in changes.items() if change)


def _signed(number: int) -> str:
    return f"{'+' if number >= 0 else '-'}{si(abs(number))}"
