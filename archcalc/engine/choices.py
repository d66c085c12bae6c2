"""The names that settings of a run choose among, without torch: a wrong one is told before anything is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcalc.engine.recipes import RECIPES
from archcalc.errors import ArchcalcError, BadInput, WrongUse

FLOATS = ("float32", "float64", "float16", "bfloat16")
MODES = ("eval", "train")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "adafactor", "lion")
LOSSES = ("sum", "mean", "cross-entropy", "mse")
ATTENTION = ("auto", "math", "flash", "efficient")
AMP = ("", "bf16", "fp16")


def one_of(names: Sequence[str], sentence: str, error: type[ArchcalcError] = WrongUse) -> Callable[[str], str]:
    """A function that returns a name if it is one of some, and raises an error with a sentence about it if not.

    >>> one_of(MODES, "there is no mode '{}'.")("eval")
    'eval'
    """

    def read(name: str) -> str:
        if name not in names:
            raise error(sentence.format(name), f"choose one of  {', '.join(filter(None, names))}")
        return name

    return read


dtype = one_of(("", *FLOATS), "'{}' is not a dtype.", error=BadInput)
mode = one_of(MODES, "there is no mode '{}'.")
optimizer = one_of(OPTIMIZERS, "there is no optimizer '{}'.")
loss = one_of(LOSSES, "there is no loss '{}'.")
attention = one_of(ATTENTION, "there is no attention '{}'.")
amp = one_of(AMP, "there is no mixed precision '{}'.")
recipe = one_of(("", *RECIPES), "there is no recipe '{}'.")
