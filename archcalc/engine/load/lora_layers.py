"""Layers with low-rank adapters beside them, op for op as PEFT's LoraLayer runs them.

LoRA: Low-Rank Adaptation of Large Language Models, Hu et al. 2021, arXiv:2106.09685. The base layer stays as it is; its
result gets B A x alpha / r added, where A has r rows and B r columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc.engine.lora import Lora
from archcalc.engine.meta.known_values import keep, kept

HALVES = (torch.float16, torch.bfloat16)


class LoraLayer(nn.Module):
    """A layer and its adapters; code that reads the layer's weight and bias gets those of the base."""

    def __init__(self, base_layer: nn.Module, lora: Lora) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.scaling = lora.alpha / lora.r
        self.lora_dropout = nn.Dropout(lora.dropout) if lora.dropout else nn.Identity()

    @property
    def weight(self) -> Any:
        """The base layer's."""
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        """The base layer's."""
        return self.base_layer.bias

    def adapters(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [p for name, p in self.named_parameters() if not name.startswith("base_layer.")]

    def raise_halves(self) -> None:
        """Give adapters of half precision the type float32, which is what PEFT keeps them in."""
        for parameter in self.adapters():
            if parameter.dtype in HALVES:
                values = kept(parameter)
                parameter.data = parameter.data.float()
                if values is not None:
                    keep(parameter, values.float())


class LoraLinear(LoraLayer):
    """A linear layer or a convolution, x -> base(x) + B(A(dropout(x))) * alpha / r."""

    def __init__(self, base_layer: nn.Module, lora: Lora, down: nn.Module, up: nn.Module) -> None:
        super().__init__(base_layer, lora)
        self.lora_A, self.lora_B = down, up

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The sum, in the type of the base layer's result."""
        result = self.base_layer(x, *args, **kwargs)
        dtype = result.dtype
        down: Any = self.lora_A
        x = x.to(down.weight.dtype)
        result = result + self.lora_B(down(self.lora_dropout(x))) * self.scaling
        return result.to(dtype)  # type: ignore[no-any-return]


class LoraEmbedding(LoraLayer):
    """A table of embeddings, x -> base(x) + A[x] B * alpha / r; dropout does not act on it."""

    def __init__(self, base_layer: nn.Embedding, lora: Lora) -> None:
        super().__init__(base_layer, lora)
        self.lora_embedding_A = nn.Parameter(torch.zeros(lora.r, base_layer.num_embeddings))
        self.lora_embedding_B = nn.Parameter(torch.randn(base_layer.embedding_dim, lora.r))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The sum, in the type of the base layer's result."""
        base: Any = self.base_layer
        result = base(x, *args, **kwargs)
        dtype = result.dtype
        down, up = self.lora_embedding_A.T, self.lora_embedding_B.T
        rows = functional.embedding(
            x, down, base.padding_idx, base.max_norm, base.norm_type, base.scale_grad_by_freq, base.sparse
        )
        added = (rows @ up) * self.scaling
        if (factor := _factor(base)) is not None:
            added = added * factor.to(added.dtype)
        result = result + added
        return result.to(dtype)  # type: ignore[no-any-return]


def _factor(base: Any) -> Tensor | None:
    """The number that an embedding multiplies its rows by itself, as those of Gemma do."""
    factor = getattr(base, "embed_scale", None)
    if isinstance(factor, int | float):
        return torch.tensor(factor, dtype=base.weight.dtype)
    return factor if isinstance(factor, Tensor) and factor.numel() == 1 else None


def linear(base: Any, lora: Lora, inputs: int, outputs: int) -> LoraLinear:
    """The layer with A of r rows and B of r columns, both without bias; B begins as zeros."""
    down, up = nn.Linear(inputs, lora.r, bias=False), nn.Linear(lora.r, outputs, bias=False)
    nn.init.zeros_(up.weight)
    return LoraLinear(base, lora, down, up)


def convolution(base: Any, lora: Lora) -> LoraLinear:
    """The layer with A of the base's kernel, stride and padding to r channels, and B of kernel 1 from them."""
    kind = type(base)
    down = kind(base.in_channels, lora.r, base.kernel_size, base.stride, base.padding, bias=False)
    up = kind(lora.r, base.out_channels, 1, 1, groups=base.groups, bias=False)
    nn.init.zeros_(up.weight)
    return LoraLinear(base, lora, down, up)
