"""The network that the documentation measures as its reader's own."""

import torch
from torch import Tensor, nn


class TwoTower(nn.Module):
    """Matches images with texts: a convolution over the one, attention over the other."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, width, 16, stride=16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.embedding = nn.Embedding(1000, width)
        self.text = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Similarities, N x N."""
        return self.image(image) @ self.text(self.embedding(tokens)).mean(1).T


def make_net(width: int = 64) -> TwoTower:
    """A network of some width."""
    return TwoTower(width)


class Whiten(nn.Module):
    """Uses an op that no counter has a formula for."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows without correlation."""
        return x @ torch.linalg.inv(x.T @ x)
