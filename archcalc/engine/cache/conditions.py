"""Everything that decides a trace, as one key: reference, settings, programs and their versions. No torch here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from archcalc.engine.float32_products import float32_products
from archcalc.engine.load.references import BuiltIn, Code, InLibrary, Reference, is_configuration
from archcalc.engine.setup import Setup

LIBRARIES = ("torch", "numpy", "torchvision", "timm", "transformers", "huggingface_hub")
"""Libraries that models are built from, beside the names of all installed packages."""
PREFIXES = ("TORCH", "PYTORCH", "ATEN", "TIMM", "HF_", "TRANSFORMERS", "OMP_", "MKL_", "KMP_", "DNNL", "ONEDNN")
"""Beginnings of environment variables that torch and the libraries read."""
PACKAGE = Path(__file__).parents[2]


def programs() -> str:
    """Digest of Python, of the installed packages, of archcalc, and of the environment that libraries read."""
    parts = (sys.version, sys.platform, *_installed(), *_archcalc(), *_environment())
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def key_of(kind: str, reference: Reference, text: str, setup: Setup, programs: str) -> str:
    """The key of a trace of some kind (a run or a definition) by some `programs`; '' for a model that is not kept.

    Values of --data and functions of --inputs, kernels that this machine chooses, files of the hub and networks of
    other packages are not kept.
    """
    if setup.data or setup.inputs_from or _chosen_here(setup.device):
        return ""
    own = _of_reference(reference)
    if own is None:
        return ""
    parts = (kind, text, repr(setup), own, programs, float32_products())
    return sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()


def _of_reference(reference: Reference) -> str | None:
    if isinstance(reference, BuiltIn):
        from archcalc.networks import catalogue

        return "" if catalogue.resolve(reference.name)[0].plugin is None else None
    if isinstance(reference, InLibrary):
        return _of_library(reference)
    if isinstance(reference, Code):
        return f"{os.getcwd()}\0{sys.path}"
    return None


def _of_library(reference: InLibrary) -> str | None:
    """The contents of a configuration; '' for a name of the library; None for a name that may lead to the network."""
    name = reference.name
    if reference.library == "hf" and (is_configuration(name) or name.endswith(".json") or os.path.exists(name)):
        file = f"{name.rstrip('/')}/config.json" if os.path.isdir(name) else name
        try:
            return sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            return None
    return None if {"/", ":", "\\"} & set(name) or "hub" in name else ""


def _chosen_here(device: str) -> bool:
    """Whether the processor of this machine decides which kernels run."""
    if not device:
        return False
    from archcalc.engine.devices import device_named
    from archcalc.engine.devices.device import nowhere

    return device_named(device).machine is not nowhere


def _installed() -> Iterator[str]:
    """The names and versions of the installed packages, and when the libraries' own first files were written."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        yield from sorted(name for name in names if name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth")))
        for library in LIBRARIES:
            for file in (f"{library}/__init__.py", f"{library}/version.py", f"{library}.py"):
                if file.partition("/")[0] in names:
                    yield _written(os.path.join(folder, file))


def _archcalc() -> Iterator[str]:
    """Archcalc's own files: a development copy has no version that changes with each of them."""
    waiting = [str(PACKAGE)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name == "__pycache__":
                    continue
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    facts = entry.stat()
                    yield f"{entry.path} {facts.st_mtime_ns} {facts.st_size}"


def _environment() -> list[str]:
    return sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(PREFIXES))


def _written(path: str) -> str:
    try:
        facts = os.stat(path)
    except OSError:
        return ""
    return f"{path} {facts.st_mtime_ns} {facts.st_size}"
