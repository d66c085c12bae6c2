"""Files written whole or not at all, by one process at a time, and never over a program."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

SOURCES = frozenset((".py", ".pyi", ".pyw", ".pyx", ".pxd", ".pyc", ".pyd", ".so", ".ipynb"))
"""Endings of files that hold programs."""
BEYOND = 0x7FFF_FFFE
"""Where a byte is locked on Windows: behind what any reader reads."""


class Locked(Exception):
    """Another process holds the lock of a file."""


def replace_file(file: str, data: bytes) -> None:
    """Write all of the bytes or nothing; OSError says why not, ValueError that no file can have that name.

    A link is followed, not replaced; a pipe or a device is written to as it is.
    """
    path = Path(writable(file))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    import tempfile

    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(data)
            part.close()
            os.chmod(part.name, path.stat().st_mode if path.exists() else 0o644)
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def writable(file: str, inputs: Iterable[str] = ()) -> str:
    """The path that a file's name leads to, if a result may be written there; OSError says why not.

    Nothing is written over a program, nor over one of the files that the result is made from (`inputs`).
    """
    path = Path(file).resolve()
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if {path.suffix.lower(), Path(file).suffix.lower()} & SOURCES:
        raise PermissionError(None, "it is a program, which results are never written to")
    if path.exists() and any(os.path.exists(other) and path.samefile(other) for other in inputs):
        raise PermissionError(None, "the result is made from that file")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(None, "it is read-only")
    if not path.exists():
        _demand_folder(path.parent)
    return str(path)


def _demand_folder(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(None, "no such file or directory")
    if not folder.is_dir():
        raise NotADirectoryError(None, "not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(None, "its folder is read-only")


def lock(descriptor: int) -> None:
    """Lock an open file for this process until it is closed, or the process ends; Locked if another one has it.

    On a file system that knows no locks nothing is locked.
    """
    try:
        if os.name == "nt":
            windows = import_module("msvcrt")
            os.lseek(descriptor, BEYOND, os.SEEK_SET)
            windows.locking(descriptor, windows.LK_NBLCK, 1)
        else:
            unix = import_module("fcntl")
            unix.flock(descriptor, unix.LOCK_EX | unix.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            raise Locked from None
