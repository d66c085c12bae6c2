"""The user's code: modules and files are imported, expressions followed and called, failures told with their line."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from torch import nn

from archcalc.engine.load.callables import is_library, of_python_itself
from archcalc.engine.load.references import Code, Expression
from archcalc.engine.meta.one_device import CPU, OneDevice
from archcalc.engine.meta.own_draws import own_draws
from archcalc.errors import ArchcalcError, BadReference, CannotImport, MissingExtra, WrongUse, one_line

CALLS = "name a module, its class, or a function of yours or of an installed package"
"""What a reference may call, for the user."""


def value_of(reference: Code) -> Any:
    """The value of an expression, such as the inputs that a user's function returns."""
    with here_first(), own_draws(), OneDevice(CPU):
        source = import_file(reference) if reference.is_file else import_module(reference)
        return evaluate(reference, source, {})[0]


def import_module(reference: Code) -> ModuleType:
    """The module of a reference, imported by its name."""
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
        raise cannot(f"importing {reference.where}", error) from error


class AsItIs(SourceFileLoader):
    """Runs a file as it is now: compiled code of a moment before an edit is not taken for it, and none is left."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the file's text."""
        return self.source_to_code(self.get_data(self.path), self.path)


def import_file(reference: Code) -> ModuleType:
    """The module of a reference, executed from its file."""
    path = Path(reference.where)
    if not os.path.isfile(path):
        raise BadReference(reference.text, f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BadReference(reference.text, f"{path} is not a Python file")
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = AsItIs(path.stem, str(path))
    source = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = source
    try:
        spec.loader.exec_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() at import, too
        if "attempted relative import" in str(error):
            sentence = f"{path} cannot be imported alone: it imports from its package ({one_line(error)})."
            raise CannotImport(sentence, f"try  {_in_package(path, reference.text)}") from error
        raise cannot(f"importing {path}", error) from error
    finally:
        if before is None:
            sys.modules.pop(path.stem, None)
        else:
            sys.modules[path.stem] = before
    return source


def evaluate(reference: Code, source: ModuleType, knobs: Mapping[str, Any]) -> tuple[Any, bool]:
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
        raise cannot(f"building {reference.text}", error, value) from error


def _makes_modules(value: Any) -> bool:
    return isinstance(value, nn.Module) or (inspect.isclass(value) and issubclass(value, nn.Module))


def cannot(doing: str, error: BaseException, called: Any = None) -> CannotImport:
    """CannotImport with the user's error and its line, or with the signature if the arguments did not fit."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    hint = f"at  {shown(last.filename)}:{last.lineno} in {last.name}"
    if last.filename == __file__ and called is not None:
        with contextlib.suppress(TypeError, ValueError):
            hint = f"it takes  {getattr(called, '__name__', 'it')}{inspect.signature(called)}"
    return CannotImport(f"{doing} raised {one_line(error)}.", hint)


def _in_package(path: Path, text: str) -> str:
    """A reference to a file of a package as one to its module: pkg.model:M, from the folder that the package is in."""
    names = [path.stem]
    folder = path.resolve().parent
    while os.path.isfile(folder / "__init__.py"):
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) == 1:
        names.insert(0, folder.name)
        folder = folder.parent
    module = f"{'.'.join(names)}:{text.partition('.py:')[2]}"
    return module if folder == Path.cwd() else f"{module}  in the folder {shown(str(folder))}"


def shown(filename: str) -> str:
    """A file's path as short as it can be typed."""
    with contextlib.suppress(ValueError):
        relative = os.path.relpath(filename)
        return relative if len(relative) < len(filename) else filename
    return filename


@contextlib.contextmanager
def here_first() -> Iterator[None]:
    """Import from the current folder, as `python -m` does."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(os.getcwd())
