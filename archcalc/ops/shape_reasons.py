"""Why a shape is what it is: the rule of each op that changes shapes, with the numbers of the call in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from archcalc.ops.elementwise import base_name
from archcalc.tracing.records import Call, Shape, Trace, Value

Rule = Callable[["Numbers"], str]
RULES: dict[str, Rule] = {}


class Numbers:
    """What a rule may use of a call: its op, its attributes, the shapes of its inputs by name, its output's shape."""

    def __init__(self, trace: Trace, call: Call) -> None:
        self.op = call.op
        self.attributes = call.attributes
        self.output: Shape = trace.shape(call.outputs[0]) if call.outputs else ()
        self.outputs = [trace.shape(t) for t in call.outputs]
        self.inputs = [trace.shape(t) for t in call.tensors()]
        self.named = {name: trace.shape(t) for name, t in call.inputs.items() if isinstance(t, int)}

    def numbers(self, name: str, count: int, default: int = 0) -> list[int]:
        """An integer-list attribute, repeated to `count` numbers."""
        found = integers(self.attributes.get(name)) or [default]
        return found if len(found) == count else found[:1] * count


def why(trace: Trace, call: Call) -> str:
    """The rule of one call with its numbers; '' where the op leaves the shape as it is."""
    name = base_name(call.op) or call.op
    numbers = Numbers(trace, call)
    if name in RULES and numbers.inputs:
        return RULES[name](numbers)
    shapes = set(numbers.inputs)
    if numbers.output in shapes or not shapes:
        return ""
    broadcast = len(shapes) > 1 and all(len(s) <= len(numbers.output) for s in shapes)
    return "broadcast" if broadcast else name


def module_rule(type_: str, output: Shape) -> str:
    """The rule of modules that say more than their ops do: adaptive pooling of size 1 runs as a mean."""
    if type_ in ("RNN", "LSTM", "GRU"):
        return f"hidden state of {output[-1]} at every step"
    if type_ == "MultiheadAttention":
        return f"queries' length, embed_dim = {output[-1]}"
    dims = 3 if type_.endswith("3d") else 2 if type_.endswith("2d") else 1
    return f"adaptive: output {'x'.join(map(str, output[-dims:]))}" if type_.startswith("Adaptive") else ""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of some ops."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


@rule("convolution", "_convolution")
def convolution(n: Numbers) -> str:
    """Kernels make channels; ⌊(H + 2p - d(k-1) - 1)/s⌋ + 1, or (H-1)s - 2p + d(k-1) + p' + 1 transposed."""
    weight, x = n.named["weight"], n.named["input"]
    dims = len(weight) - 2
    transposed = n.attributes.get("transposed") is True
    s, p, d = (n.numbers(a, dims) for a in ("stride", "padding", "dilation"))
    extra = n.numbers("output_padding", dims)
    sizes = []
    for i in range(dims):
        h, k, out = x[2 + i], weight[2 + i], n.output[2 + i]
        if transposed:
            tail = f"+{extra[i]}" if extra[i] else ""
            sizes.append(f"({h}-1)·{s[i]}-2·{p[i]}+{d[i]}·({k}-1)+1{tail} = {out}")
        else:
            sizes.append(window(h, k, s[i], p[i], d[i], out))
    return f"{n.output[1]} kernels, {_once(sizes)}"


def window(h: int, k: int, s: int, p: int, d: int, out: int, ceil: bool = False) -> str:
    """The output size of a sliding window with its numbers, as short as they allow.

    >>> window(224, 7, 2, 3, 1, 112), window(56, 1, 1, 0, 1, 56), window(32, 3, 1, 2, 2, 32)
    ('⌊(224+2·3-7)/2⌋+1 = 112', '56-1+1 = 56', '32+2·2-2·(3-1)-1+1 = 32')
    """
    padded = f"{h}+2·{p}" if p else f"{h}"
    reach = f"{k}" if d == 1 else f"{d}·({k}-1)-1"
    if s == 1:
        return f"{padded}-{reach}+1 = {out}"
    left, right = ("⌈", "⌉") if ceil else ("⌊", "⌋")
    return f"{left}({padded}-{reach})/{s}{right}+1 = {out}"


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def pooling(n: Numbers) -> str:
    """The convolution's rule, rounded up in ceil mode."""
    x = n.inputs[0]
    dims = len(integers(n.attributes["kernel_size"])) or 2
    k = n.numbers("kernel_size", dims)
    s = n.numbers("stride", dims) if integers(n.attributes.get("stride")) else k
    p, d = n.numbers("padding", dims), n.numbers("dilation", dims, 1)
    ceil = n.attributes.get("ceil_mode") is True
    offset = len(x) - dims
    return _once([window(x[offset + i], k[i], s[i], p[i], d[i], n.output[offset + i], ceil) for i in range(dims)])


@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive(n: Numbers) -> str:
    """The output size is what was asked for."""
    return f"adaptive: output {'x'.join(map(str, n.numbers('output_size', 2)))}"


@rule("mm", "addmm", "linear", "_scaled_mm", "_int_mm")
def matrix(n: Numbers) -> str:
    """The last size is the matrix's."""
    return f"out_features = {n.output[-1]}"


@rule("bmm", "baddbmm")
def batched(n: Numbers) -> str:
    """[b, n, m] @ [b, m, p] -> [b, n, p]."""
    a, b = n.inputs[-2:]
    return f"[{a[1]},{a[2]}] @ [{b[1]},{b[2]}] = [{n.output[1]},{n.output[2]}]"


@rule("cat")
def cat(n: Numbers) -> str:
    """Sizes along one dimension add up."""
    d = _dim(n, len(n.output))
    sizes = [shape[d] for shape in n.inputs if len(shape) == len(n.output)]
    if len(sizes) < 2:
        return ""
    terms = " + ".join(map(str, sizes))
    if len(sizes) > 4:
        rest = sizes[1:]
        terms = f"{sizes[0]} + {len(rest)}·{rest[0]}" if len(set(rest)) == 1 else f"{len(sizes)} tensors"
    return f"{terms} = {n.output[d]} along dim {d}"


@rule("split", "split_with_sizes", "chunk", "unbind")
def split(n: Numbers) -> str:
    """One size is divided."""
    d = _dim(n, len(n.inputs[0]))
    if len(n.output) < len(n.inputs[0]):
        return f"dim {d} taken apart into {len(n.outputs)}"
    return f"{n.inputs[0][d]} = {' + '.join(str(shape[d]) for shape in n.outputs)} along dim {d}"


@rule("view", "_unsafe_view", "reshape", "flatten", "unflatten")
def view(n: Numbers) -> str:
    """The same elements in other groups."""
    if n.output == n.inputs[0]:
        return ""
    before, after = _differing(n.inputs[0], n.output)
    left, right = ("·".join(map(str, part)) or "1" for part in (before, after))
    return f"{left} = {right} elements" if prod(before) == prod(after) else f"{prod(n.output)} elements"


@rule("transpose", "t", "permute")
def permute(n: Numbers) -> str:
    """Dimensions change places."""
    if "dims" in n.attributes:
        return f"dims reordered to {', '.join(map(str, integers(n.attributes['dims'])))}"
    rank = len(n.output)
    first, second = swapped_dims(n, rank)
    return f"dims {first} and {second} swapped"


@rule("mean", "sum", "amax", "amin", "var", "std", "prod", "any", "all", "logsumexp")
def reduction(n: Numbers) -> str:
    """The reduced dimensions go, or become 1."""
    rank = len(n.inputs[0])
    dims = [d % rank for d in integers(n.attributes.get("dim"))] or list(range(rank))
    word = {1: "dim", 0: "all dims"}.get(len(dims), "dims")
    return f"reduced over {word} {', '.join(map(str, sorted(dims)))}"


@rule("slice")
def slice_(n: Numbers) -> str:
    """⌈length / step⌉ along one dimension."""
    d = _dim(n, len(n.output))
    if n.output == n.inputs[0]:
        return ""
    step = n.attributes.get("step")
    if isinstance(step, int) and step > 1:
        return f"⌈{n.inputs[0][d]}/{step}⌉ = {n.output[d]} along dim {d}"
    return f"{n.output[d]} of {n.inputs[0][d]} along dim {d}"


@rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d", "replication_pad1d")
def pad(n: Numbers) -> str:
    """Sizes grow by their padding."""
    pads = integers(n.attributes.get("pad") or n.attributes.get("padding"))
    rank = len(n.output)
    said = []
    for i in reversed(range(len(pads) // 2)):
        before, after = pads[2 * i], pads[2 * i + 1]
        if before or after:
            d = rank - 1 - i
            said.append(f"{n.inputs[0][d]} + {before} + {after} = {n.output[d]} along dim {d}")
    return ", ".join(said)


@rule("embedding")
def embedding(n: Numbers) -> str:
    """Each index becomes a row of the table."""
    table = n.named["weight"]
    return f"each index a row of {table[0]} x {table[1]}"


@rule("select")
def select(n: Numbers) -> str:
    """One index of a dimension, which goes."""
    d = _dim(n, len(n.inputs[0]))
    return f"one of {n.inputs[0][d]} along dim {d}"


@rule("expand", "unsqueeze", "squeeze", "pixel_shuffle", "pixel_unshuffle", "upsample_nearest2d", "upsample_bilinear2d")
def by_name(n: Numbers) -> str:
    """The sizes that changed, before and after."""
    if n.output == n.inputs[0]:
        return ""
    before, after = _differing(n.inputs[0], n.output)
    return f"{'x'.join(map(str, before)) or '-'} to {'x'.join(map(str, after)) or '-'}"


def swapped_dims(n: Numbers, rank: int) -> tuple[int, int]:
    """The two dimensions of a transpose; t() has no arguments and swaps 0 and 1."""
    first = integers(n.attributes.get("dim0")) or [0]
    second = integers(n.attributes.get("dim1")) or [1]
    return first[0] % rank, second[0] % rank


def _dim(n: Numbers, rank: int) -> int:
    dim = n.attributes.get("dim", 0)
    return int(dim) % rank if isinstance(dim, int) and rank else 0


def integers(value: Value) -> list[int]:
    """The integers of an attribute that is one or a tuple of them; [] for anything else."""
    values: Sequence[Value] = value if isinstance(value, tuple) else (value,)
    return [int(v) for v in values if isinstance(v, int)]


def _once(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _differing(before: Shape, after: Shape) -> tuple[Shape, Shape]:
    """What is left of two shapes without their common head and tail."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    if head and min(len(before), len(after)) == head + tail:
        head -= 1  # 512·1·1 = 512 says more than 1·1 = 1
    return before[head : len(before) - tail], after[head : len(after) - tail]
