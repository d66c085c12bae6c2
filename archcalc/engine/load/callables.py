"""References call classes and functions of the user's and of installed packages, never Python's own.

`os:system('...')` would run a command before anyone saw that it is no model, and so would the same function by way of
a user's module: `mynet.py:os.system('...')`. The home of a callable is looked up before it is called.
"""

from __future__ import annotations

import builtins
import functools
import operator
import sys
import sysconfig
import types
import typing
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

WRAPPERS = (staticmethod, functools._lru_cache_wrapper)
"""Types of Python's own whose objects call the function that they hold in `__wrapped__`."""
IN_C = (types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType)
LIBRARY = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}


def of_python_itself(value: Any, source: ModuleType | None = None) -> str:
    """The name of what a call of the value would call, if that is a builtin or of the standard library; '' otherwise.

    `source` is the module in which the value was found, which may have the name of a module of Python's.
    """
    if isinstance(value, functools.partial):
        return of_python_itself(value.func, source)
    if isinstance(value, WRAPPERS):
        return of_python_itself(value.__wrapped__, source)
    if isinstance(value, types.MethodType):
        return of_python_itself(value.__func__, source)
    if isinstance(value, types.MethodWrapperType) and value.__name__ == "__call__":
        return of_python_itself(value.__self__, source)
    generic = typing.get_origin(value)
    if generic is not None:
        return of_python_itself(generic, source)
    named = value if isinstance(value, (type, types.FunctionType, *IN_C)) else type(value)
    name = str(getattr(named, "__qualname__", type(named).__name__))
    home = _home(named, name, source)
    return f"{home}.{name}" if _is_python(home, name, named, source) else ""


def _home(named: Any, name: str, source: ModuleType | None) -> str:
    """The name of the module that defines a class or a function; of its owner's, for methods without one.

    Static functions of C, such as torch.zeros, know neither: they belong where they were found.
    """
    if isinstance(named, types.WrapperDescriptorType | types.MethodDescriptorType):
        return str(named.__objclass__.__module__)
    home = getattr(named, "__module__", None)
    owner = getattr(named, "__self__", None)
    if home is None and isinstance(owner, ModuleType):
        return owner.__name__
    if home is None and owner is not None:
        return str((owner if isinstance(owner, type) else type(owner)).__module__)
    if home is None and source is not None and not hasattr(builtins, name.partition(".")[0]):
        return source.__name__
    return str(home or "builtins")


def _is_python(home: str, name: str, named: Any, source: ModuleType | None) -> bool:
    if not is_library(home):
        return False
    if source is None or source.__name__ != home or isinstance(named, IN_C):
        return True
    try:  # a user's file that is called as a module of Python's: only what that module has itself is Python's
        return operator.attrgetter(name)(sys.modules[home]) is named
    except (AttributeError, KeyError):
        return False


def is_library(home: str) -> bool:
    """Whether a module's name means a module of Python itself; a user's module of the same name comes first.

    >>> is_library("os.path"), is_library("torch.nn")
    (True, False)
    """
    root = home.partition(".")[0]
    if root in sys.builtin_module_names:
        return True
    if root not in sys.stdlib_module_names:
        return False
    try:
        spec = getattr(sys.modules.get(root), "__spec__", None) or find_spec(root)
    except (ImportError, ValueError):
        return False
    origin = getattr(spec, "origin", None)
    if origin in (None, "built-in", "frozen"):
        return spec is not None
    path = Path(origin).resolve()
    return any(folder in path.parents for folder in LIBRARY) and "site-packages" not in path.parts
