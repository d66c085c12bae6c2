"""The folder of kept traces: files by their keys, written whole or not at all, the least used ones removed first."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

VARIABLE = "ARCHCALC_CACHE"
"""The environment variable that names the folder, or is on or off."""
LIMIT = 512 * 2**20
"""Bytes that the files of the folder may take together."""
MAGIC = b"archcalc trace 1\n"
SUFFIX = ".trace"


def chosen_folder() -> Path | None:
    """The folder of kept traces; None if they are switched off: by ARCHCALC_CACHE=off, or under CI without a word."""
    word = os.environ.get(VARIABLE)
    if word is None:
        return None if os.environ.get("CI", "").lower() not in ("", "0", "false") else default_folder()
    if word.strip().lower() in ("", "0", "off", "false", "no"):
        return None
    return default_folder() if word.strip().lower() in ("1", "on", "true", "yes") else Path(word).expanduser()


def default_folder() -> Path | None:
    """Where programs of this system keep what they can make again; None without a home."""
    with contextlib.suppress(RuntimeError):  # there is no home
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "archcalc" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "archcalc"
        home = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "archcalc"
    return None


@dataclass
class Folder:
    """Kept values by their keys. It never raises: what cannot be read or written is as if it were not there.

    `notes` are sentences on files that were damaged; `limit` is what all files together may take, in bytes.
    """

    path: Path
    limit: int = LIMIT
    notes: list[str] = field(default_factory=list)
    _unlisted: int = 0
    """Bytes that may be written before the folder is listed again."""

    def read(self, key: str) -> tuple[Mapping[str, Any], Any] | None:
        """What was kept under a key: its head, and a function that gives its value; None if nothing was."""
        file = self._file(key)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        digest, _, rest = data.removeprefix(MAGIC).partition(b"\n")
        if not data.startswith(MAGIC) or sha256(rest).hexdigest().encode() != digest:
            self.drop(key, "it is damaged")
            return None
        head, _, body = rest.partition(b"\n")
        with contextlib.suppress(OSError):
            os.utime(file)  # used just now
        return json.loads(head), lambda: json.loads(zlib.decompress(body))

    def write(self, key: str, head: Mapping[str, Any], value: Any) -> None:
        """Keep a value under a key, and remove the least used files where all together take more than the limit."""
        import tempfile

        rest = json.dumps(head).encode() + b"\n" + zlib.compress(json.dumps(value, allow_nan=False).encode(), 1)
        data = MAGIC + sha256(rest).hexdigest().encode() + b"\n" + rest
        if len(data) > self.limit:
            return
        part = ""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=self.path, prefix=".part-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(part, self._file(key))
        except OSError:  # a read-only home, a full disk
            with contextlib.suppress(OSError):
                os.unlink(part)
            return
        self._unlisted -= len(data)
        if self._unlisted < 0:
            self._shrink()

    def drop(self, key: str, why: str) -> None:
        """Remove what cannot be used, with a note."""
        self.notes.append(f"the kept trace {self._file(key)} was not used: {why}; it is made again")
        with contextlib.suppress(OSError):
            self._file(key).unlink()

    def files(self) -> list[tuple[Path, os.stat_result]]:
        """Every kept file with its size and time, the least used first."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.path):
                if entry.name.endswith(SUFFIX):
                    with contextlib.suppress(OSError):  # another process removed it
                        found.append((Path(entry.path), entry.stat()))
        return sorted(found, key=lambda pair: pair[1].st_mtime_ns)

    def clear(self) -> int:
        """Remove every kept file; how many there were."""
        removed = 0
        for file, _ in self.files():
            with contextlib.suppress(OSError):
                file.unlink()
                removed += 1
        return removed

    def _shrink(self) -> None:
        """Remove the least used files beyond the limit.

        Listing a folder of thousands takes longer than writing a trace: so it is done at the first write of a process,
        and again each time that it wrote a sixteenth of the limit.
        """
        files = self.files()
        taken = sum(facts.st_size for _, facts in files)
        self._unlisted = min(self.limit // 16, self.limit - taken)
        excess = taken - self.limit
        for file, facts in files:
            if excess <= 0:
                return
            with contextlib.suppress(OSError):
                file.unlink()
            excess -= facts.st_size

    def _file(self, key: str) -> Path:
        return self.path / f"{key}{SUFFIX}"
