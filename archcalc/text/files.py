"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(file: str, data: bytes) -> None:
    """Write all of the bytes or nothing; OSError says why not, ValueError that no file can have that name.

    A link is followed, not replaced; a pipe or a device is written to as it is.
    """
    path = Path(file).resolve()
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(None, "it is read-only")
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(data)
            part.close()
            os.chmod(part.name, path.stat().st_mode if path.exists() else 0o644)
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
