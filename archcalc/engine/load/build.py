"""References to modules without data: the catalogue's, the user's, and modules at hand."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archcalc.engine.load.callables import is_library, of_python_itself
from archcalc.engine.load.config_notes import config_notes
from archcalc.engine.load.declared_inputs import UNKNOWN, Declaration, inputs_of
from archcalc.engine.load.references import BuiltIn, Code, Expression, InLibrary
from archcalc.engine.meta.empty_modules import copy_without_data, settled, without_data
from archcalc.engine.meta.one_device import CPU, OneDevice
from archcalc.engine.meta.own_draws import own_draws
from archcalc.engine.setup import Setup
from archcalc.errors import ArchcalcError, BadReference, CannotImport, MissingExtra, WrongUse, one_line
from archcalc.networks import catalogue
from archcalc.text.spelling import setting
from archcalc.tracing import Model, plain

CALLS = "name a module, its class, or a function of yours or of an installed package"
"""What a reference may call, for the user."""


@dataclass(frozen=True)
class Loaded:
    """A module without data, what it is, and the inputs that it declares (none: unknown).

    `named` are the devices other than the CPU that its constructor names.
    """

    module: nn.Module
    model: Model
    declared: Declaration = UNKNOWN
    notes: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()


def load(reference: BuiltIn | Code | InLibrary | nn.Module | type[nn.Module], setup: Setup) -> Loaded:
    """Build the model of a reference. Errors: exit code 2 for wrong names and knobs, 3 for code that raises."""
    device = OneDevice(CPU)
    with own_draws(setup.seed), device:
        loaded = _loaded(reference, setup)
    notes = (*loaded.notes, *config_notes(loaded.module, setup.dtype))
    return replace(loaded, notes=notes, named=frozenset(device.named))


def _loaded(reference: BuiltIn | Code | InLibrary | nn.Module | type[nn.Module], setup: Setup) -> Loaded:
    if isinstance(reference, BuiltIn):
        return _built_in(reference, setup)
    if isinstance(reference, Code):
        return _code(reference, setup)
    if isinstance(reference, InLibrary):
        return _in_library(reference, setup)
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
        if settings:
            hint = f"pass the class {name}, or a module that is built with them"
            raise WrongUse(f"a module at hand takes no knobs, and {next(iter(settings))} is one.", hint)
        return Loaded(_copied(module, name, setup.data), Model(name, name, "module", {}), inputs_of(module))
    name = module.__name__
    try:
        inspect.signature(module).bind(**setup.knobs)
    except TypeError as error:
        raise BadReference(name, f"the class cannot be built: {error}", f"pass  {name}(...)") from None
    try:
        with _building(setup):
            built = module(**setup.knobs)
    except Exception as error:
        raise _cannot(f"building {name}", error, module) from error
    return Loaded(_without(built, name, setup), Model(name, name, "module", settings, settings), inputs_of(built))


def _built_in(reference: BuiltIn, setup: Setup) -> Loaded:
    entry, note = catalogue.resolve(reference.name)
    network = catalogue.load(entry)
    twice = [knob for knob in reference.knobs if knob in setup.knobs]
    if twice:
        hint = "set it in one place"
        raise WrongUse(f"{twice[0]} is given twice: in the brackets of {reference.name} and beside it.", hint)
    knobs = {**reference.knobs, **setup.knobs}
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
    return Loaded(_without(module, network.name, setup), model, declared, (note,) if note else ())


def _typed(reference: BuiltIn) -> str:
    """The reference as it is typed."""
    inside = ",".join(f"{knob}={setting(value)}" for knob, value in reference.knobs.items())
    return f"{reference.name}[{inside}]" if inside else reference.name


def _in_library(reference: InLibrary, setup: Setup) -> Loaded:
    from archcalc.engine.load import libraries

    module, declared = libraries.build(reference, setup)
    settings = {knob: plain(value) for knob, value in setup.knobs.items()}
    model = Model(reference.text, reference.name, reference.library, settings, settings)
    return Loaded(_copied(module, reference.text, setup.data), model, declared)


def _code(reference: Code, setup: Setup) -> Loaded:
    knobs = setup.knobs
    with _here_first():
        source = _import_file(reference) if reference.is_file else _import_module(reference)
        try:
            with _building(setup):
                made, new = _evaluate(reference, source, knobs)
        except CannotImport:  # it may have needed the values of its weights: once more, with them
            made, new = _evaluate(reference, source, knobs)
    if not isinstance(made, nn.Module):
        raise BadReference(
            reference.text,
            f"it gives a {type(made).__name__} and not a torch.nn.Module",
            CALLS,
        )
    fresh = new and not setup.data and all(p.is_meta for p in made.parameters())
    module = settled(made) if fresh else _copied(made, reference.text, setup.data)
    config = {k: plain(v) for k, v in {**_defaults(reference, source), **reference.expression.kwargs, **knobs}.items()}
    settings = {knob: plain(value) for knob, value in knobs.items()}
    model = Model(reference.text, ".".join(reference.expression.attributes), "python", config, settings)
    return Loaded(module, model, inputs_of(made))


def value_of(reference: Code) -> Any:
    """The value of an expression, such as the inputs that a user's function returns."""
    with _here_first(), own_draws(), OneDevice(CPU):
        source = _import_file(reference) if reference.is_file else _import_module(reference)
        return _evaluate(reference, source, {})[0]


def _import_module(reference: Code) -> ModuleType:
    if is_library(reference.where):
        raise BadReference(reference.text, f"{reference.where} is part of Python itself", CALLS)
    try:
        return importlib.import_module(reference.where)
    except ModuleNotFoundError as error:
        missing = error.name or reference.where
        if reference.where == missing or reference.where.startswith(f"{missing}."):
            raise CannotImport(
                f"no module named '{missing}'.",
                "run archcalc where your project imports, or give the file: path/to/file.py:EXPR",
            ) from None
        raise MissingExtra(missing, reference.where, f"no module named '{missing}'") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() at import, too
        raise _cannot(f"importing {reference.where}", error) from error


def _import_file(reference: Code) -> ModuleType:
    path = Path(reference.where)
    if not os.path.isfile(path):
        raise BadReference(reference.text, f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BadReference(reference.text, f"{path} is not a Python file")
    source = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = source
    try:
        spec.loader.exec_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() at import, too
        raise _cannot(f"importing {path}", error) from error
    finally:
        if before is None:
            sys.modules.pop(path.stem, None)
        else:
            sys.modules[path.stem] = before
    return source


def _copied(module: nn.Module, name: str, data: bool) -> nn.Module:
    try:
        return copy_without_data(module, data)
    except Exception as error:
        hint = "name a function that makes the model, so that it can be built afresh: package.module:make"
        raise CannotImport(f"{name} cannot be copied: {one_line(error)}.", hint) from error


def _evaluate(reference: Code, source: ModuleType, knobs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Follow the attributes of an expression, and call the result if it is a class or function.

    The value, and whether it was made by this call.
    """
    expression: Expression = reference.expression
    value: Any = source
    for attribute in expression.attributes:
        try:
            value = getattr(value, attribute)
        except AttributeError:
            names = [n for n, v in vars(source).items() if _makes_modules(v)]
            hint = f"it has  {', '.join(names[:8])}" if names else ""
            raise BadReference(reference.text, f"{reference.where} has no '{attribute}'", hint) from None
    if (isinstance(value, nn.Module) and not expression.call) or not callable(value):
        if knobs:
            hint = "leave --set out, or name the class or a function"
            raise WrongUse(f"{reference.text} is a module at hand and takes no --set.", hint)
        return value, False
    if called := of_python_itself(value, source):
        raise BadReference(reference.text, f"it would call {called}, which is part of Python itself", CALLS)
    try:
        return value(*expression.args, **{**expression.kwargs, **knobs}), True
    except (ArchcalcError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _cannot(f"building {reference.text}", error, value) from error


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


def _makes_modules(value: Any) -> bool:
    return isinstance(value, nn.Module) or (inspect.isclass(value) and issubclass(value, nn.Module))


def _cannot(doing: str, error: BaseException, called: Any = None) -> CannotImport:
    """CannotImport with the user's error and its line, or with the signature if the arguments did not fit."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    hint = f"at  {shown(last.filename)}:{last.lineno} in {last.name}"
    if last.filename == __file__ and called is not None:
        with contextlib.suppress(TypeError, ValueError):
            hint = f"it takes  {getattr(called, '__name__', 'it')}{inspect.signature(called)}"
    return CannotImport(f"{doing} raised {one_line(error)}.", hint)


def shown(filename: str) -> str:
    """A file's path as short as it can be typed."""
    with contextlib.suppress(ValueError):
        relative = os.path.relpath(filename)
        return relative if len(relative) < len(filename) else filename
    return filename


@contextlib.contextmanager
def _here_first() -> Iterator[None]:
    """Import from the current folder, as `python -m` does."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(os.getcwd())
