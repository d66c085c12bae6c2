"""What a model declares of its inputs: names, axes, shapes, the values that some are taken to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from archcalc.networks.spec import Input


@dataclass(frozen=True)
class Declaration:
    """The inputs that a model declares, where they come from in words, and whether forward takes them by name.

    `knobs` are those of the model that the shapes of the inputs depend on. `origins` says of single inputs where they
    come from, `values` what they are taken to hold. `applied` are the shorthands that the shapes already follow, and
    `fixed` says why there are none for the sizes of the inputs. Inputs that are `listed` go into a list, alone.
    """

    inputs: Sequence[Input] = ()
    origin: str = "default"
    by_name: bool = False
    knobs: Sequence[str] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Tensor] = field(default_factory=dict)
    applied: frozenset[str] = frozenset()
    fixed: str = ""
    listed: frozenset[str] = frozenset()

    @property
    def instead(self) -> str:
        """The options to type for sizes that are knobs, or why sizes are fixed; '' if neither."""
        if self.fixed:
            return self.fixed
        if not self.knobs:
            return ""
        example = " ".join(f"--set {knob}=64" for knob in self.knobs if knob.endswith("_len")) or "--set KNOB=VALUE"
        return f"its sizes are knobs ({', '.join(self.knobs)}): write  {example}"


UNKNOWN = Declaration()


def image(name: str, channels: int, height: int, width: int) -> Input:
    """One image, N x C x H x W."""
    return Input(name, ("batch", "channels", "height", "width"), (1, channels, height, width))
