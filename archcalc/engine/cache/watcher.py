"""What the user's own code reads while it is built and run: its modules, other files, the environment, the network.

Python's audit events tell of files and connections. They do not tell of environment variables, which are read through a
recording mapping for the time of the run, nor of whether a file exists or what time it is, so that code which names
such a function is not followed at all.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from archcalc.engine.cache.conditions import LIBRARIES

IMPORTS = "<frozen importlib._bootstrap_external>"
"""Where Python's own import reads files and folders."""
SITE = tuple({os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("purelib", "platlib")})
"""Folders of installed packages."""
LIBRARY = tuple(
    {
        os.path.realpath(folder) + os.sep
        for folder in (*sysconfig.get_paths().values(), str(Path(__file__).parents[2]))
        if os.path.basename(folder) not in ("bin", "Scripts", "include") and folder != sysconfig.get_paths()["data"]
    }
)
"""Folders of Python, of the installed packages and of archcalc; their versions are in every key."""
REFUSED = tuple(
    "socket. subprocess. os.system os.exec os.posix_spawn os.spawn os.fork os.startfile urllib. http. ftplib. smtplib. "
    "sqlite3. shutil. tempfile. ctypes.dlopen mmap. os.remove os.rename os.mkdir os.rmdir os.putenv os.unsetenv glob. "
    "os.walk".split()
)
"""Beginnings of events of the world outside."""
MODULES = frozenset(
    "time datetime platform socket uuid secrets getpass resource ctypes cffi mmap subprocess multiprocessing threading "
    "concurrent asyncio signal tempfile posix shutil".split()
)
NAMES = frozenset(
    "exists lexists isfile isdir islink ismount stat lstat getmtime getsize getctime getatime access samefile is_file "
    "is_dir is_symlink argv orig_argv cpu_count getpid urandom uname readlink realpath resolve getlogin getuid "
    "environb stdin input __import__ import_module find_spec exec eval cuda get_num_threads".split()
)
"""Functions that read what no event tells of, and modules of such functions."""
IMPORTABLE = (".py", ".pyi", ".so", ".pyd", ".pyc")
watching: list[Watcher] = []
"""The watcher of the run, if there is one; the hook stays in the process, because Python cannot remove it."""
hooked: list[bool] = []


class Watcher:
    """What was read: files and folders of modules, environment variables; `reason` is why that is not all, or ''."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.variables: set[str] = set()
        self.reason = ""
        self.began = time.time_ns()

    def refuse(self, reason: str) -> None:
        """Note the first reason why what was read is not known."""
        self.reason = self.reason or reason

    def opened(self, path: Any, imports: bool) -> None:
        """A file was opened: a module, one of a library, or else one that is not followed."""
        name = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
        package = next((name.removeprefix(site).partition(os.sep)[0] for site in SITE if name.startswith(site)), "")
        if name.startswith(LIBRARY) and (not package or package in LIBRARIES):
            return
        if imports and name.endswith(".pyc"):
            folder, file = os.path.split(os.path.dirname(name))[0], os.path.basename(name).partition(".")[0]
            name = name if "__pycache__" not in name else os.path.join(folder, f"{file}.py")
        if (imports or package or name.endswith(".py")) and name:
            self.files.add(name)
        elif not imports:
            self.refuse(f"it opens {name or path}")

    def dependencies(self) -> Mapping[str, Mapping[str, str]] | None:
        """Everything that was read, with its contents; None, with a `reason`, if that is not known."""
        if self.reason:
            return None
        for module in list(sys.modules.values()):  # those that were loaded before
            file = getattr(getattr(module, "__spec__", None), "origin", None)
            if isinstance(file, str) and os.path.isabs(file) and not _real(file).startswith(LIBRARY):
                self.files.add(_real(file))
        for file in sorted(self.files):
            try:
                late = os.stat(file).st_mtime_ns >= self.began
                own = file.endswith(".py") and not file.startswith(LIBRARY)
                said = _names_the_world(Path(file)) if own else ""
            except (OSError, ValueError, SyntaxError, RecursionError):
                self.refuse(f"{file} cannot be read again")
                continue
            if late or said:
                self.refuse(f"{file} {'changed since' if late else said}")
        folders = {os.path.dirname(file) for file in self.files if not file.startswith(LIBRARY)} | self.folders
        folders |= {
            os.path.realpath(path) for path in sys.path if not (os.path.realpath(path) + os.sep).startswith(LIBRARY)
        }
        return None if self.reason else contents(self.files, folders, self.variables)


def contents(files: set[str], folders: set[str], variables: set[str]) -> dict[str, dict[str, str]]:
    """The contents of files, the modules that folders have, and the values of environment variables, as digests."""
    return {
        "files": {file: _digest(file) for file in sorted(files)},
        "folders": {folder: _modules_in(folder) for folder in sorted(folders)},
        "variables": {name: _hashed(repr(os.environ.get(name)).encode()) for name in sorted(variables)},
    }


def unchanged(dependencies: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether everything that was read is as it was."""
    read = (set(dependencies[kind]) for kind in ("files", "folders", "variables"))
    return contents(*read) == dependencies


@contextmanager
def watched() -> Iterator[Watcher]:
    """A watcher of what this process reads in the block. Imports leave no compiled code: no event tells whose it is."""
    if not hooked:
        sys.addaudithook(_hear)
        hooked.append(True)
    watcher = Watcher()
    environment: Any = os.environ
    plain = environment._data
    environment._data = Recording(plain, watcher, environment.decodekey)
    watching.append(watcher)
    compiles, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield watcher
    finally:
        sys.dont_write_bytecode = compiles
        watching.pop()
        environment._data = plain


class Recording(dict[Any, Any]):
    """The environment's own mapping, which tells a watcher of what is read in it; writing is refused to be followed."""

    def __init__(self, plain: Mapping[Any, Any], watcher: Watcher, decode: Any) -> None:
        super().__init__(plain)
        self.watcher, self.decode, self.plain = watcher, decode, plain

    def __getitem__(self, key: Any) -> Any:
        self.watcher.variables.add(self.decode(key))
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.watcher.variables.add(self.decode(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[Any]:
        self.watcher.refuse("it reads all environment variables")
        return super().__iter__()

    def __setitem__(self, key: Any, value: Any) -> None:
        self.watcher.refuse("it sets an environment variable")
        super().__setitem__(key, value)
        self.plain[key] = value  # type: ignore[index]

    def __delitem__(self, key: Any) -> None:
        self.watcher.refuse("it sets an environment variable")
        super().__delitem__(key)
        del self.plain[key]  # type: ignore[attr-defined]


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook: tell the watcher of the run, if there is one."""
    if not watching:
        return
    watcher = watching[-1]
    if event == "open":
        watcher.opened(arguments[0], sys._getframe(1).f_code.co_filename == IMPORTS)
    elif event == "import" and arguments[1]:  # an extension module
        watcher.opened(arguments[1], True)
    elif event in ("os.listdir", "os.scandir"):
        folder = os.path.realpath(os.fsdecode(arguments[0] if isinstance(arguments[0], str | bytes) else "."))
        if sys._getframe(1).f_code.co_filename == IMPORTS:
            watcher.folders.update(() if (folder + os.sep).startswith(LIBRARY) else (folder,))
        elif not (folder + os.sep).startswith(LIBRARY):
            watcher.refuse(f"it lists {folder}")
    elif event.startswith(REFUSED):
        watcher.refuse(f"it uses {event}")


_real = cache(os.path.realpath)


def _names_the_world(file: Path) -> str:
    """What a program names that reads what no event tells of, in words; '' if it names nothing of the kind."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
            found = MODULES.intersection(names)
        elif isinstance(node, ast.ImportFrom):
            found = MODULES.intersection({(node.module or "").partition(".")[0]})
            found = found or NAMES.intersection(alias.name for alias in node.names)
        else:
            found = NAMES.intersection({getattr(node, "attr", ""), getattr(node, "id", "")})
        if found:
            return f"names {min(found)}"
    return ""


def _modules_in(folder: str) -> str:
    """The names in a folder that an import may find."""
    try:
        names = sorted(name for name in os.listdir(folder) if "." not in name or name.endswith(IMPORTABLE))
    except OSError:
        return ""
    return _hashed("\0".join(name for name in names if name != "__pycache__").encode("utf-8", "surrogateescape"))


def _digest(file: str) -> str:
    try:
        return _hashed(Path(file).read_bytes())
    except OSError:
        return ""


def _hashed(data: bytes) -> str:
    return sha256(data).hexdigest()
