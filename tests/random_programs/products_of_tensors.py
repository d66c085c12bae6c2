"""Stages of products: einsum, matmul in all ranks, bilinear forms, linear algebra, sparse matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.random_programs.stage import IMAGE, SEQUENCE, VECTOR, Apply, Draw, parameter, stage


@stage(SEQUENCE)
def einsum(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Two and three operands, a diagonal, an ellipsis, sums over what is not named."""
    equation, *sizes = draw.pick(
        ("ntc,cd->ntd", (c, 6)),
        ("ntc,sc,sd->ntd", (5, c), (5, 4)),
        ("...c,dc->...d", (4, c)),
        ("ntc,tsc->nsc", (t, 3, c)),
        ("ntc,cc->ntc", (c, c)),
        ("ntc,k->ntc", (3,)),
        ("ntc,nsc->nts", None),
    )
    weights = nn.ParameterList(parameter(*size) for size in sizes if size)
    pad = nn.Identity() if None not in sizes else nn.Linear(t, 4)
    return Apply(
        lambda m, x: m.pad(torch.einsum(equation, x, *(m.weights if None not in sizes else [x]))),
        weights=weights,
        pad=pad,
    )


@stage(SEQUENCE)
def matmul(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Every pair of ranks that matmul knows, with vectors on either side and batches that are broadcast."""
    matrix, vector, many = parameter(c, 4), parameter(c), parameter(3, 1, c, 6)
    way = draw.pick(
        lambda m, x: x @ m.matrix,
        lambda m, x: (x @ m.vector).unsqueeze(2) * x,
        lambda m, x: torch.stack([m.vector @ sample.T for sample in x]).unsqueeze(2) * x,
        lambda m, x: (x @ m.many).sum(0),
        lambda m, x: x * torch.matmul(m.vector, m.vector),
        lambda m, x: torch.matmul(m.vector, x.mT).unsqueeze(2) + x,
        lambda m, x: x.__rmatmul__(m.many[0, 0, :t] @ m.many[0, 0, :t].mT) if t <= c else x @ m.matrix,
    )
    return Apply(way, matrix=matrix, vector=vector, many=many)


@stage(VECTOR)
def products(draw: Draw, n: int, c: int) -> nn.Module:
    """The products by name: addmm, addmv, addbmm, baddbmm, dot, vdot, mv, outer, addr, inner, chain."""
    w, v = parameter(c, 6), parameter(c)
    way = draw.pick(
        lambda m, x: torch.addmm(m.b, x, m.w, beta=0.5, alpha=2),
        lambda m, x: torch.addmv(x[:, 0], x, m.v).unsqueeze(1) * x,
        lambda m, x: torch.addbmm(torch.zeros(c, 6), x.view(n, c, 1), m.b.expand(n, 1, 6)).mean(0).expand(n, 6),
        lambda m, x: torch.baddbmm(m.b, x.unsqueeze(1), m.w.expand(n, c, 6)).squeeze(1),
        lambda m, x: x * torch.dot(x[0], m.v) + torch.vdot(m.v, m.v),
        lambda m, x: torch.mv(x, m.v).unsqueeze(1) * x,
        lambda m, x: torch.addr(x, torch.outer(x[:, 0], m.v)[:, 0], m.v),
        lambda m, x: torch.inner(x, m.w.mT),
        lambda m, x: torch.linalg.multi_dot([x, m.w, m.w.mT, m.w]),
        lambda m, x: torch.tensordot(x, m.w, dims=([1], [0])),
        lambda m, x: torch.kron(x, m.v[:1].view(1, 1)) @ torch.block_diag(m.w[: c // 2, :3], m.w[c // 2 :, 3:]),
        lambda m, x: x @ torch.linalg.matrix_power(m.w @ m.w.mT, 3),
        lambda m, x: (torch.cov(m.w) + torch.corrcoef(m.w)).mv(x[0]) + x,
    )
    return Apply(way, w=w, v=v, b=parameter(6))


@stage(VECTOR)
def bilinear(draw: Draw, n: int, c: int) -> nn.Module:
    """A bilinear form of the two halves."""
    return Apply(lambda m, x: m.form(*x.chunk(2, 1)), form=nn.Bilinear(c // 2, c // 2, draw.even(2, 6), draw.flag()))


@stage(VECTOR)
def low_rank(draw: Draw, n: int, c: int) -> nn.Module:
    """A weight that is made of two: the product is a product as well."""
    return Apply(
        lambda m, x: F.linear(x, m.b @ m.a, None) + F.linear(x, m.b @ m.a), a=parameter(2, c), b=parameter(6, 2)
    )


@stage(SEQUENCE)
def distances(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """cdist, cosine similarity, pairwise distance, norms."""
    way = draw.pick(
        lambda x: torch.cdist(x, x).mean(-1, keepdim=True) + x,
        lambda x: F.cosine_similarity(x, x[:, :1], dim=2).unsqueeze(2) + x,
        lambda x: F.pairwise_distance(x, x.flip(1), keepdim=True) + x,
        lambda x: F.normalize(x, dim=-1),
        lambda x: (
            x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + torch.linalg.matrix_norm(x)[:, None, None]
        ),
        lambda x: x.renorm(2, 0, 1.0) + torch.dist(x, x * 2),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def linear_algebra(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Factorisations and solutions of a positive matrix; products are counted, these have no rule."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = x.tanh()
        positive = y.mT @ y + torch.eye(c)
        return y + m.way(positive, y)

    way = draw.pick(
        lambda a, y: torch.linalg.solve(a, y.mT).mT,
        lambda a, y: y @ torch.linalg.inv(a),
        lambda a, y: torch.linalg.solve_triangular(torch.linalg.cholesky(a), y.mT, upper=False).mT,
        lambda a, y: torch.linalg.eigh(a)[0].unsqueeze(1),
        lambda a, y: y @ torch.linalg.qr(a)[0] + torch.geqrf(a.detach())[0][:, :1],
        lambda a, y: torch.linalg.det(a)[:, None, None] + torch.logdet(a)[:, None, None],
        lambda a, y: torch.linalg.svdvals(a).unsqueeze(1),
        lambda a, y: y @ torch.matrix_exp(a * 0.1),
        lambda a, y: torch.cholesky_solve(y.mT, torch.linalg.cholesky(a)).mT,
        lambda a, y: a.diagonal(dim1=1, dim2=2).unsqueeze(1) + torch.einsum("nii->n", a)[:, None, None],
    )
    return Apply(forward, way=way)


@stage(SEQUENCE)
def grouped_matrices(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The steps of all samples, in groups whose ends are constants: each group meets a matrix of its own."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        ends = torch.tensor([1, n * t], dtype=torch.int32)
        if not m.written:
            return (
                F.grouped_mm(F.pad(rows, (0, 16 - c)).bfloat16(), m.weight.bfloat16(), offs=ends).float().view(n, t, 8)
            )
        parts = rows.tensor_split(ends[:1].long())
        weights = m.weight[:, :c].unbind(0)
        return torch.cat([part @ weight for part, weight in zip(parts, weights, strict=True)]).view(n, t, 8)

    return Apply(forward, weight=parameter(2, 16, 8), written=draw.flag())


@stage(IMAGE)
def channel_products(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """The Gram matrix of the channels mixes the channels."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return torch.einsum("ncd,ndhw->nchw", flat @ flat.mT / (h * w), x)

    return Apply(forward)
