"""Models of transformers from a configuration: a local config.json, an installed class, or the hub's config.json.

hf:path/to/config.json   a file                              hf:bert  hf:BertConfig     an installed configuration
hf:ORG/NAME              its config.json, from the hub       hf:BertForMaskedLM         that model by its defaults
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archcalc.engine.load.declared_inputs import Declaration, inputs_of
from archcalc.engine.load.references import InLibrary, demand_known
from archcalc.engine.setup import Setup
from archcalc.errors import BadReference, CannotImport, UnknownKnob, one_line

HINT = "write  hf:ORG/NAME, hf:path/to/config.json, hf:bert or hf:BertForMaskedLM"


def build(library: ModuleType, reference: InLibrary, setup: Setup) -> tuple[nn.Module, Declaration]:
    """The model of a configuration, its first architecture or else the bare one, with `--set` changing the former."""
    config, kind = _config(library, reference, setup.offline)
    for knob, value in _plain(config, setup.knobs, reference).items():
        setattr(config, knob, value)
    if hasattr(config, "use_cache") and "use_cache" not in setup.knobs:
        config.use_cache = False  # a forward pass over the whole text, not a step of generation
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity_error()
    try:
        module = _model_class(library, config, kind, reference)(config)
        if hasattr(module, "set_experts_implementation") and _has_experts(module):
            module.set_experts_implementation("grouped_mm")  # the eager one asks which experts the values choose
    finally:
        library.logging.set_verbosity(verbosity)
    return module, inputs_of(module, setup)


def _config(library: ModuleType, reference: InLibrary, offline: bool) -> tuple[Any, str]:
    """The configuration, and the model class where the reference names one."""
    name = reference.name
    if name.endswith((".json", "/")):
        path = Path(name, "config.json") if name.endswith("/") else Path(name)
        return _read(library, reference, path), ""
    if "/" in name:
        return _read(library, reference, _from_hub(reference, offline)), ""
    mapping = library.CONFIG_MAPPING
    wanted = name.lower().replace("-", "_")
    types = {key.replace("-", "_"): key for key in mapping}
    if wanted in types:
        return mapping[types[wanted]](), ""
    named = getattr(library, name, None)
    if isinstance(named, type) and issubclass(named, library.PreTrainedConfig):
        return named(), ""
    config = getattr(named, "config_class", None)
    if isinstance(named, type) and config is not None:
        return config(), name
    demand_known(reference, name, list(mapping))
    raise BadReference(reference.text, "transformers has no such configuration", HINT)


def _read(library: ModuleType, reference: InLibrary, path: Path) -> Any:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadReference(reference.text, f"{path} cannot be read ({error.strerror})", HINT) from None
    except (ValueError, RecursionError) as error:
        raise BadReference(reference.text, f"{path} is not JSON ({error})", HINT) from None
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in library.CONFIG_MAPPING:
        own = isinstance(settings, dict) and "auto_map" in settings
        reason = "its model is code on the hub, which archcalc does not run" if own else f"transformers has no '{kind}'"
        raise BadReference(reference.text, f"{path.name} has model_type {kind!r}, and {reason}", HINT)
    return library.CONFIG_MAPPING[kind].from_dict(settings)


def _from_hub(reference: InLibrary, offline: bool) -> Path:
    """The repository's config.json, from the cache or by download; nothing else of it is asked for."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(reference.name, "config.json", local_files_only=offline))
    except Exception as error:  # the hub's and the network's many kinds
        where = "in the local cache" if offline else "on the hub, or the hub cannot be reached"
        hint = "give the file: hf:path/to/config.json" + ("" if offline else f"\n({one_line(error)[:200]})")
        raise CannotImport(f"{reference.text}: there is no config.json {where}.", hint) from None


def _plain(config: Any, knobs: Any, reference: InLibrary) -> dict[str, Any]:
    names = sorted(set(config.to_dict()) | {"use_cache"})
    for knob in knobs:
        if knob not in names:
            raise UnknownKnob(knob, reference.text, names)
    return {knob: list(value) if isinstance(value, tuple) else value for knob, value in knobs.items()}


def _model_class(library: ModuleType, config: Any, kind: str, reference: InLibrary) -> Any:
    names = [kind] if kind else list(getattr(config, "architectures", None) or ())
    for name in names:
        if isinstance(getattr(library, name, None), type):
            return getattr(library, name)
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    try:
        class_ = MODEL_MAPPING[type(config)]
    except KeyError:
        raise BadReference(reference.text, f"transformers has no model for {type(config).__name__}", HINT) from None
    return class_[0] if isinstance(class_, tuple | list) else class_


def _has_experts(module: nn.Module) -> bool:
    return any("experts" in name for name, _ in module.named_modules())
