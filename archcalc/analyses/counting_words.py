"""The conventions of counting MACs by name, and our own in words: what help and pages say, without the rules of ops."""

from __future__ import annotations

from archcalc.errors import WrongUse

OURS = "1 MAC = 2 FLOPs; contractions only (convolution, linear, matmul, attention)"
NAMES = ("archcalc", "half-causal", "windowed", "torch", "fvcore", "thop", "ptflops")


def demand_convention(name: str) -> None:
    """WrongUse, with all names, if there is no convention of that name."""
    if name not in NAMES:
        raise WrongUse(f"there is no convention '{name}'.", f"choose one of  {', '.join(NAMES)}")
