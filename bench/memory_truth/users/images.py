"""Networks for images as users write them: a U-Net, mixers, transformers, unusual convolutions."""

# ruff: noqa: D102, forward reads as its user wrote it

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.memory_truth.users.given import Program, both, floats


def conv_block(inputs: int, outputs: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
    )


class UNet(nn.Module):
    """Down by pooling, up by transposed convolutions or interpolation, skips concatenated."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96), transposed: bool = True) -> None:
        super().__init__()
        self.transposed = transposed
        self.downs, self.ups, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = 3
        for width in widths:
            self.downs.append(conv_block(channels, width))
            channels = width
        self.middle = conv_block(widths[-1], widths[-1] * 2)
        channels = widths[-1] * 2
        for width in reversed(widths):
            up = nn.ConvTranspose2d(channels, width, 2, stride=2) if transposed else nn.Conv2d(channels, width, 1)
            self.ups.append(up)
            self.blocks.append(conv_block(width * 2, width))
            channels = width
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            skip = skips.pop()
            if not self.transposed:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([up(x), skip], dim=1))
        return self.head(x)


class MobileBlock(nn.Module):
    """An inverted residual with squeeze and excitation, Hardswish."""

    def __init__(self, width: int, expand: int = 4, kernel: int = 5) -> None:
        super().__init__()
        mid = width * expand
        self.expand = nn.Sequential(nn.Conv2d(width, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(mid, mid, kernel, padding=kernel // 2, groups=mid, bias=False),
            nn.BatchNorm2d(mid),
            nn.Hardswish(),
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(mid, mid // 4, 1),
            nn.ReLU(),
            nn.Conv2d(mid // 4, mid, 1),
            nn.Hardsigmoid(),
        )
        self.project = nn.Sequential(nn.Conv2d(mid, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(self.expand(x))
        return x + self.project(y * self.squeeze(y))


class Classifier(nn.Module):
    """A stem, some blocks, a pooled head."""

    def __init__(self, blocks: list[nn.Module], width: int, stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride, 1)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class Patches(nn.Module):
    """A ViT whose tokens are viewed as a map again for a convolution, attention written out."""

    def __init__(self, width: int = 96, heads: int = 4, patch: int = 8, size: int = 96) -> None:
        super().__init__()
        self.heads, self.side = heads, size // patch
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(torch.zeros(1, self.side**2, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))
        self.up = nn.PixelShuffle(2)
        self.last = nn.Conv2d(width // 4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2) + self.place
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, n, c))
        image = x.transpose(1, 2).view(b, c, self.side, self.side)
        x = x + self.local(image).flatten(2).transpose(1, 2)
        x = x + self.mlp(self.norm2(x))
        return self.last(self.up(x.transpose(1, 2).reshape(b, c, self.side, self.side)))


class MixerBlock(nn.Module):
    """MLP-Mixer: across tokens, then across channels."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Patches by unfold, blocks, mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 8 * 8, 128)
        self.blocks = nn.ModuleList(MixerBlock(64, 128) for _ in range(3))
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(F.unfold(x, 8, stride=8).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class Atrous(nn.Module):
    """DeepLab's pyramid: dilated convolutions side by side and a pooled branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_block(3, 32, nn.Mish)
        self.branches = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=r, dilation=r) for r in (1, 3, 6))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 32, 1), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(128, 64, 1), nn.GroupNorm(8, 64), nn.ReLU6(), nn.Dropout2d(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        pooled = F.interpolate(self.pooled(x), size=x.shape[-2:], mode="nearest")
        return self.project(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))


class ResNeXtBlock(nn.Module):
    """Grouped convolution and ELU with a pre-activation."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.one = nn.Conv2d(width, width, 1)
        self.grouped = nn.Conv2d(width, width, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.grouped(F.elu(self.one(F.elu(self.norm(x)))))


class ShuffleBlock(nn.Module):
    """Channels halved, shuffled by nn.ChannelShuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, groups=half), nn.BatchNorm2d(half),
        )  # fmt: skip
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return self.shuffle(torch.cat([kept, self.branch(changed)], 1))


class ChannelsLast(nn.Module):
    """Calls .to(memory_format=torch.channels_last) itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(conv_block(3, 32), nn.MaxPool2d(2), conv_block(32, 64), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x.contiguous(memory_format=torch.channels_last)).flatten(1))


class Siamese(nn.Module):
    """The same encoder on two images, and the distance of what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(conv_block(3, 24), nn.MaxPool2d(2), conv_block(24, 48), nn.AdaptiveMaxPool2d(1))
        self.head = nn.Linear(48, 32)

    def encode(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(self.encoder(x).flatten(1)), dim=-1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.pairwise_distance(self.encode(a), self.encode(b))


class Volume(nn.Module):
    """3-d convolutions with instance norm, and trilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(1, 16, 3, 2, 1), nn.InstanceNorm3d(16, affine=True), nn.LeakyReLU(0.01))
        self.body = nn.Sequential(nn.Conv3d(16, 16, 3, 1, 1), nn.InstanceNorm3d(16, affine=True), nn.LeakyReLU(0.01))
        self.head = nn.Conv3d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.down(x))
        return self.head(F.interpolate(y, scale_factor=2, mode="trilinear", align_corners=False))


IMAGES: dict[str, Program] = {
    "unet": (UNet, floats(3, 96, 96)),
    "unet interpolated": (lambda: UNet((16, 32), transposed=False), floats(3, 128, 128)),
    "mobile blocks": (lambda: Classifier([MobileBlock(24) for _ in range(3)], 24), floats(3, 128, 128)),
    "vit with maps": (Patches, floats(3, 96, 96)),
    "mixer": (Mixer, floats(3, 64, 64)),
    "atrous pyramid with mish": (Atrous, floats(3, 64, 64)),
    "grouped pre-activation": (lambda: Classifier([ResNeXtBlock(64, 8) for _ in range(3)], 64), floats(3, 96, 96)),
    "channel shuffle": (lambda: Classifier([ShuffleBlock(48) for _ in range(3)], 48), floats(3, 96, 96)),
    "channels last inside": (ChannelsLast, floats(3, 64, 64)),
    "siamese": (Siamese, both(floats(3, 64, 64), floats(3, 64, 64))),
    "3-d volume": (Volume, floats(1, 24, 32, 32)),
}
