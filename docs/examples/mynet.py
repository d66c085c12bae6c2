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


class Ranker(nn.Module):
    """Scores a batch that is a dict of a text and its features."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(1000, 32, mode="sum")
        self.score = nn.Linear(32 + 8, 1)

    def forward(self, batch: dict[str, Tensor], temperature: float = 1.0) -> Tensor:
        """N scores."""
        x = torch.cat([self.embedding(batch["text"]), batch["features"]], 1)
        return self.score(x) / temperature


def one_batch() -> dict[str, object]:
    """What Ranker's forward receives, by the names of its arguments."""
    text, features = torch.zeros(4, 12, dtype=torch.int64), torch.zeros(4, 8)
    return {"batch": {"text": text, "features": features}, "temperature": 0.5}


def make_net(width: int = 64) -> TwoTower:
    """A network of some width."""
    return TwoTower(width)


class Whiten(nn.Module):
    """Uses an op that no counter has a formula for."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows without correlation."""
        return x @ torch.linalg.inv(x.T @ x)


class Experts(nn.Module):
    """Each token goes to the best 2 of 8 experts; which ones is in its values."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(32, 8, bias=False)
        self.experts = nn.ModuleList(nn.Linear(32, 32, bias=False) for _ in range(8))

    def forward(self, x):
        chosen = self.router(x).topk(2, -1).indices  # N, 2
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, _ = torch.where(chosen == number)
            y.index_add_(0, token, expert(x[token]))
        return y
