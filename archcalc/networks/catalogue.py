"""The catalogue: names, families and stored figures of every definition, readable without torch.

The figures stand in catalogue.json, which is written from the definitions (`python -m tests.regenerate`) and
compared with them by a test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcalc.errors import UnknownNetwork

if TYPE_CHECKING:
    from archcalc.networks.network import Network

FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True)
class Entry:
    """One member: where its definition is, and its figures as stored (batch 1, default knobs)."""

    name: str
    aliases: Sequence[str]
    family: str
    file: str
    year: int
    input: str
    knobs: Mapping[str, Any]
    params: int
    macs: int


@dataclass(frozen=True)
class FamilyEntry:
    """A family: its name and aliases mean the default member."""

    name: str
    title: str
    default: str
    aliases: tuple[str, ...]
    members: tuple[Entry, ...]


@cache
def families() -> tuple[FamilyEntry, ...]:
    """The families in the order of the catalogue."""
    return tuple(
        FamilyEntry(
            name=family["name"],
            title=family["title"],
            default=family["default"],
            aliases=tuple(family["aliases"]),
            members=tuple(Entry(family=family["name"], **member) for member in family["members"]),
        )
        for family in json.loads(FILE.read_text(encoding="utf-8"))["families"]
    )


@cache
def entries() -> Mapping[str, Entry]:
    """Every member by its name."""
    return {member.name: member for family in families() for member in family.members}


@cache
def aliases() -> Mapping[str, FamilyEntry]:
    """Every family by its name and by its aliases."""
    return {name: family for family in families() for name in (family.name, *family.aliases)}


def names() -> list[str]:
    """Everything that can be typed as a NAME: members, families, aliases."""
    own = [name for entry in entries().values() for name in (entry.name, *entry.aliases)]
    return [*own, *(alias for alias in aliases() if alias not in own)]


def resolve(name: str) -> tuple[Entry, str]:
    """The member a name means, and a note where the name is a family's; UnknownNetwork for no member.

    Case, '-' and '_' do not matter. A member's own name wins over a family's.
    """
    wanted = normal(name)
    for entry in entries().values():
        if wanted in map(normal, (entry.name, *entry.aliases)):
            return entry, ""
    for alias, family in aliases().items():
        if normal(alias) == wanted:
            others = [m.name for m in family.members if m.name != family.default]
            shown = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
            note = f"{alias} means {family.default}, the family's default; others: {shown}"
            return entries()[family.default], note
    raise UnknownNetwork(name, names())


def matching(glob: str) -> list[FamilyEntry]:
    """The families with those members that match the glob; a family's own name matches all of them."""
    pattern = normal(glob)
    found = []
    for family in families():
        whole = any(fnmatchcase(normal(name), pattern) for name in (family.name, *family.aliases))
        members = [
            member
            for member in family.members
            if whole or any(fnmatchcase(normal(name), pattern) for name in (member.name, *member.aliases))
        ]
        if members:
            found.append(FamilyEntry(family.name, family.title, family.default, family.aliases, tuple(members)))
    return found


def load(entry: Entry) -> Network:
    """The definition itself; imports its file, and torch with it."""
    from archcalc.networks.network import NETWORKS

    import_module(f"archcalc.networks.{entry.file}")
    return NETWORKS[entry.name]


def normal(name: str) -> str:
    """A name without what does not matter in it."""
    return name.lower().replace("-", "").replace("_", "")
