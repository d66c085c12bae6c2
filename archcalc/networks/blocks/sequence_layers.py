"""The layers that "Attention Is All You Need" compares in its Table 1, written position by position.

Each takes n vectors of width d and gives n: who may see whom is then in the graph of ops, and its cost, the operations
that wait for one another and the way between two positions can be read off a trace. Positions see themselves and those
before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from archcalc.networks.blocks.blocks import BLOCKS
from archcalc.networks.sequence.transformer import TRANSFORMER
from archcalc.networks.spec import Input, Network, at_least, register

SEQUENCE_LAYERS_DRAWING = """
                 y1   y2   y3   y4                y1   y2   y3   y4
self-attention:  |  x  all to all  |  recurrent:  |    |    |    |
                 x1   x2   x3   x4                h -> h -> h -> h
                                                  x1   x2   x3   x4
convolutional, separable, restricted attention:
each y_i sees x_i and the k - 1, or r - 1, positions before it
feed-forward: each y_i sees x_i alone
"""


class SelfAttention(nn.Module):
    """Every position attends to all of them, or to itself and the r - 1 before it: four projections, two products.

    Without projections the products alone are left, as Table 1 counts them.
    """

    def __init__(self, d: int, r: int | None = None, projections: bool = True) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V, self.W_O = (
            nn.Linear(d, d, bias=False) if projections else nn.Identity() for _ in "QKVO"
        )
        self.d, self.r = d, r

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        q, k, v = ([W(x_i) for x_i in x] for W in (self.W_Q, self.W_K, self.W_V))  # n times 1, d
        y = []
        for i in range(len(x)):
            seen = range(len(x)) if self.r is None else [max(0, j) for j in range(i - self.r + 1, i + 1)]
            K, V = torch.cat([k[j] for j in seen]), torch.cat([v[j] for j in seen])  # m, d
            a = (q[i] @ K.t() / sqrt(self.d)).softmax(-1)  # 1, m
            y.append(self.W_O(a @ V))  # 1, d
        return y


class Recurrence(nn.Module):
    """h_t = tanh(W h_{t-1} + U x_t), or x_t by itself: each product with W waits for the one before."""

    def __init__(self, d: int, input_matrix: bool = False) -> None:
        super().__init__()
        self.W = nn.Linear(d, d, bias=False)
        self.U = nn.Linear(d, d, bias=False) if input_matrix else nn.Identity()

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        h, y = torch.zeros_like(x[0]), []
        for x_t in x:
            h = torch.tanh(self.W(h) + self.U(x_t))  # 1, d
            y.append(h)
        return y


class Convolution(nn.Module):
    """A kernel over the k positions that end at a position, `dilation` apart; zeros before the first."""

    def __init__(self, d: int, k: int, dilation: int = 1) -> None:
        super().__init__()
        self.W = nn.Linear(k * d, d, bias=False)
        self.k, self.dilation = k, dilation

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        zero = torch.zeros_like(x[0])
        y = []
        for i in range(len(x)):
            places = [i - j * self.dilation for j in range(self.k)]
            y.append(self.W(torch.cat([x[j] if j >= 0 else zero for j in places], 1)))  # 1, d
        return y


class SeparableConvolution(nn.Module):
    """A kernel of k for each feature by itself, then d x d products at each position (Chollet 2016)."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(torch.empty(d, 1, k))
        self.pointwise = nn.Linear(d, d, bias=False)
        self.k = k

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        zero = torch.zeros_like(x[0])
        y = []
        for i in range(len(x)):
            window = torch.cat([x[i - j] if j <= i else zero for j in range(self.k)])  # k, d
            filtered = self.depthwise @ window.t().unsqueeze(2)  # d, 1, 1
            y.append(self.pointwise(filtered.view(1, -1)))  # 1, d
        return y


class FeedForward(nn.Module):
    """d -> f -> d with ReLU between, at each position by itself."""

    def __init__(self, d: int, f: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d, f, bias=False)
        self.linear2 = nn.Linear(f, d, bias=False)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        return [self.linear2(torch.relu(self.linear1(x_i))) for x_i in x]  # n times 1, d


class Both(nn.Module):
    """One layer behind the other."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        return self.second(self.first(x))  # n times 1, d


class Stack(nn.Module):
    """Layers one on the other: n, d -> n, d."""

    def __init__(self, layers: int, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make(index) for index in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        positions = [x_i.unsqueeze(0) for x_i in x.unbind(0)]  # n times 1, d
        for layer in self.layers:
            positions = layer(positions)
        return torch.stack(positions)  # n, 1, d


def self_attention_layer(d: int = 64, n: int = 16, layers: int = 1, projections: bool = True) -> Stack:
    """Self-attention: every position sees every other in one layer."""
    _check(d=d, n=n, layers=layers)
    return Stack(layers, lambda _: SelfAttention(d, projections=projections))


def restricted_attention_layer(d: int = 64, n: int = 16, r: int = 4, layers: int = 1) -> Stack:
    """Self-attention restricted to r positions: a position and the r - 1 before it."""
    _check(d=d, n=n, r=r, layers=layers)
    return Stack(layers, lambda _: SelfAttention(d, r))


def recurrent_layer(d: int = 64, n: int = 16, layers: int = 1, input_matrix: bool = False) -> Stack:
    """A recurrent layer: a state passes from each position to the next; `input_matrix` multiplies x by U, too."""
    _check(d=d, n=n, layers=layers)
    return Stack(layers, lambda _: Recurrence(d, input_matrix))


def separable_layer(d: int = 64, n: int = 16, k: int = 3, layers: int = 1) -> Stack:
    """A separable convolution: k products a feature and position, then d² a position."""
    _check(d=d, n=n, k=k, layers=layers)
    return Stack(layers, lambda _: SeparableConvolution(d, k))


def feed_forward_layer(d: int = 64, n: int = 16, d_ff: int = 0, layers: int = 1) -> Stack:
    """Two linear maps at each position by itself; `d_ff` 0 means 4d."""
    _check(d=d, n=n, layers=layers)
    at_least("d_ff", d_ff, 0)
    return Stack(layers, lambda _: FeedForward(d, d_ff or 4 * d))


def attention_feed_forward_layer(d: int = 64, n: int = 16, d_ff: int = 0, layers: int = 1) -> Stack:
    """Self-attention and feed-forward, one on the other, as in a layer of the Transformer; `d_ff` 0 means 4d."""
    _check(d=d, n=n, layers=layers)
    at_least("d_ff", d_ff, 0)
    return Stack(layers, lambda _: Both(SelfAttention(d), FeedForward(d, d_ff or 4 * d)))


def convolutional_layer(d: int = 64, n: int = 16, k: int = 3, layers: int = 1, dilated: bool = False) -> Stack:
    """A convolutional layer of kernel width k; dilated by k^l in layer l if so wanted."""
    _check(d=d, n=n, k=k, layers=layers)
    return Stack(layers, lambda index: Convolution(d, k, k**index if dilated else 1))


def _check(**knobs: int) -> None:
    for knob, value in knobs.items():
        at_least(knob, value, 1)


def _sequence(config: Mapping[str, int]) -> tuple[Input, ...]:
    return (Input("x", ("positions", "features"), (config["n"], config["d"])),)


register(
    *(
        Network(
            name,
            BLOCKS,
            build,
            _sequence,
            about=str(build.__doc__),
            paper=TRANSFORMER.paper,
            diagram=SEQUENCE_LAYERS_DRAWING,
        )
        for name, build in (
            ("self-attention-layer", self_attention_layer),
            ("restricted-attention-layer", restricted_attention_layer),
            ("recurrent-layer", recurrent_layer),
            ("convolutional-layer", convolutional_layer),
            ("separable-layer", separable_layer),
            ("feed-forward-layer", feed_forward_layer),
            ("attention-feed-forward-layer", attention_feed_forward_layer),
        )
    ),
    file=__name__,
)
