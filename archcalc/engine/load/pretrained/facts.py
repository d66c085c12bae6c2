"""What the inputs of a model of transformers follow from: its configuration, what was asked for, its arguments."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from archcalc.engine.load.pretrained.library_defaults import defaults_beside, defaults_lent
from archcalc.networks.spec import Input

if TYPE_CHECKING:
    from archcalc.engine.setup import Setup

TOKENS = 128
"""Default length of a text. A configuration states only the longest, which may be a million."""
OURS = f"{TOKENS} tokens by default: --seq-len"
CONFIG = "its config"
PROCESSOR = "its processor"
VISION = ("vision", "image", "visual", "vit", "encoder", "backbone")
SOUND = ("audio", "speech", "sound", "acoustic", "semantic", "encoder")


def each(names: str, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The same settings for several model types."""
    return {name: dict(settings) for name in names.split()}


def is_pretrained(module: Any) -> bool:
    """Whether a module is a model of transformers, by what such models have."""
    return hasattr(module, "main_input_name") and hasattr(getattr(module, "config", None), "to_dict")


def quiet(module: Any) -> contextlib.AbstractContextManager[None]:
    """A block in which transformers gives a model of its own no advice."""
    library = sys.modules.get("transformers") if is_pretrained(module) else None
    return contextlib.nullcontext() if library is None else without_advice(library)


@contextlib.contextmanager
def without_advice(library: Any) -> Iterator[None]:
    """In this block transformers tells errors alone: its advice is for those who run a model, not for a count."""
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity_error()
    try:
        yield
    finally:
        library.logging.set_verbosity(verbosity)


@dataclass(frozen=True)
class Made:
    """An input with where its sizes come from, and the values that it is taken to have."""

    input: Input
    origin: str = CONFIG
    values: Tensor | None = None


class Facts:
    """A model, its configurations, and the sizes that were asked for; `applied` notes which of these were used."""

    def __init__(self, model: Any, setup: Setup) -> None:
        self.model, self.config = model, model.config
        self.parameters = inspect.signature(model.forward).parameters
        self.required = [
            name
            for name, parameter in self.parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        ]
        self.asked: dict[str, int | None] = {
            "batch": setup.batch, "seq_len": setup.seq_len, "images": setup.images,
            "height": setup.size[0] if setup.size else None, "width": setup.size[1] if setup.size else None,
        }  # fmt: skip
        self.applied: set[str] = set()
        self.made: dict[str, Made] = {}

    def size(self, name: str, default: int) -> int:
        """A size that was asked for, or its default."""
        self.applied.add(name)
        value = self.asked[name]
        return default if value is None else value

    def was_asked(self, *names: str) -> bool:
        """Whether one of some sizes was asked for."""
        return any(self.asked[name] is not None for name in names)

    @property
    def batch(self) -> int:
        """The batch size."""
        return self.size("batch", 1)

    @property
    def images(self) -> int:
        """The images of one example."""
        return self.size("images", 1)

    @property
    def is_shown(self) -> bool:
        """Whether the model gets images: --images 0 leaves them out."""
        return self.asked["images"] != 0 or self.images > 0

    @cached_property
    def kind(self) -> str:
        """The model type of the configuration."""
        return str(getattr(self.config, "model_type", ""))

    @cached_property
    def nested(self) -> list[tuple[str, Any]]:
        """The configuration and all nested ones, outer ones first, each with its path."""
        found: list[tuple[str, Any]] = [("", self.config)]
        for path, config in found:
            for name, value in vars(config).items():
                if hasattr(value, "to_dict") and hasattr(value, "model_type"):
                    found.append((f"{path}.{name}" if path else name, value))
        return found

    def configs(self, words: tuple[str, ...]) -> list[Any]:
        """The configurations whose path has one of some words, by the order of the words; then the outermost."""
        ordered = [config for word in words for path, config in self.nested if word in path]
        return [*ordered, self.config]

    def first(self, *names: str, among: tuple[str, ...] = (), default: Any = None) -> Any:
        """The first value that is stated under one of some names."""
        for config in self.configs(among):
            for name in names:
                value = setting_of(config, name)
                if value is not None:
                    return value
        return default

    def number(self, *names: str, among: tuple[str, ...] = (), default: int = 0) -> int:
        """The first whole number under one of some names."""
        for config in self.configs(among):
            for name in names:
                value = setting_of(config, name)
                value = value[0] if isinstance(value, list | tuple) and value else value
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
        return default

    @cached_property
    def processor(self) -> Mapping[str, Any]:
        """The defaults of the library's processors for this model, or else for its parts."""
        merged: dict[str, Any] = {}
        for _, config in self.nested:
            for name, value in defaults_beside(config).items():
                merged.setdefault(name, value)
        return merged

    @property
    def lent_processor(self) -> Mapping[str, Any]:
        """The defaults of the image processor that the library lends this model from another one."""
        return defaults_lent(self.kind)

    def of_module(self, of: Callable[[str, Any], int]) -> int:
        """The first number that a function gives for a module of the model, by its path; 0 if it gives none."""
        return next((number for path, module in self.model.named_modules() if (number := of(path, module))), 0)

    @cached_property
    def text(self) -> Any:
        """The configuration of the text."""
        try:
            return self.config.get_text_config() if hasattr(self.config, "get_text_config") else self.config
        except ValueError:  # it has several
            return getattr(self.config, "decoder", self.config)

    @cached_property
    def special(self) -> frozenset[int]:
        """The numbers of tokens that mean something: padding, beginning, an image."""
        return frozenset(number for _, config in self.nested for number in _numbers(vars(config)))

    @cached_property
    def ordinary(self) -> int:
        """The number of a token that means nothing special."""
        rows = getattr(self.text, "vocab_size", None)
        rows = rows if isinstance(rows, int) and rows > 0 else 1 << 30
        return next((number for number in range(3, min(rows, 10_000)) if number not in self.special), 0)


def setting_of(config: Any, name: str) -> Any:
    """A setting of a configuration; None where it has none, or where its layers differ in it."""
    try:
        return getattr(config, name, None)
    except RuntimeError:  # transformers' AmbiguousGlobalPerLayerAttributeError
        return None


def with_cache(config: Any) -> Iterator[Any]:
    """The configuration and the parts in it, however deep, that say whether a decoder keeps a cache."""
    if "use_cache" in getattr(config, "__dict__", {}):
        yield config
    for part in getattr(config, "__dict__", {}).values():
        if hasattr(part, "to_dict"):
            yield from with_cache(part)


OF_TEXT = ("text_config", "llm_config", "thinker_config")
"""Parts of a configuration that describe the model of texts, and may state what the whole does not."""


def stated_type(config: Any) -> str:
    """The type of floats that a configuration, or else the part of it that makes the text, states; '' for none."""
    parts = [config, *(getattr(config, name, None) for name in OF_TEXT)]
    values = (  # the library warns of its former name wherever that is read
        value for part in parts if part for value in (getattr(part, "dtype", None), vars(part).get("torch_dtype"))
    )
    return next((str(value).removeprefix("torch.") for value in values if value is not None), "")


def _numbers(settings: Mapping[str, Any]) -> Iterator[int]:
    for name, value in settings.items():
        if not name.endswith(("_token_id", "_token_index", "_token", "_token_ids", "_idx")):
            continue
        yield from (n for n in (value if isinstance(value, list | tuple) else [value]) if isinstance(n, int))
