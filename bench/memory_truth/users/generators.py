"""Networks that make or warp images as users write them: two halves of a GAN, a VAE, super-resolution."""

# ruff: noqa: D102, forward reads as its user wrote it

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from bench.memory_truth.users.given import Program, floats
from bench.memory_truth.users.images import conv_block


class Generator(nn.Module):
    """DCGAN's generator: noise to an image by transposed convolutions."""

    def __init__(self, noise: int = 100, width: int = 32) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(noise, width * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(width * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 8, width * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 2, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z[:, :, None, None])


class Discriminator(nn.Module):
    """Strided convolutions with spectral norm and leaky activations in place."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.main = nn.Sequential(
            spectral_norm(nn.Conv2d(3, width, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True),
            spectral_norm(nn.Conv2d(width, width * 2, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True),
            spectral_norm(nn.Conv2d(width * 2, 1, 4, 2, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x).flatten(1).mean(1)


class SuperResolution(nn.Module):
    """ESPCN with residual scaling and PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 5, padding=2)
        self.act = nn.PReLU(32)
        self.body = nn.ModuleList(weight_norm(nn.Conv2d(32, 32, 3, padding=1)) for _ in range(4))
        self.last = nn.Conv2d(32, 3 * 9, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x))
        for layer in self.body:
            y = y + 0.1 * F.silu(layer(y))
        return F.pixel_shuffle(self.last(y), 3).clamp(-1, 1)


class VAE(nn.Module):
    """Encoder, a draw by the reparametrisation, decoder; returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU())
        self.mean, self.log = nn.Linear(64 * 256, 32), nn.Linear(64 * 256, 32)
        self.back = nn.Linear(32, 64 * 256)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.encoder(x).flatten(1)
        mean, log = self.mean(h), self.log(h)
        z = mean + torch.randn_like(log) * (0.5 * log).exp()
        image = self.decoder(self.back(z).view(-1, 64, 16, 16))
        return {"image": image, "kl": -0.5 * (1 + log - mean.pow(2) - log.exp()).sum(1)}


class Spatial(nn.Module):
    """A spatial transformer: affine_grid and grid_sample."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(nn.Conv2d(3, 8, 7, 2), nn.MaxPool2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.affine = nn.Linear(8 * 16, 6)
        self.net = conv_block(3, 32)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.affine(self.where(x).flatten(1)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return self.net(F.grid_sample(x, grid, align_corners=False))


GENERATORS: dict[str, Program] = {
    "gan generator": (Generator, floats(100)),
    "gan discriminator": (Discriminator, floats(3, 64, 64)),
    "super resolution": (SuperResolution, floats(3, 48, 48)),
    "vae with dict": (VAE, floats(3, 64, 64)),
    "spatial transformer": (Spatial, floats(3, 64, 64)),
}
