"""References to modules without data: the catalogue's, the user's, and modules at hand."""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from torch import nn

from archcalc.engine.load.adapted import with_adapters
from archcalc.engine.load.config_notes import config_notes, stated_dtype, weights_as_stored
from archcalc.engine.load.declared_inputs import UNKNOWN, Declaration, inputs_of
from archcalc.engine.load.given_models import module_of
from archcalc.engine.load.pretrained.attention import without_flex
from archcalc.engine.load.references import BuiltIn, Code, Exported, InLibrary
from archcalc.engine.load.user_code import CALLS, cannot, evaluate, here_first, import_file, import_module
from archcalc.engine.meta.cuda_regions import regions_of_cuda
from archcalc.engine.meta.empty_modules import copy_without_data, settled, without_data
from archcalc.engine.meta.one_device import CPU, OneDevice
from archcalc.engine.meta.own_draws import own_draws
from archcalc.engine.setup import Setup
from archcalc.engine.torch_private import without_function_modes
from archcalc.errors import ArchcalcError, BadReference, CannotImport, WrongUse, one_line
from archcalc.networks import catalogue
from archcalc.text.spelling import setting
from archcalc.tracing import Model, plain


@dataclass(frozen=True)
class Loaded:
    """A module without data, what it is, and the inputs that it declares (none: unknown).

    `named` are the devices other than the CPU that its constructor names, `dtype` the type of floats that its
    configuration states. `stored` are the bytes of the parameters that are stored quantized, by their names.
    """

    module: nn.Module
    model: Model
    declared: Declaration = UNKNOWN
    notes: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    dtype: str = "float32"
    stored: Mapping[str, int] = field(default_factory=dict)

    def typed(self, setup: Setup) -> Setup:
        """The setup with the type of floats of this model, where none was chosen."""
        return setup if setup.dtype else replace(setup, dtype=self.dtype)


def load(reference: BuiltIn | Code | InLibrary | Exported | nn.Module | type[nn.Module], setup: Setup) -> Loaded:
    """Build the model of a reference. Errors: exit code 2 for wrong names and knobs, 3 for code that raises."""
    device = OneDevice(CPU)
    with own_draws(setup.seed), regions_of_cuda(), device:
        loaded = _loaded(reference, setup)
    stated = config_notes(loaded.module, loaded.typed(setup).dtype, bool(setup.dtype))
    notes = (*loaded.notes, *stated, *without_flex(loaded.module))
    stored = weights_as_stored(loaded.module)
    loaded = replace(loaded, notes=notes, named=frozenset(device.named), stored=stored)
    if not setup.lora:
        return loaded
    module, note = with_adapters(loaded.module, setup.lora, setup.data)
    return replace(loaded, module=module, notes=(*loaded.notes, note))


def _loaded(reference: BuiltIn | Code | InLibrary | Exported | nn.Module | type[nn.Module], setup: Setup) -> Loaded:
    if isinstance(reference, BuiltIn):
        return _built_in(reference, setup)
    if isinstance(reference, Code):
        return _code(reference, setup)
    if isinstance(reference, InLibrary):
        return _in_library(reference, setup)
    if isinstance(reference, Exported):
        return _exported(reference, setup)
    return _at_hand(reference, setup)


def _building(setup: Setup) -> AbstractContextManager[None]:
    """The block in which a constructor runs: without weights, or with them for a run on data."""
    return contextlib.nullcontext() if setup.data else without_data()


def _without(module: nn.Module, name: str, setup: Setup) -> nn.Module:
    """A module that was built here, without data; for a run on data a copy that keeps its values beside it."""
    return _copied(module, name, data=True) if setup.data else settled(module)


def _at_hand(module: nn.Module | type[nn.Module], setup: Setup) -> Loaded:
    """A module, which is only read; or a class of modules, which is built with the knobs."""
    settings = {knob: plain(value) for knob, value in setup.knobs.items()}
    if not isinstance(module, type):
        name = type(module).__name__
        module = module_of(module, name)
        if settings:
            hint = f"pass the class {name}, or a module that is built with them"
            raise WrongUse(f"a module at hand takes no knobs, and {next(iter(settings))} is one.", hint)
        return Loaded(_copied(module, name, setup.data), Model(name, name, "module", {}), inputs_of(module, setup))
    name = module.__name__
    try:
        inspect.signature(module).bind(**setup.knobs)
    except TypeError as error:
        raise BadReference(name, f"the class cannot be built: {error}", f"pass  {name}(...)") from None
    try:
        with _building(setup):
            built = module(**setup.knobs)
    except Exception as error:
        raise cannot(f"building {name}", error, module) from error
    return Loaded(
        _without(built, name, setup), Model(name, name, "module", settings, settings), inputs_of(built, setup)
    )


def _built_in(reference: BuiltIn, setup: Setup) -> Loaded:
    entry, note = catalogue.resolve(reference.name)
    network = catalogue.load(entry)
    knobs = _knobs(reference, setup)
    length = {"seq_len": setup.seq_len} if setup.seq_len and "seq_len" in network.config else {}
    if length and "seq_len" in knobs:
        raise WrongUse("seq_len is given twice: as a knob and as the length of the sequence.", "leave one of them out")
    config = network.configured({**knobs, **length})
    try:
        with _building(setup):
            module = network.build(**config)
    except ArchcalcError:
        raise
    except Exception as error:  # the knobs are right in kind and wrong in size, such as 10^18 classes
        raise WrongUse(f"{network.name} cannot be built so: {one_line(error)}.", "try smaller knobs") from error
    settings = {knob: plain(value) for knob, value in knobs.items()}
    model = Model(_typed(reference), network.name, "builtin", {k: plain(v) for k, v in config.items()}, settings)
    declared = Declaration(network.inputs_for(config), knobs=network.knobs_of_inputs(config))
    own = not (setup.inputs or setup.inputs_from or setup.batch)  # a remark is of the inputs that the knobs make
    if config.get("lengths") and not own:
        hint = "leave one of them out"
        raise WrongUse(f"lengths={setting(config['lengths'])} makes the batch, and an input is given beside it.", hint)
    notes = (note, network.remark(config) if network.remark and own else "")
    return Loaded(_without(module, network.name, setup), model, declared, tuple(filter(None, notes)))


def _knobs(reference: BuiltIn | InLibrary, setup: Setup) -> dict[str, Any]:
    """The settings in the brackets of a reference and those of the setup; WrongUse for one that is in both."""
    twice = [knob for knob in reference.knobs if knob in setup.knobs]
    if twice:
        hint = "set it in one place"
        raise WrongUse(f"{twice[0]} is given twice: in the brackets of {reference.name} and beside it.", hint)
    return {**reference.knobs, **setup.knobs}


def _typed(reference: BuiltIn) -> str:
    """The reference as it is typed."""
    inside = ",".join(f"{knob}={setting(value)}" for knob, value in reference.knobs.items())
    return f"{reference.name}[{inside}]" if inside else reference.name


def _in_library(reference: InLibrary, setup: Setup) -> Loaded:
    from archcalc.engine.load import libraries

    setup = replace(setup, knobs=_knobs(reference, setup))
    module, declared, notes = libraries.build(reference, setup)
    settings = {knob: plain(value) for knob, value in setup.knobs.items()}
    model = Model(reference.text, reference.name, reference.library, settings, settings)
    fresh = not setup.data and all(p.is_meta for p in module.parameters())
    own = settled(module) if fresh else _copied(module, reference.text, setup.data)
    return Loaded(own, model, declared, tuple(notes), dtype=stated_dtype(module))


def _exported(reference: Exported, setup: Setup) -> Loaded:
    from archcalc.engine.load.exported import program

    module, declared, dtype = program.build(reference.path, setup)
    model = Model(reference.path, os.path.basename(reference.path), "exported", {})
    notes = ("an exported program: its mode is the one that it was exported in",) if setup.training else ()
    return Loaded(settled(module), model, declared, notes, dtype=dtype)


def _code(reference: Code, setup: Setup) -> Loaded:
    knobs = setup.knobs
    with here_first():
        source = import_file(reference) if reference.is_file else import_module(reference)
        try:
            with _building(setup):
                made, new = evaluate(reference, source, knobs)
        except CannotImport:  # it may have needed the values of its weights: once more, with them
            made, new = _with_weights(reference, source, knobs)
    made = module_of(made, reference.text, CALLS)
    fresh = new and not setup.data and all(p.is_meta for p in made.parameters())
    module = settled(made) if fresh else _copied(made, reference.text, setup.data)
    config = {k: plain(v) for k, v in {**_defaults(reference, source), **reference.expression.kwargs, **knobs}.items()}
    settings = {knob: plain(value) for knob, value in knobs.items()}
    model = Model(reference.text, ".".join(reference.expression.attributes), "python", config, settings)
    return Loaded(module, model, inputs_of(made, setup))


def _with_weights(reference: Code, source: ModuleType, knobs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Evaluate an expression with weights that have values; if that fails too, once more without our function modes.

    torch.export makes tensors without data of its own and takes no others for them.
    """
    try:
        return evaluate(reference, source, knobs)
    except CannotImport as error:
        with without_function_modes(), contextlib.suppress(CannotImport):
            return evaluate(reference, source, knobs)
        raise error


def _copied(module: nn.Module, name: str, data: bool) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, of its exported programs
            return copy_without_data(module, data)
    except Exception as error:
        hint = "name a function that makes the model, so that it can be built afresh: package.module:make"
        raise CannotImport(f"{name} cannot be copied: {one_line(error)}.", hint) from error


def _defaults(reference: Code, source: ModuleType) -> dict[str, Any]:
    """The parameters of the called class or function with their defaults, if those are plain values."""
    value: Any = source
    for attribute in reference.expression.attributes:
        value = getattr(value, attribute)
    try:
        parameters = inspect.signature(value).parameters if not isinstance(value, nn.Module) else {}
    except (TypeError, ValueError):
        return {}
    given = dict(zip(parameters, reference.expression.args, strict=False))
    defaults = {name: p.default for name, p in parameters.items() if isinstance(p.default, int | float | str | tuple)}
    return {**defaults, **given}
