"""Sums, extrema, sorts, cumulations: one operation for each element that is read."""

from __future__ import annotations

from math import prod

from archcalc.ops.axes import GLOBAL, LOST, Field, Seen
from archcalc.ops.call_view import CallView, integers
from archcalc.ops.registry import Op, Work
from archcalc.ops.traffic import Operands, always, elements_of, puts, takes
from archcalc.tracing import Shape


def _read(call: CallView) -> int:
    """Elements that a reduction reads: what is scattered, or else the first input."""
    return prod(call.named.get("src", call.named.get("source", call.inputs[0])))


def _rows(call: CallView) -> int:
    """Elements of the rows that are looked up."""
    return prod(call.named["indices"]) * call.named["weight"][-1]


def _taken(operands: Operands) -> int:
    """Elements of those rows, of an op's operands."""
    return operands.elements("indices") * operands.shape("weight")[-1]


EACH_INPUT = Work("1 an input element", _read)
REDUCED = Op("mean", "sum", "amax", "amin", "var", "std", "prod", "logsumexp", work=EACH_INPUT, fuses=True)
PAIRS = Op("max", "min", "var_mean", work=EACH_INPUT, fuses=True)
TRUTH = Op("any", "all", work=EACH_INPUT, fuses=True)
CUMULATED = Op("cumsum", work=EACH_INPUT)
Op("_embedding_bag", "_embedding_bag_forward_only", work=Work(EACH_INPUT.words, _rows), traffic=takes("weight", _taken))
Op("nll_loss_forward", "nll_loss2d_forward", work=EACH_INPUT, traffic=takes("self", elements_of("target")))
Op("index_add", "index_reduce", work=EACH_INPUT, traffic=puts(elements_of("source"), adds=always))
Op("scatter_add", "scatter_reduce", work=EACH_INPUT, traffic=puts(elements_of("index"), adds=always))
Op("torchvision.nms", "torchvision.roi_align", work=EACH_INPUT)
Op(
    *"""
    _aminmax _ctc_loss _cummax_helper _cummin_helper _is_all_true _is_any_true _unique _unique2 aminmax argmax argmin
    argsort bincount bucketize count_nonzero cummax cummin cumprod dist histc kthvalue linalg__powsum
    linalg_vector_norm logcumsumexp median mode nanmedian nansum norm searchsorted segment_reduce sort std_mean topk
    trace unique_consecutive unique_dim
    """.split(),
    work=EACH_INPUT,
)


@REDUCED.reason
@TRUTH.reason
def reduction_reason(call: CallView) -> str:
    """The reduced dimensions go, or become 1."""
    rank = len(call.inputs[0])
    dims = [d % max(rank, 1) for d in integers(call.attributes.get("dim"))] or list(range(rank))
    word = {1: "dim", 0: "all dims"}.get(len(dims), "dims")
    return f"reduced over {word} {', '.join(map(str, sorted(dims)))}"


@REDUCED.field
@PAIRS.field
def reduction_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """A reduced axis is seen whole: it stays as an axis of size 1, or goes and is lost."""
    field, before = seen[0]
    reduced = {d % max(len(before), 1) for d in integers(call.attributes.get("dim"))} or set(range(len(before)))
    if len(shape) == len(before):
        return tuple(a.whole() if a and d in reduced else a for d, a in enumerate(field))
    kept = tuple(axis for d, axis in enumerate(field) if d not in reduced)
    if any(field[d] is not None for d in reduced):
        return LOST if any(kept) else GLOBAL
    return kept


@CUMULATED.field
def along_dim(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Every position of the dimension sees all of it."""
    field, _ = seen[0]
    dim = call.attributes.get("dim")
    along = int(dim) % max(len(shape), 1) if isinstance(dim, int) else -1
    return tuple(a.whole() if a and d == along else a for d, a in enumerate(field))
