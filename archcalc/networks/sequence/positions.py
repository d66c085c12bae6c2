"""Positions as sines and cosines (Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POSITIONAL_ENCODING_DRAWING = """
             dim 0   dim 1   dim 2               dim 3
position 0   sin 0   cos 0   sin 0               cos 0              ...
position 1   sin 1   cos 1   sin 1/10000^(2/d)   cos 1/10000^(2/d)
position 2   sin 2   cos 2   sin 2/10000^(2/d)   cos 2/10000^(2/d)
x + PE: one addition an element, no parameters;
neighbours in a row are a pair of one wavelength
"""


def sinusoids(length: int, d_model: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos of the same: length, d_model."""
    position = torch.arange(length).unsqueeze(1)
    rate = 10_000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], 2).flatten(1)


class PositionalEncoding(nn.Module):
    """x + PE of the first n positions of a table that is made once: N, n, d_model -> N, n, d_model."""

    def __init__(self, length: int, d_model: int) -> None:
        super().__init__()
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(length, d_model), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.positions[: x.shape[1]]  # N, n, d_model
