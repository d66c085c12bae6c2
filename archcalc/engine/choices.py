"""The names that settings of a run choose among, without torch: a wrong one is told before anything is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from archcalc.engine.recipes import RECIPES
from archcalc.engine.setting_forms import checked_decay
from archcalc.errors import ArchcalcError, BadInput, WrongUse

FLOATS = ("float32", "float64", "float16", "bfloat16")
MODES = ("eval", "train")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "adafactor", "lion")
OWN_DECAY: Mapping[str, float] = {"adamw": 0.01}
"""Weight decay of the optimizers that have one unless told otherwise: torch's default."""
DECAY_IN_PLACE = ("adamw", "adafactor", "lion")
"""Optimizers that decay a weight in place; all others add its decay to the gradient, in a tensor of its own."""
LOSSES = ("sum", "mean", "cross-entropy", "mse")
ATTENTION = ("auto", "math", "flash", "efficient")
ONE_KERNEL = "one kernel"
"""Attention as one kernel wherever it is called, for devices whose kernels are not known; no option names it."""
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


def weight_decay(name: str, typed: float | None) -> float:
    """The weight decay of an optimizer by its name: what was typed, or its own for None.

    WrongUse if what was typed changes no figure: they depend on whether weights decay, not on how fast.

    >>> weight_decay("adamw", None), weight_decay("sgd", 5e-4)
    (0.01, 0.0005)
    """
    typed, own = checked_decay(typed), OWN_DECAY.get(name, 0.0)
    if typed is None:
        return own
    if bool(typed) != bool(own):
        return typed
    option = f"--weight-decay {typed:g}"
    if own:
        sentence = (
            f"{option} changes no figure: {name} decays weights by itself, by {own:g}, and the rate changes no work."
        )
        raise WrongUse(sentence, f"leave it out, or write  --weight-decay 0  for {name} without decay")
    raise WrongUse(
        f"{option} changes nothing: {name} does not decay weights by itself.",
        "leave it out, or write  --weight-decay 0.01",
    )
