"""Models of transformers from a configuration: a local config.json, an installed class, or the hub's config.json.

hf:path/to/config.json   a file                              hf:bert  hf:BertConfig     an installed configuration
hf:path/to/folder        the config.json in it               hf:BertForMaskedLM         that model by its defaults
hf:ORG/NAME              its config.json, from the hub
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archcalc.engine.load.declaration import Declaration
from archcalc.engine.load.declared_inputs import inputs_of
from archcalc.engine.load.pretrained.as_read import named_alike, read_otherwise
from archcalc.engine.load.pretrained.as_written import Unreadable, as_read, setting_with
from archcalc.engine.load.pretrained.attention import without_missing_kernels
from archcalc.engine.load.pretrained.facts import with_cache, without_advice
from archcalc.engine.load.pretrained.sensible_defaults import completed_defaults
from archcalc.engine.load.references import InLibrary, demand_known
from archcalc.engine.setup import Setup
from archcalc.errors import BadReference, CannotImport, UnknownKnob, WrongUse, one_line

HINT = "write  hf:ORG/NAME, hf:path/to/config.json, hf:bert or hf:BertForMaskedLM"
IN_FILE = "correct it in the file, or here with  --set NAME=VALUE"
Found = tuple[Any, str, Sequence[str]]
"""A configuration, the model class where the reference names one, and notes."""


def build(library: ModuleType, reference: InLibrary, setup: Setup) -> tuple[nn.Module, Declaration, Sequence[str]]:
    """The model of a configuration, its first architecture or else the bare one, with `--set` changing the former.

    Nothing is downloaded but a config.json of the hub, and that only for hf:ORG/NAME without --offline.
    """
    with without_advice(library):
        return _built(library, reference, setup)


def _built(library: ModuleType, reference: InLibrary, setup: Setup) -> tuple[nn.Module, Declaration, Sequence[str]]:
    try:
        config, kind, notes = _config(library, reference, setup)
    except Exception as error:
        if (needs := _needs_hub(reference, error)) is not None:
            raise needs from None
        raise
    for knob, value in _plain(config, setup.knobs, reference).items():
        setattr(config, knob, value)
    for part in with_cache(config):  # a forward pass over the whole text, not a step of generation
        part.use_cache = setup.knobs.get("use_cache", False)
    class_, more = _model_class(library, config, kind, reference)
    more = [*more, *without_missing_kernels(config)]
    with _without_network(), _named_settings(reference, config.to_dict()):
        module = class_(config)
    _group_experts(module)
    return module, inputs_of(module, setup), (*notes, *more)


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """In this block huggingface_hub asks no server: some configurations and constructors would ask for a backbone."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _named_settings(reference: InLibrary, settings: dict[str, Any]) -> Iterator[None]:
    """In this block a value of the settings that a table of the library does not have is refused by its setting."""
    try:
        yield
    except KeyError as error:
        if not error.args or not (stated := setting_with(settings, error.args[0])):
            raise
        sentence = f"{reference.text} cannot be built so: transformers knows no {stated}."
        raise WrongUse(sentence, IN_FILE) from error


def _group_experts(module: nn.Module) -> None:
    """Let experts that can be multiplied in groups be so: the eager ones ask which experts the values choose."""
    for member in module.modules():
        setter = getattr(member, "set_experts_implementation", None)
        if setter is not None:
            with contextlib.suppress(ValueError):  # that model has no other
                setter("grouped_mm")


def _config(library: ModuleType, reference: InLibrary, setup: Setup) -> Found:
    name = reference.name
    path = Path(name).expanduser()
    if name.endswith((".json", "/")) or name[0] in "./~" or (path / "config.json").is_file():
        return _read(library, reference, path if path.is_file() else path / "config.json", setup)
    if "/" in name:
        return _read(library, reference, _from_hub(reference, setup.offline), setup)
    mapping = library.CONFIG_MAPPING
    wanted = name.lower().replace("-", "_")
    types = {key.replace("-", "_"): key for key in mapping}
    if wanted in types:
        return _default(mapping[types[wanted]], "", setup)
    named: Any = getattr(library, name, None) if name in dir(library) else None
    if isinstance(named, type) and issubclass(named, library.PreTrainedConfig):
        return _default(named, "", setup)
    config: Any = getattr(named, "config_class", None)
    if isinstance(named, type) and issubclass(named, library.PreTrainedModel) and config is not None:
        return _default(config, name, setup)
    demand_known(reference, name, list(mapping))
    raise BadReference(reference.text, "transformers has no such configuration", HINT)


def _default(kind: Any, name: str, setup: Setup) -> Found:
    """The default configuration; where the library's own defaults make no model, with what they lack."""
    with _without_network():
        config, notes = completed_defaults(kind, setup.knobs)
    return config, name, notes


def _read(library: ModuleType, reference: InLibrary, path: Path, setup: Setup) -> Found:
    try:
        settings = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_number)
    except OSError as error:
        raise BadReference(reference.text, f"{path} cannot be read ({error.strerror})", HINT) from None
    except (ValueError, RecursionError) as error:
        raise BadReference(reference.text, f"{path} is not JSON ({error})", HINT) from None
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind is None:
        raise BadReference(reference.text, f"{path.name} states no model_type", _without_type(settings))
    if kind not in library.CONFIG_MAPPING:
        own = isinstance(settings, dict) and "auto_map" in settings
        reason = "its model is code on the hub, which archcalc does not run" if own else f"transformers has no '{kind}'"
        hint = _of_architecture(library, settings) or HINT
        raise BadReference(reference.text, f"{path.name} has model_type {kind!r}, and {reason}", hint)
    try:
        settings = as_read(_with_own_backbone(settings))
    except Unreadable as error:
        raise BadReference(reference.text, str(error), IN_FILE) from None
    with _without_network(), _named_settings(reference, settings):
        config = library.CONFIG_MAPPING[kind].from_dict(settings)
    stated = {**settings, **{knob: vars(config).get(knob) for knob in setup.knobs}}
    return config, "", tuple(read_otherwise(stated, config))


def _of_architecture(library: ModuleType, settings: dict[str, Any]) -> str:
    """The hint for a file whose architecture the library has, but not its model_type (Kimi K2); '' for others."""
    named = settings.get("architectures")
    name = named[0] if isinstance(named, list) and named else named
    class_ = getattr(library, name, None) if isinstance(name, str) and name in dir(library) else None
    kind = getattr(getattr(class_, "config_class", None), "model_type", "")
    hint = f'transformers has its {name}: if the code is that, write  "model_type": "{kind}"  in a copy of the file'
    return hint if kind in library.CONFIG_MAPPING else ""


def _without_type(settings: Any) -> str:
    """The hint for a configuration without model_type; those of diffusers have the name of a class."""
    class_ = settings.get("_class_name") if isinstance(settings, dict) else None
    if class_:
        return f"it is of diffusers: name its class  diffusers:{class_}"
    return 'add the type, such as  "model_type": "llama"'


def _number(found: dict[str, Any]) -> Any:
    """A number that JSON has no form for, as transformers saves it; any other object as it is.

    >>> json.loads('{"time_step_limit": [0.0, {"__float__": "Infinity"}]}', object_hook=_number)
    {'time_step_limit': [0.0, inf]}
    """
    text = found.get("__float__") if len(found) == 1 else None
    return float(text) if text in ("Infinity", "-Infinity", "NaN") else found


def _with_own_backbone(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with a backbone of timm as a part of them; the library would ask the hub whether it has its name."""
    name, more = settings.get("backbone"), settings.get("backbone_kwargs")
    if not isinstance(name, str) or "/" in name or not more or settings.get("backbone_config"):
        return settings
    left = {key: value for key, value in settings.items() if key not in FORMER}
    return {**left, "backbone_config": {"model_type": "timm_backbone", "backbone": name, **more}}


FORMER = ("backbone", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone")
"""Settings of a backbone that a part replaces."""


def _needs_hub(reference: InLibrary, error: Exception) -> CannotImport | None:
    """The error for a configuration that names another repository of the hub; None for other errors."""
    if type(error).__name__ not in ("OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError"):
        return None
    sentence = f"{reference.text} names a backbone that is a repository of the hub, which is not asked."
    return CannotImport(sentence, "give the backbone's settings in it, as backbone_config")


def _from_hub(reference: InLibrary, offline: bool) -> Path:
    """The repository's config.json, by download, or from the cache if the hub is not asked or does not answer."""
    from huggingface_hub import constants, hf_hub_download

    silence = None if offline or constants.HF_HUB_OFFLINE else _silence_of_hub(reference.name)
    try:
        cached = offline or silence is not None
        return Path(hf_hub_download(reference.name, "config.json", local_files_only=cached))
    except Exception as error:  # the hub's and the network's many kinds
        where = "in the local cache" if offline else "on the hub, or the hub cannot be reached"
        hint = "give the file: hf:path/to/config.json" + ("" if offline else f"\n({one_line(silence or error)[:200]})")
        raise CannotImport(f"{reference.text}: there is no config.json {where}.", hint) from None


def _silence_of_hub(name: str) -> Exception | None:
    """The error of one short question to the hub, which by itself would ask six times; None if it answers."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import get_session

    try:
        get_session().head(hf_hub_url(name, "config.json"), timeout=10)
    except Exception as error:
        return error
    return None


def _plain(config: Any, knobs: Any, reference: InLibrary) -> dict[str, Any]:
    names = sorted({*config.to_dict(), *(["use_cache"] if any(with_cache(config)) else [])})
    for knob in knobs:
        if knob not in names:
            raise UnknownKnob(knob, reference.text, names)
    return {knob: list(value) if isinstance(value, tuple) else value for knob, value in knobs.items()}


CLASSES = {
    name: f"{stem}ForConditionalGeneration"
    for name, stem in (("musicgen", "Musicgen"), ("musicgen_melody", "MusicgenMelody"), ("pix2struct", "Pix2Struct"))
}
"""By model type: the class of a bare model, where the library's own mapping names one of a part."""


def _model_class(library: ModuleType, config: Any, kind: str, reference: InLibrary) -> tuple[Any, Sequence[str]]:
    """The class of the model, which is a PreTrainedModel and nothing else, and a note where it is not the one named."""
    names = [kind] if kind else [str(name) for name in getattr(config, "architectures", None) or ()]
    names = names or [CLASSES[config.model_type]] if config.model_type in CLASSES else names
    for name in names:
        named = getattr(library, name, None)
        if isinstance(named, type) and issubclass(named, library.PreTrainedModel):
            return named, ()
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if names and (alike := named_alike(config.model_type, names[0])):
        return getattr(library, alike), [f"transformers has no model {names[0]}: this is {alike}"]
    try:
        class_ = MODEL_MAPPING[type(config)]
    except KeyError:
        raise BadReference(reference.text, f"transformers has no model for {type(config).__name__}", HINT) from None
    class_ = class_[0] if isinstance(class_, tuple | list) else class_
    notes = [f"transformers has no model {names[0]}: this is {class_.__name__}, without a head"] if names else []
    return class_, notes
