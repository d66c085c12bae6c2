"""Stages of images: convolutions, pools, resampling, paddings, normalisations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.random_programs.stage import IMAGE, SEQUENCE, Apply, Draw, parameter, stage


@stage(IMAGE)
def conv2d(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Groups, dilation, stride and modes of padding."""
    kernel, stride, dilation = draw.pick((1, 1), (3, 2), (3, 3)), draw.pick(1, 2), draw.pick(1, 2)
    padding = draw.pick(2, (2, 3), "same" if stride == 1 else 2)
    mode = draw.pick("zeros", "reflect", "replicate", "circular")
    return nn.Conv2d(
        c, draw.even(), kernel, stride, padding, dilation, draw.pick(1, 1, 2), draw.flag(), padding_mode=mode
    )


@stage(IMAGE)
def separable(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A convolution of each channel alone, then one of 1 x 1."""
    more = draw.pick(1, 2)
    depthwise = nn.Conv2d(c, more * c, 3, draw.pick(1, 2), 1, groups=c, bias=draw.flag())
    return nn.Sequential(depthwise, nn.ReLU6(), nn.Conv2d(more * c, draw.even(), 1))


@stage(IMAGE)
def conv_transpose2d(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Groups, dilation and output padding."""
    stride = draw.pick(2, (1, 2))
    extra = draw.pick(0, (0, 1))
    return nn.ConvTranspose2d(
        c, draw.even(), draw.pick(2, 3), stride, draw.pick(0, 1), extra, draw.pick(1, 2), draw.flag(), draw.pick(1, 2)
    )


@stage(IMAGE)
def conv1d_of_rows(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A convolution along the width, rows as channels; transposed, or with steps first, at times."""
    if draw.flag():
        order = torch.arange(w * n * 4 * c).view(w, n, 4 * c).permute(1, 2, 0).contiguous()

        def steps_first(m: Apply, x: Tensor) -> Tensor:
            steps = x.flatten(1, 2).permute(2, 0, 1).contiguous()
            return torch.conv_tbc(steps, m.weight, m.bias, 1).take(order).view(n, c, 4, w)

        return Apply(steps_first, weight=parameter(3, c * h, 4 * c), bias=parameter(4 * c))
    layer = nn.ConvTranspose1d if draw.flag() else nn.Conv1d
    return Apply(lambda m, x: m.conv(x.flatten(1, 2)).unflatten(1, (-1, 4)), conv=layer(c * h, 4 * c, 3, padding=1))


@stage(IMAGE)
def conv3d(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Channels as depth: two planes a group; and a transposed one back."""
    up = nn.Conv3d(1, 3, (2, 3, 3), (2, 1, 1), (0, 1, 1), bias=draw.flag())
    down = nn.ConvTranspose3d(3, 1, (2, 1, 1), (2, 1, 1)) if draw.flag() else nn.Conv3d(3, 2, 1)
    return Apply(lambda m, x: m.down(m.up(x.unsqueeze(1))).flatten(1, 2), up=up, down=down)


@stage(IMAGE)
def weights_from_data(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Each sample has its own kernels: the batch becomes groups."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        kernels = m.make(x.mean((2, 3))).view(n * m.out, c, 3, 3)
        return F.conv2d(x.reshape(1, n * c, h, w), kernels, padding=1, groups=n).view(n, m.out, h, w)

    out = draw.even(2, 6)
    return Apply(forward, make=nn.Linear(c, out * c * 9), out=out)


@stage(IMAGE)
def channels_last(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A convolution of a tensor whose channels are together in memory."""
    return Apply(lambda m, x: m.conv(x.to(memory_format=torch.channels_last)), conv=nn.Conv2d(c, c, 3, padding=1))


@stage(IMAGE)
def pool(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Maximum, average or a norm over windows; the last window may reach over the edge."""
    kernel, stride, ceil = draw.pick(2, 3, (2, 3)), draw.pick(1, 2, None), draw.flag()
    return draw.pick(
        nn.MaxPool2d(kernel, stride, draw.pick(0, 1), ceil_mode=ceil, dilation=1),
        nn.AvgPool2d(kernel, stride, draw.pick(0, 1), ceil, draw.flag(), draw.pick(None, 5)),
        nn.LPPool2d(2.0, kernel, stride, ceil),
        nn.MaxPool2d(2, 1, 1, dilation=2),
        nn.FractionalMaxPool2d(2, output_size=(h - 1, w - 2)),
    )


@stage(IMAGE)
def pool_1d_and_3d(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Pools along the width, and over channels and places together."""
    if draw.flag():
        return Apply(
            lambda m, x: m.pool(x.flatten(1, 2)).view(n, c, h, -1), pool=draw.pick(nn.MaxPool1d(2), nn.AvgPool1d(2))
        )
    return draw.pick(nn.MaxPool3d((1, 2, 2), 1), nn.AvgPool3d((1, 2, 2), 1), nn.AdaptiveAvgPool3d((c, 4, None)))


@stage(IMAGE)
def adaptive_pool(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """To a given size, an axis of it may stay."""
    size = draw.pick(1, 2, (None, 3), (4, None), 5)
    return draw.pick(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)(size)


@stage(IMAGE)
def unpool(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Maxima go back to their places."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        top, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(top, places, 2, output_size=x.shape if m.whole else None)

    return Apply(forward, whole=draw.flag() or h % 2 or w % 2)


@stage(IMAGE)
def interpolate(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """All modes, to a size or by a factor."""
    mode = draw.pick("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    smooth = mode in ("bilinear", "bicubic")
    how = draw.pick({"size": (5, 7)}, {"scale_factor": 2}, {"scale_factor": (1.5, 0.7)})
    if "size" not in how and mode != "area" and draw.flag():
        how["recompute_scale_factor"] = True
    more = {"align_corners": draw.flag(), "antialias": draw.flag()} if smooth else {}
    return Apply(lambda m, x: F.interpolate(x, mode=mode, **how, **more))


@stage(IMAGE)
def interpolate_1d_and_3d(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Rows alone, or channels and places together."""
    if draw.flag():
        mode = draw.pick("nearest", "linear")
        return Apply(lambda m, x: F.interpolate(x.flatten(1, 2), size=6, mode=mode).unflatten(1, (c, h)))
    mode = draw.pick("nearest", "trilinear")
    return Apply(lambda m, x: F.interpolate(x.unsqueeze(1), size=(4, 5, 6), mode=mode).squeeze(1))


@stage(IMAGE)
def shuffle(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Places become channels, channels become places or change their order."""
    return draw.pick(
        nn.Sequential(nn.Conv2d(c, 8, 1), nn.PixelShuffle(2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.PixelUnshuffle(2), nn.Conv2d(4 * c, 6, 1)),
        nn.ChannelShuffle(2) if c > 2 else nn.Identity(),  # two groups of one channel are a copy on the CPU alone
    )


@stage(IMAGE)
def pad(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """All modes; a constant may also be cut away."""
    mode = draw.pick("constant", "reflect", "replicate", "circular")
    sides = draw.pick((1, 2, 0, 1), (-1, 2, 1, 0)) if mode == "constant" else draw.pick((1, 2, 0, 1), (2, 2, 2, 2))
    return Apply(lambda m, x: F.pad(x, sides, mode, 1.0 if mode == "constant" else None))


@stage(IMAGE)
def norm_of_images(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Batch, group, instance and local response norms, and batch norm without running statistics."""
    return draw.pick(
        nn.BatchNorm2d(c, affine=draw.flag(), track_running_stats=draw.flag()),
        nn.GroupNorm(2, c),
        nn.InstanceNorm2d(c, affine=draw.flag(), track_running_stats=draw.flag()),
        nn.LocalResponseNorm(2),
        Apply(lambda m, x: F.batch_norm(x, None, None, training=True)),
    )


@stage(IMAGE)
def fold(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Patches, a linear layer of each, and back."""
    layer = nn.Linear(4 * c, 4 * c)
    return Apply(
        lambda m, x: F.fold(m.layer(F.unfold(x, 2, padding=1, stride=2).mT).mT, (h, w), 2, padding=1, stride=2),
        layer=layer,
    )


@stage(IMAGE)
def grid_sample(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A spatial transformer: the grid comes from the image."""
    mode, corners = draw.pick("bilinear", "nearest", "bicubic"), draw.flag()

    def forward(m: Apply, x: Tensor) -> Tensor:
        theta = m.locate(x.mean((2, 3))).view(n, 2, 3)
        grid = F.affine_grid(theta, [n, c, 5, 6], align_corners=corners)
        return F.grid_sample(x, grid, mode, "zeros", corners)

    return Apply(forward, locate=nn.Linear(c, 6))


@stage(IMAGE)
def squeeze_excite(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A gate for each channel."""
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 2, 1), nn.SiLU(), nn.Conv2d(2, c, 1), nn.Hardsigmoid())
    return Apply(lambda m, x: x * m.gate(x), gate=gate)


@stage(IMAGE)
def dense(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Every layer sees the concatenation of all before it."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        seen = [x]
        for layer in m.layers:
            seen.append(layer(torch.cat(seen, 1)))
        return torch.cat(seen, 1)

    layers = nn.ModuleList(
        nn.Sequential(nn.BatchNorm2d(c + 2 * i), nn.ReLU(inplace=True), nn.Conv2d(c + 2 * i, 2, 3, padding=1))
        for i in range(draw.size(1, 3))
    )
    return Apply(forward, layers=layers)


@stage(IMAGE)
def residual(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Two convolutions beside the identity; the sum is made in place at times."""
    body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(c, c, 3, padding=1))
    add = torch.Tensor.add_ if draw.flag() else torch.Tensor.add
    return Apply(lambda m, x: add(m.body(x), x).relu_(), body=body)


@stage(IMAGE)
def dropout_of_channels(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """All dropouts of modules; in evaluation they do nothing."""
    return draw.pick(nn.Dropout2d, nn.Dropout, nn.FeatureAlphaDropout, nn.AlphaDropout)(0.3)


@stage(IMAGE)
def attention_of_places(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A map of the places' products, added back with a trained factor that begins at 0."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).flatten(2).chunk(3, 1)
        weights = torch.softmax(torch.bmm(q.transpose(1, 2), k), -1)
        return x + m.gain * torch.bmm(v, weights.transpose(1, 2)).view_as(x)

    return Apply(forward, qkv=nn.Conv2d(c, 3 * c, 1), gain=nn.Parameter(torch.zeros(1)))


@stage(IMAGE, SEQUENCE)
def patches(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Patches of 4 x 4 are tokens; a class token stands before them, and a trained position is added."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        tokens = torch.cat([m.first.expand(n, -1, -1), m.embed(x).flatten(2).transpose(1, 2)], 1)
        return tokens + m.places[:, : tokens.shape[1]]

    width = draw.even(4, 8)
    return Apply(forward, embed=nn.Conv2d(c, width, 4, 4), first=parameter(1, 1, width), places=parameter(1, 20, width))


@stage(IMAGE, SEQUENCE)
def rows_as_steps(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """The mean over the width: a sequence of rows."""
    return Apply(lambda m, x: x.mean(3).mT if h <= 8 else x.mean(3).mT[:, ::2])
