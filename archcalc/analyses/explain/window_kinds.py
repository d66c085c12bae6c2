"""The kinds of layer that slide a window: convolution, transposed convolution, pooling."""

from __future__ import annotations

from archcalc.analyses.explain.layer_kind import Kind, Reading, Seen

AXES = {1: "L", 2: "HW", 3: "DHW"}
"""The letters of the spatial axes."""


def _joined(*factors: str) -> str:
    return " · ".join(factors)


def convolution(dims: int) -> Kind:
    """Convolution over `dims` axes."""
    axes = AXES[dims]
    taps, places = [f"k{a.lower()}" for a in axes], [f"{a}'" for a in axes]
    return Kind(
        f"conv{dims}d",
        (f"Conv{dims}d",),
        f"N batch, Cin and Cout channels, {', '.join(axes)} size; k kernel, s stride, p padding, d dilation",
        (
            ("output", "×".join(["N", "Cout", *places])),
            *((f"{a}'", _slid(a)) for a in axes),
            ("params", f"{_joined('Cout', 'Cin/groups', *taps)} [+ Cout if bias]"),
            ("MACs", _joined("N", "Cout", *places, "Cin/groups", *taps)),
            ("elementwise", f"[{_joined('N', 'Cout', *places)} if bias]"),
        ),
        lambda seen: _read_convolution(seen, axes),
        "Cout kernels of Cin/groups channels each; one product for each tap of a kernel at each place of the output",
    )


def _slid(axis: str) -> str:
    """The output size of a window that slides along an axis."""
    a = axis.lower()
    return f"⌊({axis} + 2·p{a} - d{a}·(k{a} - 1) - 1)/s{a}⌋ + 1"


def _read_convolution(seen: Seen, axes: str) -> Reading:
    op = seen.op("convolution", "_convolution")
    x, weight = op.named["input"], op.named["weight"]
    groups = op.numbers("groups", 1)[0]
    numbers = {"N": x[0], "Cin": x[1], "Cout": op.output[1], "groups": groups}
    for i, axis in enumerate(axes):
        a = axis.lower()
        numbers |= {axis: x[2 + i], f"{axis}'": op.output[2 + i], f"k{a}": weight[2 + i]}
        for letter, attribute in (("s", "stride"), ("p", "padding"), ("d", "dilation"), ("o", "output_padding")):
            numbers[f"{letter}{a}"] = op.numbers(attribute, len(axes))[i]
    return numbers, {"bias"} if "bias" in op.named else set()


def transposed_convolution(dims: int) -> Kind:
    """Transposed convolution over `dims` axes."""
    axes = AXES[dims]
    taps, places = [f"k{a.lower()}" for a in axes], [f"{a}'" for a in axes]
    sizes = ((f"{a}'", "({0} - 1)·s{1} - 2·p{1} + d{1}·(k{1} - 1) + o{1} + 1".format(a, a.lower())) for a in axes)
    return Kind(
        f"conv-transpose{dims}d",
        (f"ConvTranspose{dims}d",),
        f"N batch, Cin and Cout channels, {', '.join(axes)} size; k kernel, s stride, p and o padding, d dilation",
        (
            ("output", "×".join(["N", "Cout", *places])),
            *sizes,
            ("params", f"{_joined('Cin', 'Cout/groups', *taps)} [+ Cout if bias]"),
            ("MACs", _joined("N", "Cin", *axes, "Cout/groups", *taps)),
            ("elementwise", f"[{_joined('N', 'Cout', *places)} if bias]"),
        ),
        lambda seen: _read_convolution(seen, axes),
        "each place of the input is spread over the output: products are counted at the input's places",
    )


def pooling(name: str, type_: str, ops: tuple[str, ...], dilates: bool) -> Kind:
    """Pooling over H and W with a window."""
    sizes = tuple(
        (f"{a}'", _slid(a) if dilates else f"⌊({a} + 2·p{a.lower()} - k{a.lower()})/s{a.lower()}⌋ + 1") for a in "HW"
    )
    return Kind(
        name,
        (type_,),
        "N batch, C channels, H, W size; k window, s stride, p padding" + (", d dilation" if dilates else ""),
        (("output", "N×C×H'×W'"), *sizes, ("elementwise", "N · C · H' · W' · kh · kw")),
        lambda seen: _read_pooling(seen, ops),
        "no parameters and no MACs; in ceil mode the size is rounded up",
    )


def _read_pooling(seen: Seen, ops: tuple[str, ...]) -> Reading:
    op = seen.op(*ops)
    x = op.inputs[0]
    if len(x) != 4:
        raise LookupError("N, C, H, W")
    numbers = {"N": x[0], "C": x[1]}
    kernel = op.numbers("kernel_size", 2)
    stride = op.numbers("stride", 2) if op.attributes.get("stride") else kernel
    for i, a in enumerate("HW"):
        numbers |= {a: x[2 + i], f"{a}'": op.output[2 + i], f"k{a.lower()}": kernel[i], f"s{a.lower()}": stride[i]}
        numbers |= {f"p{a.lower()}": op.numbers("padding", 2)[i], f"d{a.lower()}": op.numbers("dilation", 2, 1)[i]}
    return numbers, {"ceil"} if op.attributes.get("ceil_mode") is True else set()


def read_global_pooling(seen: Seen) -> Reading:
    """Read N, C and the sizes of a pooling to a given output size."""
    N, C, H, W = seen.inputs[0]
    return {"N": N, "C": C, "H": H, "W": W, "H'": seen.output[2], "W'": seen.output[3]}, set()
