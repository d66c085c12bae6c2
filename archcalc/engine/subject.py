"""A model with its inputs, as studies pass it to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    AnyModel = str | nn.Module | type[nn.Module]


@dataclass(frozen=True)
class Subject:
    """A model together with inputs, for studies that trace it many times under different setups."""

    model: AnyModel
    inputs: Any

    def __str__(self) -> str:
        """The reference, or the name of the class."""
        model = self.model
        return model if isinstance(model, str) else (model if isinstance(model, type) else type(model)).__name__
