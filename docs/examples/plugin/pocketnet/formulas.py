"""What the ops of this package cost; archcalc imports this file when it meets one of them, and torch is not needed."""

from math import prod

from archcalc.ops import contraction, elementwise

elementwise("pocketnet.squared_relu", an_element=2)


@contraction("pocketnet.grouped_linear")
def grouped_linear(x: tuple[int, ...], weight: tuple[int, ...]) -> int:
    """[N, G·I] by [G, O, I]: N·G·O·I.

    >>> grouped_linear((2, 32), (4, 16, 8))  # 2·4·16·8
    1024
    """
    return x[0] * prod(weight)
