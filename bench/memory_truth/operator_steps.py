"""Operators of torch's own database as models with one call, whose tensors that can be trained are parameters."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bench.operators import Call, database, seeded

SAMPLES = 40
"""Samples of an operator that are looked at."""


class Step(Call):
    """The call whose parameters go into the operator as they are, with nothing computed before it."""

    def forward(self, *tensors: Tensor) -> Any:
        """The operator's result."""
        given, own = iter(tensors), iter(self.weights)
        leaves = list(self.leaves)
        for place, is_own in zip(self.places, self.trained, strict=True):
            leaves[place] = next(own) if is_own else next(given)
        first, args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return self.operator(first, *args, **kwargs)


def trainable() -> list[str]:
    """Names of the operators that have a derivative in float32 on a CPU."""
    return sorted({op.formatted_name for op in database() if _has_derivative(op)})


def _has_derivative(operator: Any) -> bool:
    return operator.supports_autograd and torch.float32 in operator.supported_dtypes("cpu")


def largest_call(name: str) -> Step:
    """The operator on the largest of its samples in float32, by the elements of all its tensors."""
    operator = next(op for op in database() if op.formatted_name == name and _has_derivative(op))
    seeded()
    samples = islice(operator.sample_inputs("cpu", torch.float32, requires_grad=True), SAMPLES)
    calls = [Step(operator.op, sample, trained=True) for sample in samples]
    calls = [call for call in calls if len(call.weights)]
    return max(calls, key=lambda call: sum(t.numel() for t in call.tensors if t.layout is torch.strided))
