"""Modules as patterns that --checkpoint takes, and as lines of code."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import escape

NUMBER = re.compile(r"\d+")


def kind(path: str) -> str:
    """A module's path with all its numbers left open: those of one kind are written alike."""
    return NUMBER.sub("*", path)


def patterns_for(chosen: Sequence[str], modules: Sequence[str]) -> tuple[str, ...]:
    """The fewest patterns of a simple kind that name exactly the chosen modules among all, as --checkpoint reads them.

    >>> patterns_for(["layers.0", "layers.1"], ["layers", "layers.0", "layers.0.fc", "layers.1", "layers.2"])
    ('layers.[01]',)
    >>> patterns_for(["layers.0", "layers.1"], ["layers", "layers.0", "layers.0.fc", "layers.1", "head"])
    ('layers.*',)
    """
    families: dict[str, list[str]] = defaultdict(list)
    for path in chosen:
        families[NUMBER.sub("#", path)].append(path)
    return tuple(pattern for family in families.values() for pattern in _of_family(family, modules))


def _of_family(paths: Sequence[str], modules: Sequence[str]) -> list[str]:
    """Patterns for modules whose paths differ in numbers alone."""
    if len(paths) == 1:
        return [escape(paths[0])]
    if sorted(named(whole := NUMBER.sub("*", paths[0]), modules)) == sorted(paths):
        return [whole]
    found, left = [], list(paths)
    for pattern in _candidates(paths):
        matched = named(pattern, modules)
        if len(matched) > 1 and set(matched) <= set(left):
            found.append(pattern)
            left = [path for path in left if path not in matched]
    return [*found, *(escape(path) for path in left)]


def _candidates(paths: Sequence[str]) -> Iterator[str]:
    """Patterns in which one number is any, one of several last digits, or both, from wide to narrow."""
    wide: dict[str, None] = {}
    digits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in paths:
        for match in NUMBER.finditer(path):
            wide[f"{path[: match.start()]}*{path[match.end() :]}"] = None
            digits[path[: match.end() - 1], path[match.end() :]].add(path[match.end() - 1])
    yield from wide
    ranges = sorted(digits.items(), key=lambda item: -len(item[1]))
    yield from (f"{before}[{_class(found)}]{after}" for (before, after), found in ranges if len(found) > 1)


def _class(digits: Iterable[str]) -> str:
    """Digits as they stand in brackets: neighbours as a range."""
    ordered = sorted(digits)
    whole = len(ordered) > 2 and int(ordered[-1]) - int(ordered[0]) == len(ordered) - 1
    return f"{ordered[0]}-{ordered[-1]}" if whole else "".join(ordered)


def named(pattern: str, modules: Iterable[str]) -> list[str]:
    """The outermost modules that a pattern names; parents come before children."""
    matched: list[str] = []
    for path in modules:
        if path and fnmatchcase(path, pattern) and not any(path.startswith(f"{above}.") for above in matched):
            matched.append(path)
    return matched


def code_for(paths: Sequence[str]) -> list[str]:
    """The lines of Python to add behind the making of `model`, so that these modules are computed again in backward."""
    lines, line = [], "   "
    for word in [f'"{path}",' for path in paths]:
        if len(line) + len(word) > 90:
            lines.append(line)
            line = "   "
        line += f" {word}"
    return [
        "from functools import partial",
        "from torch.utils.checkpoint import checkpoint",
        "for path in (",
        *lines,
        line,
        "):",
        "    layer = model.get_submodule(path)",
        "    layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)",
    ]
