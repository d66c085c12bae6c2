"""A definition's own data: its paper, its knobs, its input, its published figures. No torch here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archcalc.errors import BadKnob, UnknownKnob
from archcalc.text.units import parse_count, rounds_to

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Paper:
    """The publication that a definition follows."""

    title: str
    authors: str
    year: int
    url: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}). {self.title}. {self.url}"


@dataclass(frozen=True)
class Published:
    """A published figure.

    `figure` is "params" or "macs"; `printed` the figure as printed ("25.6M", "3,857,973,248"); `where` the source.
    `called` is the source's own word where it differs from ours: ResNet's "FLOPs" are MACs. `note` gives the reason
    of a difference from our definition; `knobs` are the settings that reproduce the figure.
    """

    figure: str
    printed: str
    where: str
    called: str = ""
    note: str = ""
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The printed figure as an integer in base units."""
        return parse_count(self.printed)

    def agrees(self, ours: int) -> bool:
        """Whether `ours`, rounded to the digits that were printed, is the printed figure.

        >>> Published("params", "25.6M", "").agrees(25_557_032)
        True
        """
        return rounds_to(ours, self.printed)


@dataclass(frozen=True)
class Input:
    """An input of forward with named axes: those named batch, height, width and seq_len answer the shorthands."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = "float32"


def image(size: int, channels: int = 3) -> Input:
    """One square colour image, N x C x H x W."""
    return Input("x", ("batch", "channels", "height", "width"), (1, channels, size, size))


@dataclass(frozen=True)
class Family:
    """A family of the catalogue: a family's name means its default member."""

    name: str
    default: str
    title: str
    idea: str
    paper: Paper
    aliases: tuple[str, ...] = ()
    diagram: str = ""


@dataclass(frozen=True)
class Network:
    """A definition: `build` makes the module from knobs, `knobs` are this member's own values of them.

    `inputs` are what forward receives, or a function that gives them for the knobs. Knobs named in `either` say the
    same thing in two ways: setting one of them unsets the other. `same_as` is the reference of an implementation
    elsewhere with the same parameters and MACs. `remark` gives a note for some values of the knobs, '' for others.
    """

    name: str
    family: Family
    build: Callable[..., nn.Module]
    inputs: tuple[Input, ...] | Callable[[Mapping[str, Any]], tuple[Input, ...]]
    knobs: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    about: str = ""
    paper: Paper | None = None
    either: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    diagram: str = ""
    same_as: str = ""
    remark: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def drawing(self) -> str:
        """The member's own diagram, or its family's."""
        return self.diagram or self.family.diagram

    @property
    def source(self) -> Paper:
        """The member's own paper, or its family's."""
        return self.paper or self.family.paper

    @property
    def config(self) -> dict[str, Any]:
        """Every knob with the value this member gives it."""
        parameters = inspect.signature(self.build).parameters
        return {name: self.knobs.get(name, p.default) for name, p in parameters.items()}

    def inputs_for(self, config: Mapping[str, Any]) -> tuple[Input, ...]:
        """The inputs of the network with these knobs."""
        return self.inputs(config) if callable(self.inputs) else self.inputs

    def knobs_of_inputs(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The knobs that the shapes of the inputs depend on."""
        if not callable(self.inputs):
            return ()
        own = self.inputs(config)
        numbers = [knob for knob, value in config.items() if type(value) is int]
        return tuple(knob for knob in numbers if self.inputs({**config, knob: config[knob] + 1}) != own)

    def configured(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs with `settings` in place; UnknownKnob or BadKnob for what does not fit."""
        config = self.config
        if any(knob in settings for knob in self.either):
            config.update(dict.fromkeys(self.either))
        for knob, value in settings.items():
            if knob not in config:
                raise UnknownKnob(knob, self.name, list(config))
            config[knob] = _like(knob, value, self.config[knob], self._kind(knob))
        return config

    def _kind(self, knob: str) -> str:
        annotation = inspect.signature(self.build).parameters[knob].annotation
        return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _like(knob: str, value: Any, default: Any, kind: str) -> Any:
    """`value` as the type the knob is annotated with; a number may stand for a sequence of one.

    Knobs of other packages may have types that are not known here: their values pass as they are.
    """
    accepted: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "str": (str, int, float),
        "tuple": (tuple, list, int),
    }
    wanted = kind.split(" ", maxsplit=1)[0].split("[", maxsplit=1)[0]
    if wanted not in accepted or (value is None and "None" in kind):
        return value
    if value is None and wanted == "str":  # the word, which is nothing elsewhere
        return "none"
    if not isinstance(value, accepted[wanted]) or (wanted != "bool" and isinstance(value, bool)):
        raise BadKnob(knob, value, f"it is not {_ARTICLE[wanted]}", hint_for(knob, default))
    if wanted == "tuple":
        numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
        if not numbers or not all(type(number) is int for number in numbers):
            raise BadKnob(knob, value, f"it is not {_ARTICLE[wanted]}", hint_for(knob, default))
        return numbers
    return {"float": float, "str": str}.get(wanted, lambda same: same)(value)


def hint_for(knob: str, default: Any) -> str:
    """A setting to copy."""
    example = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"for example  --set {knob}={example}" if default is not None else f"leave {knob} out"


_ARTICLE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "tuple": "a list of numbers such as 6,12,24,16",
}


def at_least(knob: str, value: float, least: float) -> None:
    """Refuse a knob below `least` with a sentence."""
    if value < least:
        raise BadKnob(knob, value, f"it must be at least {least}", f"for example  --set {knob}={max(least, 1)}")


def one_of(knob: str, value: Any, choices: Mapping[Any, Any] | tuple[Any, ...]) -> None:
    """Refuse a knob outside `choices` with the list of them."""
    if value not in choices:
        raise BadKnob(knob, value, "it is not among the choices", f"choose one of  {', '.join(map(str, choices))}")


NETWORKS: dict[str, Network] = {}
REGISTERED_IN: dict[str, str] = {}
"""The file, by its import name, that has to be imported for a network to be there."""


def register(*networks: Network, file: str) -> None:
    """Add the members that `file` (its `__name__`) defines to the catalogue, in their order; a name is given once."""
    for network in networks:
        if network.name in NETWORKS:
            raise ValueError(f"{network.name} is registered twice")
        NETWORKS[network.name] = network
        REGISTERED_IN[network.name] = file
