"""References to modules without data: the catalogue's, the user's, and modules at hand."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archcalc.engine import Setup
from archcalc.engine.nodata import copy_without_data, same_random_state, without_data
from archcalc.engine.reference import BuiltIn, Code, Expression
from archcalc.errors import ArchcalcError, BadReference, CannotImport, MissingExtra
from archcalc.networks import catalogue
from archcalc.networks.network import Input
from archcalc.trace import Model, Value


@dataclass(frozen=True)
class Loaded:
    """A module without data, what it is, and the inputs its definition declares (none: unknown)."""

    module: nn.Module
    model: Model
    inputs: Sequence[Input] = ()
    notes: tuple[str, ...] = ()


def load(reference: BuiltIn | Code | nn.Module, setup: Setup) -> Loaded:
    """Build what a reference means; the errors of exit code 2 for wrong names and knobs, 3 for code that raises."""
    with same_random_state():
        if isinstance(reference, BuiltIn):
            return _built_in(reference, setup)
        if isinstance(reference, Code):
            return _code(reference, setup.knobs)
        name = type(reference).__name__
        return Loaded(copy_without_data(reference), Model(name, name, "module", {}))


def _built_in(reference: BuiltIn, setup: Setup) -> Loaded:
    entry, note = catalogue.resolve(reference.name)
    network = catalogue.load(entry)
    length = {"seq_len": setup.seq_len} if setup.seq_len and "seq_len" in network.config else {}
    config = network.configured({**setup.knobs, **length})
    with without_data():
        module = network.build(**config)
    model = Model(reference.name, network.name, "builtin", {k: _plain(v) for k, v in config.items()})
    return Loaded(module, model, network.inputs_for(config), (note,) if note else ())


def _code(reference: Code, knobs: Mapping[str, Any]) -> Loaded:
    with _prints_on_stderr(), _here_first(), without_data():
        source = _import_file(reference) if reference.is_file else _import_module(reference)
        made = _evaluate(reference, source, knobs)
    if not isinstance(made, nn.Module):
        raise BadReference(
            reference.text,
            f"it gives a {type(made).__name__} and not a torch.nn.Module",
            "name a module, its class, or a function that makes one",
        )
    module = copy_without_data(made)
    config = {k: _plain(v) for k, v in {**reference.expression.kwargs, **knobs}.items()}
    return Loaded(module, Model(reference.text, ".".join(reference.expression.attributes), "python", config))


def _import_module(reference: Code) -> ModuleType:
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
    except Exception as error:
        raise _cannot(f"importing {reference.where}", error) from error


def _import_file(reference: Code) -> ModuleType:
    path = Path(reference.where)
    if not path.is_file():
        raise BadReference(reference.text, f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BadReference(reference.text, f"{path} is not a Python file")
    source = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = source
    try:
        spec.loader.exec_module(source)
    except Exception as error:
        raise _cannot(f"importing {path}", error) from error
    finally:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
    return source


def _evaluate(reference: Code, source: ModuleType, knobs: Mapping[str, Any]) -> Any:
    """Follow the attributes and call what they name, where the expression or its kind asks for it."""
    expression: Expression = reference.expression
    value: Any = source
    for attribute in expression.attributes:
        try:
            value = getattr(value, attribute)
        except AttributeError:
            names = [n for n, v in vars(source).items() if _makes_modules(v)]
            hint = f"it has  {', '.join(names[:8])}" if names else ""
            raise BadReference(reference.text, f"{reference.where} has no '{attribute}'", hint) from None
    if isinstance(value, nn.Module) and not expression.call:
        return value
    if not callable(value):
        return value
    try:
        return value(*expression.args, **{**expression.kwargs, **knobs})
    except ArchcalcError:
        raise
    except Exception as error:
        raise _cannot(f"building {reference.text}", error) from error


def _makes_modules(value: Any) -> bool:
    return isinstance(value, nn.Module) or (inspect.isclass(value) and issubclass(value, nn.Module))


def _cannot(doing: str, error: Exception) -> CannotImport:
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return CannotImport(f"{doing} raised {message}.", f"at  {_shown(last.filename)}:{last.lineno} in {last.name}")


def _shown(filename: str) -> str:
    """A file's path as short as it can be typed."""
    with contextlib.suppress(ValueError):
        relative = os.path.relpath(filename)
        return relative if len(relative) < len(filename) else filename
    return filename


def _plain(value: Any) -> Value:
    if isinstance(value, tuple | list):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


@contextlib.contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """What the user's code prints goes to stderr: stdout is the answer and nothing else."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _here_first() -> Iterator[None]:
    """Import from the current folder, as `python -m` does."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(os.getcwd())
