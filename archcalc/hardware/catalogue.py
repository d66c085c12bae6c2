"""The devices of devices.toml, and the one that a name means."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from archcalc.errors import UnknownDevice
from archcalc.hardware.hardware import Hardware, Overhead
from archcalc.text.spelling import normal
from archcalc.text.units import parse_size

FILE = Path(__file__).with_name("devices.toml")
TERA, GIGA, MICRO = 10**12, 10**9, 1e-6
MENTIONED = 8
"""The most devices that an error names."""
MEANING = 3
"""The fewest letters within a name by which a device is suggested."""
VENDORS = ("nvidia", "geforce", "tesla", "amd", "instinct", "google", "apple", "intel")
"""Words that drivers and people put before the name of a device."""


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def devices() -> tuple[Hardware, ...]:
    """Every device, in the order of the file."""
    return tuple(hardware_from(entry) for entry in _file()["device"])


def hardware_from(entry: Mapping[str, Any]) -> Hardware:
    """The device of an entry of devices.toml; what KeyError and TypeError say is wrong with an entry by other hands."""
    bandwidth, memory = entry.get("bandwidth_gb_s"), entry.get("memory")
    vector, launch = entry.get("vector_tflops", entry["peaks_tflops"].get("fp32")), entry.get("launch_us")
    return Hardware(
        name=entry["name"],
        aliases=tuple(entry["aliases"]),
        kind=entry["kind"],
        kernels=entry.get("kernels", ""),
        peaks={dtype: peak * TERA for dtype, peak in entry["peaks_tflops"].items()},
        bandwidth=None if bandwidth is None else bandwidth * GIGA,
        capacity=None if memory is None else parse_size(memory),
        sold_as=entry.get("sold_as", ""),
        reported=entry.get("reported", False),
        recalled=tuple(entry.get("recalled", ())),
        source=entry["source"],
        vector=None if vector is None else vector * TERA,
        launch=None if launch is None else launch * MICRO,
        cache=None if entry.get("cache") is None else parse_size(entry["cache"]),
    )


def member_of_family(name: str) -> Hardware | None:
    """The device that the name of a family such as h100 stands for; None for all other names."""
    families = {_normal(family): member for family, member in _file()["family"].items()}
    member = families.get(_normal(name))
    return None if member is None else device(member)


def overhead(hardware: Hardware) -> Overhead | None:
    """What a process on the device cannot give to tensors; None where that is not known."""
    entry = _file()["reserve"].get(hardware.kernels)
    return entry and Overhead(parse_size(entry["context"]), entry["fragmentation"], entry["source"])


def layers_in_one_kernel(kernels: str) -> tuple[str, ...]:
    """Types of torch's layers that one kernel computes, all steps of a sequence; none for kernels that are not known.

    >>> layers_in_one_kernel("cuda"), layers_in_one_kernel("")
    (('LSTM', 'GRU', 'RNN'), ())
    """
    return tuple(_file()["one_kernel"].get(kernels, ()))


def runs_several_kernels(kernels: str) -> bool:
    """Whether ops run as the several kernels that their entries name; not known, and False, of other kernels.

    >>> runs_several_kernels("cuda"), runs_several_kernels("")
    (True, False)
    """
    return bool(_file()["several_kernels"].get(kernels, False))


def device(name: str) -> Hardware:
    """The device of a name or alias, however it is spelled; UnknownDevice lists those that another name could mean.

    >>> device("RTX 4090").name, device("a100_80g").name
    ('NVIDIA RTX 4090', 'NVIDIA A100 SXM 80GB')
    """
    wanted, by_name = _normal(name), _by_name()
    if wanted in by_name:
        return by_name[wanted]
    could = {found.name: found for known, found in by_name.items() if _part_of(wanted, known)}
    near = could or {found.name: found for found in (by_name[word] for word in _close(wanted, list(by_name)))}
    raise UnknownDevice(name, [found.aliases[0] for found in near.values()][:MENTIONED], len(could))


def matching(glob: str) -> list[Hardware]:
    """The devices whose name, alias or kind matches the pattern; else those whose name has it as a part."""
    wanted = {_normal(glob), _plain(glob)}
    exact = [found for found in devices() if any(fnmatchcase(word, glob) for word in _words(found) for glob in wanted)]
    return exact or [
        found for found in devices() if any(part and part in word for word in _words(found) for part in wanted)
    ]


def _words(hardware: Hardware) -> set[str]:
    """What a device is found by: its names with and without the vendor, and its kind."""
    return {spelled(word) for word in (*_names(hardware), hardware.kind) for spelled in (_normal, _plain)}


def _names(hardware: Hardware) -> tuple[str, ...]:
    """What a device is called: its aliases, its name, and its name without the vendor."""
    return (*hardware.aliases, hardware.name, hardware.name.partition(" ")[2])


@cache
def _by_name() -> Mapping[str, Hardware]:
    return {_normal(word): found for found in devices() for word in _names(found)}


def _close(wanted: str, known: list[str]) -> list[str]:
    return get_close_matches(wanted, known, MENTIONED, 0.7)


def _part_of(wanted: str, known: str) -> bool:
    """Whether a name begins with what was typed, or has it within if it is long enough to mean something."""
    return bool(wanted) and (known.startswith(wanted) or (len(wanted) >= MEANING and wanted in known))


def _normal(name: str) -> str:
    """A name without case, marks and the names of vendors, unless it has no more: 'NVIDIA GeForce RTX 4090', 'amd'."""
    words = re.split(r"[\s/_-]+", name.lower())
    return normal("".join([word for word in words if word not in VENDORS] or words))


def _plain(name: str) -> str:
    """A name without case and marks."""
    return normal("".join(name.split()))
