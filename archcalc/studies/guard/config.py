"""Checks as a project writes them: `[[tool.archcalc.check]]` in pyproject.toml, or `[[check]]` in archcalc.toml.

Every key is known or refused with a suggestion, and every budget knows the line it stands on.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from archcalc.analyses.lint.lint import RULES
from archcalc.analyses.metrics import BUDGETS, BYTES, Metric, time_on
from archcalc.engine.setup import INPUT, KERNELS, STEP, keys_of, settings
from archcalc.errors import ArchcalcError, BadConfig
from archcalc.hardware import Hardware
from archcalc.text.durations import parse_duration
from archcalc.text.former_keys import ALIASES
from archcalc.text.units import parse_count, parse_size

MAX_TIME = "max_time"
"""A budget such as "2 ms on h100": the least time of a forward pass, eager."""
MAX_CACHE = "max_kv_per_token"
"""A budget such as "128 KiB": bytes of cache that one more token of one sequence takes, of `serve`."""
LIMITS = {"max": "≤", "min": "≥", "exact": "="}
OTHERS: dict[str, tuple[type, ...]] = {
    "name": (str,), "model": (str,), "baseline": (str,), "level": (str,), "message": (str,), "output": (str,),
    "shapes": (dict,), "no_uncounted_ops": (bool,), "lint": (list,), MAX_TIME: (str,), MAX_CACHE: (int, str),
}  # fmt: skip
BUDGET_KEYS = (
    *(f"{limit}_{figure}" for limit in LIMITS for figure in BUDGETS),
    *(f"max_{figure}_growth" for figure in BUDGETS),
)
FORMER_KEYS = tuple(
    key.replace(now, former) for key in BUDGET_KEYS for former, now in ALIASES.items() if now in key and now in BUDGETS
)
"""Keys of budgets as they were called before; they are read still."""
KEYS = (*OTHERS, *settings(), *BUDGET_KEYS)
LEVELS = ("error", "warn")
WORDS = {
    str: "text",
    int: "a whole number",
    float: "a decimal number",
    dict: "a table",
    list: "a list of texts",
    bool: "true or false",
}


@dataclass(frozen=True)
class Budget:
    """One line of a check: its key, what it limits, the limit as typed and as a number, and where it stands."""

    key: str
    kind: str
    figure: str
    typed: str
    limit: Any
    line: int


@dataclass(frozen=True)
class Check:
    """One model with its budgets; `settings` are the command line's options by name."""

    name: str
    model: str
    settings: Mapping[str, Any]
    budgets: tuple[Budget, ...]
    baseline: str
    level: str
    message: str
    line: int

    @property
    def trains(self) -> bool:
        """Whether a training step has to be traced."""
        return any(
            budget.figure == "train_memory" or (budget.kind == "lint" and RULES[budget.figure].of_step)
            for budget in self.budgets
        )

    @property
    def on(self) -> list[Hardware | None]:
        """The devices that the budgets of time are of."""
        return [budget.limit[1].on for budget in self.budgets if budget.kind == "time"]

    @property
    def runs(self) -> bool:
        """Whether the model has to run: the definition alone tells some figures, if no input is named."""
        known = all(budget.figure in BUDGETS and BUDGETS[budget.figure].defined for budget in self.budgets)
        return not known or not self.budgets or any(key in self.settings for key in keys_of(INPUT, STEP, KERNELS))


def parse(text: str, path: str) -> list[Check]:
    """The checks of a file; BadConfig names the line and what is wrong."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number that Python refuses to read
        raise BadConfig(path, f"it is not TOML ({error})") from None
    tool = document.get("tool", {})
    section = tool.get("archcalc", {}) if isinstance(tool, dict) else {}
    own = not path.endswith("pyproject.toml") and "check" in document
    entries = document["check"] if own else section.get("check", []) if isinstance(section, dict) else []
    heading = "check" if own else "tool.archcalc.check"
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadConfig(path, f"'{heading}' is not a list of tables", f"write  [[{heading}]]")
    places = Places(text, heading)
    checks = [_check(entry, path, places, number) for number, entry in enumerate(entries)]
    names = [check.name for check in checks]
    for number, name in enumerate(names):
        if name in names[:number]:
            place = f"{path}:{checks[number].line}"
            raise BadConfig(place, f"there are two checks called {name}", "give each a  name = ...")
    return checks


class Places:
    """The line of each table and key: tables are found by their heading, keys by their beginning."""

    def __init__(self, text: str, heading: str) -> None:
        self.lines = text.splitlines()
        pattern = re.compile(rf"\s*\[\[\s*{re.escape(heading)}\s*\]\]")
        self.starts = [number for number, line in enumerate(self.lines, start=1) if pattern.match(line)]

    def of(self, table: int, key: str = "") -> int:
        """The line of a key in the table of that number; the line of the table if there is no key, or none is found."""
        start = self.starts[table] if table < len(self.starts) else 1
        end = self.starts[table + 1] if table + 1 < len(self.starts) else len(self.lines) + 1
        pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]|\s*\[.*\.{re.escape(key)}\s*\]")
        lines = (n for n in range(start + 1, end) if key and pattern.match(self.lines[n - 1]))
        return next(lines, start)


def _check(entry: Mapping[str, Any], path: str, places: Places, number: int) -> Check:
    def place(key: str = "") -> str:
        return f"{path}:{places.of(number, key)}"

    for key, value in entry.items():
        _known(key, value, place(key))
    if not entry.get("model"):
        raise BadConfig(place(), "the check names no model", 'write  model = "package.module:Net"')
    level = entry.get("level", "error")
    if level not in LEVELS:
        raise BadConfig(place("level"), f"there is no level '{level}'", f"choose one of  {', '.join(LEVELS)}")
    budgets = tuple(_budgets(entry, path, places, number))
    if not budgets:
        raise BadConfig(place(), f"the check of {entry['model']} demands nothing", 'add  max_params = "2.5 M", say')
    growth = [budget for budget in budgets if budget.kind == "growth"]
    if growth and not entry.get("baseline"):
        hint = 'add  baseline = ".archcalc/net.json", made by  archcalc snapshot'
        raise BadConfig(place(growth[0].key), f"{growth[0].key} needs a baseline", hint)
    return Check(
        str(entry.get("name") or entry["model"]),
        entry["model"],
        {key: entry[key] for key in settings() if key in entry},
        budgets,
        entry.get("baseline", ""),
        level,
        entry.get("message", ""),
        places.of(number),
    )


def _known(key: str, value: Any, place: str) -> None:
    if key not in (*KEYS, *FORMER_KEYS):
        close = get_close_matches(key, KEYS, 1)
        raise BadConfig(place, f"there is no key '{key}'", f"did you mean  {close[0]} ?" if close else "")
    kinds = OTHERS.get(key) or _kinds(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise BadConfig(place, f"{key} = {value!r} is not {' or '.join(WORDS[kind] for kind in kinds)}")


def _kinds(key: str) -> tuple[type, ...]:
    """The types that a value of the key may have; a setting that can be repeated is a text or a list of them."""
    row = settings().get(key)
    if row is None:
        return int, str
    kinds = row.typed.kinds
    return (dict,) if dict in kinds else (str, list) if row.typed.many else kinds


def _budgets(entry: Mapping[str, Any], path: str, places: Places, number: int) -> Iterator[Budget]:
    for key, value in entry.items():
        line = places.of(number, key)
        if key == "output":
            yield Budget(key, "output", "", value, _letters(value, f"{path}:{line}"), line)
        elif key == "shapes":
            for layer, typed in value.items():
                yield Budget(key, "shape", layer, str(typed), _letters(typed, f"{path}:{line}"), line)
        elif key == MAX_TIME:
            yield Budget(key, "time", "", value, _time(value, f"{path}:{line}"), line)
        elif key == MAX_CACHE:
            yield Budget(key, "cache", "", str(value), _bytes(value, f"{path}:{line}"), line)
        elif key == "lint":
            yield from (_rule(typed, f"{path}:{line}", line) for typed in value)
        elif key == "no_uncounted_ops" and value:
            yield Budget(key, "uncounted", "", "0", 0, line)
        elif key in BUDGET_KEYS or key in FORMER_KEYS:
            yield _limit(key, value, f"{path}:{line}", line)


def _limit(key: str, value: Any, place: str, line: int) -> Budget:
    kind, _, figure = key.partition("_")
    growth, figure = figure.endswith("_growth"), figure.removesuffix("_growth")
    figure = ALIASES.get(figure, figure)
    if growth:
        match = re.fullmatch(r"\s*([-+]?[\d.]+)\s*%?\s*", str(value))
        if match is None or not isinstance(value, str):
            raise BadConfig(place, f"{key} = {value!r} is not a share", f'write  {key} = "5 %"')
        return Budget(key, "growth", figure, value, float(match[1]) / 100, line)
    try:
        number = (
            value
            if isinstance(value, int)
            else parse_size(value)
            if BUDGETS[figure].unit == BYTES
            else parse_count(value)
        )
    except ValueError as error:
        raise BadConfig(place, f"{key}: {error}") from None
    if number < 0:
        raise BadConfig(place, f"{key} is below nothing")
    return Budget(key, kind, figure, str(value), number, line)


def _bytes(value: int | str, place: str) -> int:
    """Bytes of a whole number or of a size."""
    try:
        number = value if isinstance(value, int) else parse_size(value)
    except ValueError as error:
        raise BadConfig(place, f"{MAX_CACHE}: {error}", f'write  {MAX_CACHE} = "128 KiB"') from None
    if number < 0:
        raise BadConfig(place, f"{MAX_CACHE} is below nothing")
    return number


def _time(text: str, place: str) -> tuple[float, Metric]:
    """'2 ms on h100' as seconds and the figure of that device."""
    seconds, _, device = text.partition(" on ")
    try:
        limit = parse_duration(seconds)
        return limit, time_on(device.strip())
    except ValueError as error:
        raise BadConfig(place, f"{MAX_TIME}: {error}", f'write  {MAX_TIME} = "2 ms on h100"') from None
    except ArchcalcError as error:
        raise BadConfig(place, f"{MAX_TIME}: {error.message.rstrip('.')}", error.hint) from None


def _rule(typed: Any, place: str, line: int) -> Budget:
    """A bound on the worst finding of a rule of `lint`: "G1 <= 1.5", or "G1" with the rule's own bound."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:(?:<=|≤)\s*(\d+(?:\.\d*)?)\s*)?", str(typed))
    if match is None or match[1] not in RULES:
        hint = f'write  lint = ["G1 <= 1.5"]; its rules  {", ".join(RULES)}'
        raise BadConfig(place, f"{typed!r} is no bound of a rule", hint)
    limit = RULES[match[1]].most if match[2] is None else float(match[2])
    return Budget("lint", "lint", match[1], str(typed), limit, line)


def _letters(text: Any, place: str) -> tuple[int | str, ...]:
    """'Bx1000' as ('B', 1000)."""
    parts = re.split(r"\s*[x×,]\s*", str(text).strip())
    if not all(re.fullmatch(r"\d+|[A-Za-z]\w*|\*", part) for part in parts) or not isinstance(text, str):
        raise BadConfig(place, f"{text!r} is not a shape", 'write  "2x1000", or with letters  "Bx1000"; * is any size')
    return tuple(int(part) if part.isdigit() else part for part in parts)
