"""The forms of typed settings: from what was typed to the value of a field. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from archcalc.errors import BadInput, WrongUse
from archcalc.text.spelling import parse_value
from archcalc.text.units import parse_shape, parse_size


def as_typed(value: Any) -> Any:
    """The value itself."""
    return value


def several(value: Any) -> tuple[str, ...]:
    """One text or several, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def parse_settings(settings: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """KNOB=VALUE pairs, the values read as numbers, lists, true or false, else as texts; or a table of a check file.

    >>> parse_settings(["depth=169", "block_config=6,12,24,16", "shortcut=B", "memory_efficient=true"])
    {'depth': 169, 'block_config': (6, 12, 24, 16), 'shortcut': 'B', 'memory_efficient': True}
    """
    if isinstance(settings, Mapping):
        values = {knob: tuple(value) if isinstance(value, list) else value for knob, value in settings.items()}
        return dict(zip(parse_settings([f"{knob}=1" for knob in values]), values.values(), strict=True))
    parsed: dict[str, Any] = {}
    for text in settings:
        knob, equals, value = text.partition("=")
        if not equals or not knob.strip():
            raise WrongUse(f"'--set {text}' is not a setting.", "write  --set KNOB=VALUE")
        name = knob.strip().replace("-", "_")
        if name in parsed:
            raise WrongUse(f"--set {name} is given twice.", "give each knob once")
        parsed[name] = parse_value(value.strip())
    return parsed


def parse_image_size(size: str | int) -> tuple[int, int] | None:
    """288, '288' or '224x320' as height and width; None for ''."""
    if size == "":
        return None
    try:
        sizes = parse_shape(str(size))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise BadInput(f"'--size {size}' is not a size.", "write  --size 288  or  --size 224x320")
    return sizes[0], sizes[-1]


def parse_lengths(text: str | Sequence[int]) -> tuple[int, ...] | None:
    """'20,12,5' as lengths of the sequences of a batch, each at least 1; None for ''."""
    if text == "":
        return None
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        lengths = tuple(int(part) for part in parts if part != "")
    except (TypeError, ValueError):
        lengths = (0,)
    if any(length < 1 for length in lengths):
        raise BadInput(f"'--lengths {text}' are no lengths.", "write  --lengths 20,12,5")
    return lengths


def checked_decay(value: float | None) -> float | None:
    """A weight decay as a float if it is a finite number from 0, else BadInput; None for None."""
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < inf:
        raise BadInput(f"'--weight-decay {value}' is not a rate.", "write  --weight-decay 0.01, or 0 for none")
    return float(value)


def parse_memory(option: str, text: str) -> int:
    """'24GiB' as bytes; BadInput shows the form, also for a number without a unit."""
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if size < 1:
        raise BadInput(f"'{option} {text}' is not a size of memory.", f"write  {option} 24GiB")
    number = text.strip()
    if number[-1].isdigit():
        units = f"{option} {number}GiB  (2^30 bytes each),  {number}GB  or  {number}B"
        raise BadInput(f"'{option} {text}' has no unit.", f"write  {units}")
    return size


def parse_data_limit(text: str) -> int:
    """'8GiB' as bytes."""
    return parse_memory("--data-limit", text)


def checked_data_limit(text: str) -> str:
    """The text itself, if it is a size of memory."""
    parse_data_limit(text)
    return text
