"""Stages that change how a tensor is seen: views, geometry changed in place, sizes of zero, writes into views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.random_programs.stage import IMAGE, SEQUENCE, VECTOR, Apply, Draw, stage


@stage(SEQUENCE)
def transposed_in_place(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """transpose_, swapaxes_ or swapdims_ and a layer of the other axis."""
    swap = draw.pick(torch.Tensor.transpose_, torch.Tensor.swapaxes_, torch.Tensor.swapdims_)

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = x.clone()
        swap(y, 1, 2)
        return swap(m.layer(y), 1, 2)

    return Apply(forward, layer=nn.Linear(t, t))


@stage(VECTOR)
def matrix_in_place(draw: Draw, n: int, c: int) -> nn.Module:
    """t_ of a matrix and of its product."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = (x + 1).t_()
        return (m.weight @ y).t_()

    return Apply(forward, weight=nn.Parameter(torch.randn(4, c)))


@stage(SEQUENCE)
def squeezed_in_place(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """unsqueeze_ before a convolution, squeeze_ behind it."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        return m.conv(m.layer(x).unsqueeze_(1)).squeeze_(1)

    return Apply(forward, layer=nn.Linear(c, 4), conv=nn.Conv2d(1, 1, 3, padding=1))


@stage(VECTOR)
def resized_in_place(draw: Draw, n: int, c: int) -> nn.Module:
    """resize_ of a buffer made in forward, and resize_as_."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        room = torch.empty(0).resize_(n, 6).zero_()
        other = torch.empty(1).resize_as_(room.detach()).fill_(1.0)
        return m.layer(x) + room + other

    return Apply(forward, layer=nn.Linear(c, 6))


@stage(VECTOR)
def strided(draw: Draw, n: int, c: int) -> nn.Module:
    """as_strided, and as_strided_ in place: a window of the same elements."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = m.layer(x)
        windows = y.as_strided((n, 3, 4), (8, 2, 1))
        flat = torch.zeros(n * 8).as_strided_((n, 4), (8, 1), 2)
        return windows.sum(1) + flat

    return Apply(forward, layer=nn.Linear(c, 8))


@stage(VECTOR)
def other_storage(draw: Draw, n: int, c: int) -> nn.Module:
    """set_ gives a tensor the elements and the shape of another; .data does so too."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y, z = torch.empty(0), torch.empty(2)
        y.set_(torch.ones(n, 4))
        z.data = torch.ones(n, 4)
        return m.layer(x) * y + z

    return Apply(forward, layer=nn.Linear(c, 4))


@stage(IMAGE)
def views_of_images(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """movedim, flatten, unflatten, swapaxes, rot90, flip, roll, squeeze, expand."""
    way = draw.pick(
        lambda x: x.movedim(1, -1).flatten(1, 2).unflatten(1, (h, w)).movedim(-1, 1),
        lambda x: x.rot90(1, (2, 3)),
        lambda x: x.flip(2, 3).roll((1, -2), (2, 3)),
        lambda x: x[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2)[:, ::2],
        lambda x: x.reshape(n, c // 2, 2, h, w).swapaxes(1, 2).reshape(x.shape),
        lambda x: x.mT.contiguous().view(n, c, w, h),
        lambda x: x.unsqueeze(0).squeeze(0).permute(0, 1, 3, 2),
        lambda x: x.narrow(2, 1, h - 1).diagonal(0, 2, 3).diag_embed(),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def parts(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """split, chunk, tensor_split, hsplit, unbind, select, and all together again."""
    way = draw.pick(
        lambda x: torch.cat(x.split([1, t - 1], 1)[::-1], 1),
        lambda x: torch.cat(x.chunk(3, 1), 1),
        lambda x: torch.cat(x.tensor_split((1, 2), 1), 1),
        lambda x: torch.cat(x.tensor_split(3, dim=2), 2),
        lambda x: torch.cat(x.tensor_split(torch.tensor([1, 2]), 1), 1),
        lambda x: torch.hstack(torch.hsplit(x, [2])),
        lambda x: torch.stack(x.unbind(1), 1),
        lambda x: torch.dstack([x.select(1, i) for i in range(t)]).mT,
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE)
def windows(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Unfold along the steps, and a layer of each window."""
    return Apply(lambda m, x: m.layer(x.unfold(1, 2, 1).flatten(2)), layer=nn.Linear(2 * c, 6))


@stage(SEQUENCE)
def repeated(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """repeat, tile, repeat_interleave, expand and broadcast_to, then fewer steps again."""
    way = draw.pick(
        lambda x: x.repeat(1, 2, 1),
        lambda x: x.tile((1, 2, 1)),
        lambda x: x.repeat_interleave(2, 1),
        lambda x: x.repeat_interleave(torch.tensor([2] + [1] * (t - 1)), dim=1),
        lambda x: x.mean(1, keepdim=True).expand_as(x),
        lambda x: torch.broadcast_to(x[:, :1], (n, 3, c)),
    )
    return Apply(lambda m, x: way(x)[:, -t:])


@stage(SEQUENCE)
def nothing_of_it(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Tensors of no element: an empty slice through a layer, sums over nothing, concatenation with it."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        none = m.layer(x[:, :0])
        zeros = none.mT @ x[:, :0]  # products over no step: C, C of zeros
        return torch.cat([none, m.layer(x) + zeros.sum(1, keepdim=True), none.sum(1, keepdim=True)], 1)[:, 1:]

    return Apply(forward, layer=nn.Linear(c, c))


@stage(SEQUENCE)
def written_into(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Slices that are assigned, filled, copied and multiplied in place."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = m.layer(x)
        out = torch.zeros_like(y) if m.like else torch.zeros(n, t, c)
        out[:, ::2] = y[:, ::2] * 2
        out[:, 1::2].copy_(y[:, 1::2])
        out[..., 0].fill_(1.0)
        out.narrow(1, 0, 1).mul_(3).add_(1)
        out[:, -1, :] += 1
        return out

    return Apply(forward, layer=nn.Linear(c, c), like=draw.flag())


@stage(IMAGE, VECTOR)
def means(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """The mean of each channel, by one of many ways."""
    way = draw.pick(
        lambda x: x.mean((2, 3)),
        lambda x: x.flatten(2).mean(-1),
        lambda x: x.amax((-2, -1)),
        lambda x: x.view(n, c, -1).logsumexp(2),
        lambda x: x.sum(3).sum(2) / (h * w),
        lambda x: x.std((2, 3)),
        lambda x: x.flatten(2).norm(dim=2),
    )
    return Apply(lambda m, x: way(x))


@stage(SEQUENCE, VECTOR)
def one_step(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """One step of the sequence, or all of them in a mean."""
    way = draw.pick(lambda x: x[:, -1], lambda x: x.select(1, 0), lambda x: x.mean(1), lambda x: x.max(dim=1).values)
    return Apply(lambda m, x: way(x))


@stage(VECTOR, SEQUENCE)
def as_steps(draw: Draw, n: int, c: int) -> nn.Module:
    """A layer makes all steps at once."""
    t, width = draw.size(3, 6), draw.even(2, 8)
    return Apply(lambda m, x: m.layer(x).view(n, t, width), layer=nn.Linear(c, t * width))


@stage(VECTOR, IMAGE)
def as_image(draw: Draw, n: int, c: int) -> nn.Module:
    """A layer makes a small image, and a transposed convolution a larger one."""
    layers = [nn.Linear(c, 4 * 9), nn.Unflatten(1, (4, 3, 3)), nn.ConvTranspose2d(4, 4, 2, 2)]
    return nn.Sequential(*layers)


@stage(SEQUENCE, IMAGE)
def as_map(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The products of all pairs of steps: a map of the sequence with itself."""
    pad = nn.ZeroPad2d((0, 1, 1, 0))
    return Apply(lambda m, x: m.pad(torch.stack([x @ x.mT, torch.cdist(x, x)], 1)), pad=pad)


@stage(IMAGE)
def resize_image(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """To a size that every stage can take."""
    return nn.Sequential(nn.Conv2d(c, draw.even(2, 8), 1), nn.AdaptiveAvgPool2d((draw.size(4, 7), draw.size(4, 7))))


@stage(SEQUENCE)
def resize_sequence(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """To a length and width that every stage can take."""
    layers = nn.Linear(c, draw.even(2, 8)), nn.AdaptiveAvgPool1d(draw.size(3, 6))
    return Apply(lambda m, x: m.pool(m.layer(x).mT).mT, layer=layers[0], pool=layers[1])


@stage(VECTOR)
def resize_vector(draw: Draw, n: int, c: int) -> nn.Module:
    """To a width that every stage can take."""
    return nn.Linear(c, draw.even())
