"""Stages that read and write by position: gather, scatter, take, index_put, embeddings, sorts, masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.random_programs.stage import SEQUENCE, TOKENS, VECTOR, VOCABULARY, Apply, Draw, parameter, stage


@stage(SEQUENCE)
def gathered(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Steps in the order of a score: argsort, topk or sort, then gather or take_along_dim."""
    k = draw.size(2, t)

    def forward(m: Apply, x: Tensor) -> Tensor:
        score = m.score(x).squeeze(-1)
        order = m.order(score)
        if m.along:
            return x.take_along_dim(order.unsqueeze(2), 1)
        return x.gather(1, order.unsqueeze(2).expand(-1, -1, c))

    order = draw.pick(
        lambda s: s.argsort(1, descending=True)[:, :k],
        lambda s: s.topk(k, 1).indices,
        lambda s: s.sort(dim=1, stable=True)[1][:, :k],
        lambda s: s.kthvalue(2, 1, keepdim=True)[1].expand(-1, 3),
    )
    return Apply(forward, score=nn.Linear(c, 1), order=order, along=draw.flag())


@stage(SEQUENCE)
def taken(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """take, index_select and indexing by tensors, lists and masks of constants."""
    rows = torch.tensor([2, 0, 1, 1])
    way = draw.pick(
        lambda x: x.take(torch.arange(n * t * c).flip(0).view(n, t, c)),
        lambda x: x.index_select(1, rows),
        lambda x: x[:, rows],
        lambda x: x[:, [0, 2]][..., [[0]]].squeeze(-1).repeat(1, 1, 2).repeat(1, 2, 1),
        lambda x: x[torch.arange(n)[:, None], rows[None]],
        lambda x: x[:, rows, :][..., torch.tensor([1, 0])],
        lambda x: x[:, torch.arange(t) != 1][:, :2].repeat(1, 2, 1),
        lambda x: x[..., None, 0].expand(-1, -1, 2).clone(),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def index_added(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """index_add, index_copy, index_fill, index_reduce: steps fall on the steps that a constant names."""
    places = torch.arange(t) % 3
    way = draw.pick(
        lambda x: x.new_zeros(n, 3, c).index_add(1, places, x),
        lambda x: x.new_zeros(n, 3, c).index_add_(1, places, x, alpha=0.5),
        lambda x: x.new_zeros(n, t, c).index_copy(1, torch.arange(t).flip(0), x),
        lambda x: x.index_fill(1, places[:2], 0.5),
        lambda x: x.new_zeros(n, 3, c).index_reduce(1, places, x, "mean"),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def scattered(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """scatter, scatter_add, scatter_reduce: steps fall on the steps that the data name."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        places = m.score(x).argmax(-1, keepdim=True).expand(-1, -1, c)
        return m.way(x, places)

    way = draw.pick(
        lambda x, places: x.new_zeros(n, 3, c).scatter_add(1, places, x),
        lambda x, places: x.new_zeros(n, 3, c).scatter(1, places, x),
        lambda x, places: torch.zeros(n, 3, c).scatter_(1, places, 1.0) * x.mean(1, keepdim=True),
        lambda x, places: x.new_zeros(n, 3, c).scatter_reduce(1, places, x, "amax", include_self=False),
    )
    return Apply(forward, score=nn.Linear(c, 3), way=way)


@stage(SEQUENCE)
def put(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """index_put by constants, put_, and masked writes of equal shape."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        out = m.layer(x)
        rows = torch.arange(n)
        return m.way(out.clone(), rows)

    def masked(x: Tensor, rows: Tensor) -> Tensor:
        x[x > 0] = 0.0
        return x

    def assigned(x: Tensor, rows: Tensor) -> Tensor:
        x[rows, 0] = 2.0
        x[:, [0, 1]] = x[:, [1, 0]].clone()
        return x

    way = draw.pick(
        assigned,
        masked,
        lambda x, rows: x.index_put((rows, torch.zeros_like(rows)), torch.ones(c)),
        lambda x, rows: x.index_put_((rows, rows * 0 + 1), x[:, 0].clone(), accumulate=True),
        lambda x, rows: x.put(rows, torch.ones(n)),
        lambda x, rows: x.masked_scatter(x > 0, x.detach().flip(1)),
    )
    return Apply(forward, layer=nn.Linear(c, c), way=way)


@stage(SEQUENCE)
def masked(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """where, masked_fill, tril, comparisons and logic of masks."""
    way = draw.pick(
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: x.masked_fill((x > 1) | ~(x > -1), 0.0),
        lambda x: x * (x.abs() < 1).logical_and(x != 0),
        lambda x: torch.where(x.isfinite(), x, torch.zeros(())),
        lambda x: x * torch.ones(t, c).tril().bool(),
        lambda x: x * x.bool().any(-1, keepdim=True) * x.gt(0).all(1, keepdim=True),
        lambda x: x.clamp(min=0) * torch.isin(torch.arange(c), torch.tensor([0, 1])),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def sorted_values(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """sort, topk, cumulated sums, quantiles, medians, histograms by searching."""
    edges = torch.linspace(-1, 1, c - 1)
    way = draw.pick(
        lambda x: x.sort(1).values,
        lambda x: x.topk(2, 1, sorted=False)[0].repeat(1, 2, 1),
        lambda x: x.cumsum(1) + x.cumprod(2) + x.logcumsumexp(1),
        lambda x: x.cummax(1)[0] - x.cummin(1)[0],
        lambda x: torch.quantile(x, torch.tensor([0.1, 0.5, 0.9]), dim=1).transpose(0, 1),
        lambda x: x.nanquantile(0.5, 1, keepdim=True) * x + x.median(1, keepdim=True)[0],
        lambda x: x + torch.bucketize(x, edges) + torch.searchsorted(edges, x),
        lambda x: x.mode(1, keepdim=True)[0] + x.aminmax(dim=1, keepdim=True).max + x,
        lambda x: x + torch.histc(x.detach(), c) + torch.histogram(x.detach(), c)[0] + torch.bincount(torch.arange(c)),
        lambda x: x.diff(dim=1).abs() + torch.gradient(x, dim=1)[0][:, 1:] + torch.trapezoid(x, dim=1)[:, None],
        lambda x: x.unfold(1, 3, 1).mean(-1).repeat(1, 3, 1)[:, :4],
    )
    return Apply(lambda m, x: way(x))


@stage(TOKENS, SEQUENCE)
def embedding(draw: Draw, n: int, t: int) -> nn.Module:
    """A row for each token, with a row of padding or of limited norm; positions are added."""
    table = nn.Embedding(VOCABULARY, draw.even(2, 8), draw.pick(None, 0), draw.pick(None, 1.0))
    places = parameter(9, table.embedding_dim)
    return Apply(
        lambda m, x: m.table(x)[:, :8] + F.embedding(torch.arange(min(t, 8)), m.places), table=table, places=places
    )


@stage(TOKENS, VECTOR)
def embedding_bag(draw: Draw, n: int, t: int) -> nn.Module:
    """The sum, mean or maximum of rows; offsets name the bags at times."""
    bag = nn.EmbeddingBag(VOCABULARY, draw.even(), mode=draw.pick("sum", "mean", "max"))
    if draw.flag():
        return bag
    return Apply(lambda m, x: m.bag(x.flatten(), torch.arange(0, n * t, t)), bag=bag)


@stage(TOKENS, SEQUENCE)
def one_hot(draw: Draw, n: int, t: int) -> nn.Module:
    """A column for each token of the vocabulary, and a linear layer of those."""
    layer = nn.Linear(VOCABULARY, 4)
    return Apply(lambda m, x: m.layer(F.one_hot(x, VOCABULARY).float())[:, :8], layer=layer)


@stage(TOKENS)
def integers(draw: Draw, n: int, t: int) -> nn.Module:
    """Arithmetic of whole numbers: remainders, shifts, bits, division."""
    way = draw.pick(
        lambda x: (x * 3 + 1) % VOCABULARY,
        lambda x: (x << 1 | 1) & 15,
        lambda x: x // 2 + (x > 3).long(),
        lambda x: torch.cat([x[:, :1] * 0, x[:, 1:]], 1).to(torch.int32).to(torch.int64),
        lambda x: x.bitwise_xor(3).clamp(0, 15),
        lambda x: torch.div(x, 3, rounding_mode="floor").cumsum(1) % VOCABULARY,
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE, TOKENS)
def best(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The channel of the maximum at each step: no gradient goes through it."""
    return Apply(lambda m, x: x.argmax(-1) if m.plain else x.max(-1)[1], plain=draw.flag())


@stage(SEQUENCE, VECTOR)
def segments(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A choice of experts: the best two of four by a softmax, all computed, weighted by scattered scores."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        values, places = m.router(x.mean(1)).softmax(-1).topk(2, -1)
        weights = torch.zeros(n, 4).scatter(1, places, values)
        return torch.einsum("ne,neo->no", weights, torch.stack([expert(x[:, 0]) for expert in m.experts], 1))

    return Apply(forward, router=nn.Linear(c, 4), experts=nn.ModuleList(nn.Linear(c, 6) for _ in range(4)))
