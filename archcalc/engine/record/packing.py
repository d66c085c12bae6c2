"""The lengths of a packed batch where the program's own are unknown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archcalc.errors import BadInput

FULL_LENGTH = (
    "the lengths of the packed sequences are unknown: all are taken as full length (others: --lengths 20,12,5)"
)


def lengths_for(given: Sequence[int] | None, batch: int, longest: int) -> Tensor:
    """The lengths of `batch` sequences, longest first: those given, or the full length of the padded tensor.

    BadInput for lengths that do not fit the batch.
    """
    if not given:
        return torch.full((batch,), longest)
    if len(given) != batch or max(given) > longest:
        wanted = f"the packed batch has {batch} sequences of at most {longest}"
        raise BadInput(f"--lengths {','.join(map(str, given))} does not fit: {wanted}.", "give one length a sequence")
    return torch.tensor(sorted(given, reverse=True))
