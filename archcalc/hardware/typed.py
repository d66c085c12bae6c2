"""A device as people type it: a name, the name of a family, a file of their own, or its figures."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archcalc.errors import BadInput, UnknownDevice, unreadable
from archcalc.hardware.catalogue import GIGA, MICRO, TERA, device, hardware_from, member_of_family
from archcalc.hardware.hardware import Hardware
from archcalc.text.units import parse_size
from archcalc.text.visible import shortened

DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")
"""The types of numbers that peaks are given for."""
INLINE = ("tflops", "gbps", "vector", "launch_us", "memory", "cache", *DTYPES)
"""Figures that can be typed: tflops is the peak of every type of numbers that has none of its own."""
SIZES = ("memory", "cache")
HERE = "cpu"
"""The name of this machine."""
FORM = "write  --on tflops=312,gbps=2039"
TABLE = "bandwidth_gb_s = 936  and  peaks_tflops = { fp32 = 35.6, fp16 = 71 }"
NUMBER = (int, float)
LEAST, MOST = 1e-12, 1e15
"""Figures of devices lie between these, in the units of devices.toml."""
KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str, "aliases": list, "kind": str, "kernels": str, "memory": str, "sold_as": str, "reported": bool,
    "bandwidth_gb_s": NUMBER, "peaks_tflops": dict, "vector_tflops": NUMBER, "launch_us": NUMBER,
    "cache": str, "recalled": list, "source": str,
}  # fmt: skip
"""The keys of a device's own file, which are those of devices.toml."""


def device_typed(text: str) -> Hardware:
    """The device that was typed: 'rtx4090', 'h100', 'my.toml' or 'tflops=312,gbps=2039'.

    UnknownDevice for a name that no device has; BadInput for a file or figures that cannot be read, or that are 0.

    >>> device_typed("h100").name, device_typed("tflops=312,gbps=2039").peaks["bf16"]
    ('NVIDIA H100 SXM', 312000000000000.0)
    """
    if "=" in text:
        return _from_figures(text)
    if text.strip().lower() == HERE:
        raise BadInput(
            "'cpu' is this machine, which is measured anew each time: no figure or budget is of it.",
            "name a device of  archcalc devices , or give its figures, such as  tflops=0.1,gbps=20",
        )
    if text.lower().endswith(".toml"):
        return _from_file(text)
    family = member_of_family(text)
    return family if family is not None else device(text)


def means_another(text: str, hardware: Hardware) -> str:
    """The sentence that says which device of a family was taken; '' where the name is its own."""
    family = None if "=" in text or text.lower().endswith(".toml") else member_of_family(text)
    if family is None:
        return ""
    try:
        device(text)
    except UnknownDevice as several:
        others = ", ".join(near for near in several.near if near not in hardware.aliases)
        return f"{text} is taken as {hardware.name}; others: {others}"
    return ""


def _from_figures(text: str) -> Hardware:
    pairs = [_pair(part, text) for part in text.split(",") if part.strip()]
    typed = dict(pairs)
    if len(typed) < len(pairs):
        raise BadInput(f"'--on {shortened(text)}' gives a figure twice.", "give each figure once")
    numbers = {key: _number(key, value, text) for key, value in typed.items() if key not in SIZES}
    known = {dtype: numbers[dtype] for dtype in DTYPES if dtype in numbers}
    peaks = {**(dict.fromkeys(DTYPES, numbers["tflops"]) if "tflops" in numbers else {}), **known}
    if not peaks or "gbps" not in numbers:
        lacks = "bandwidth, gbps," if peaks else "peak, tflops,"
        raise BadInput(f"'--on {shortened(text)}' gives no {lacks} of the device.", FORM)
    vector = numbers.get("vector", peaks.get("fp32"))
    return Hardware(
        name=text,
        aliases=(),
        kind="typed",
        kernels="",
        peaks={dtype: peak * TERA for dtype, peak in peaks.items()},
        bandwidth=numbers["gbps"] * GIGA,
        capacity=_memory(typed["memory"], text) if "memory" in typed else None,
        sold_as="",
        reported=False,
        recalled=(),
        source="as typed",
        vector=None if vector is None else vector * TERA,
        launch=numbers["launch_us"] * MICRO if "launch_us" in numbers else None,
        cache=_memory(typed["cache"], text) if "cache" in typed else None,
    )


def _pair(part: str, text: str) -> tuple[str, str]:
    key, equals, value = (word.strip() for word in part.partition("="))
    key = key.lower()
    if key not in INLINE or not equals:
        raise BadInput(
            f"'--on {shortened(text)}' has no figure '{shortened(part.strip())}'.", f"figures  {', '.join(INLINE)}"
        )
    return key, value


def _number(key: str, value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not LEAST <= number <= MOST:
        raise BadInput(f"'--on {shortened(text)}': {key} is not a number above 0 that a device could have.", FORM)
    return number


def _memory(value: str, text: str, form: str = FORM) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        raise BadInput(f"'--on {shortened(text)}': {error}.", form) from None


def _from_file(path: str) -> Hardware:
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            f"--on {path}: the file cannot be read ({unreadable(error)}).", "see  archcalc devices"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"--on {path}: it is not TOML ({error}).", f"write  {TABLE}") from None
    found = document.get("device", document)
    entries = found if isinstance(found, list) else [found]
    if len(entries) != 1:
        raise BadInput(f"--on {path}: it holds {len(entries)} devices, and one is wanted.", "keep one [[device]] in it")
    if not isinstance(entries[0], dict):
        raise BadInput(f"--on {path}: device = {entries[0]!r} says nothing of a device.", f"write  {TABLE}")
    return hardware_from(_whole(entries[0], path))


def _whole(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    """An entry with what may be left out; BadInput for a key, a type or a number that cannot be."""
    form = f"write  {TABLE}"
    for key, value in entry.items():
        if key not in KEYS or not isinstance(value, KEYS[key]):
            raise BadInput(f"--on {path}: {key} = {value!r} says nothing of a device.", form)
    peaks = entry.get("peaks_tflops")
    for key, given in (("bandwidth_gb_s", entry.get("bandwidth_gb_s")), ("peaks_tflops", peaks)):
        if given is None or given == {}:
            raise BadInput(f"--on {path}: it gives no {key}.", form)
    numbers = {key: value for key, value in entry.items() if KEYS[key] is NUMBER} | dict(peaks or {})
    for key, number in numbers.items():
        if type(number) not in NUMBER or not LEAST <= number <= MOST:
            raise BadInput(f"--on {path}: {key} = {number!r} is not a number above 0 that a device could have.", form)
    unknown = [dtype for dtype in entry["peaks_tflops"] if dtype not in DTYPES]
    if unknown:
        raise BadInput(f"--on {path}: there is no type of numbers '{unknown[0]}'.", f"types  {', '.join(DTYPES)}")
    for key in SIZES:
        if key in entry:
            _memory(entry[key], path, f'write  {key} = "24GiB"')
    name = str(entry.get("name") or Path(path).stem)
    return {"aliases": [name], "kind": "gpu", "source": path, **entry, "name": name}
