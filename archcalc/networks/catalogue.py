"""The catalogue: names, families and stored figures of every definition, readable without torch.

The figures stand in catalogue.json, which is written from the definitions (`python -m tests.regenerate`) and
compared with them by a test. Other packages add networks through entry points, which are names until one is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcalc.errors import CannotImport, UnknownNetwork, one_line
from archcalc.text.entry_points import entry_points
from archcalc.text.spelling import normal

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from archcalc.networks.spec import Network

FILE = Path(__file__).with_name("catalogue.json")
PLUGINS = "archcalc.networks"
"""The group of entry points through which packages add networks: the network's name, and where its Network is."""


@dataclass(frozen=True)
class Entry:
    """One member: where its definition is, and its figures as stored (batch 1, default knobs).

    A member from another package has no stored figures: `plugin` is its entry point, and they are None.
    """

    name: str
    aliases: Sequence[str]
    family: str
    file: str
    year: int | None
    input: str
    knobs: Mapping[str, Any]
    params: int | None
    macs: int | None
    published: Sequence[Mapping[str, Any]] = ()
    """The figures that papers print, as fields of spec.Published."""
    plugin: EntryPoint | None = None


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
    """Everything that can be typed as a NAME: members, families, aliases, networks of other packages."""
    own = [name for entry in entries().values() for name in (entry.name, *entry.aliases)]
    return [*own, *(alias for alias in aliases() if alias not in own), *plugins()]


@cache
def plugins() -> Mapping[str, Entry]:
    """The networks that installed packages add, by name; a name of our own stays ours."""
    taken = {normal(name) for name in (*entries(), *aliases())}
    added = {}
    for point in entry_points(group=PLUGINS):
        if normal(point.name) not in taken:
            package = point.dist.name if point.dist else point.module
            added[point.name] = Entry(point.name, (), package, "", None, "", {}, None, None, plugin=point)
    return added


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
    for entry in plugins().values():
        if wanted == normal(entry.name):
            return entry, f"{entry.name} comes with the package {entry.family}"
    raise UnknownNetwork(name, names(), is_folder=isfile(f"{name}/config.json"))


def matching(glob: str) -> list[FamilyEntry]:
    """The families with those members that match the glob; a family's own name matches all of them."""
    pattern = normal(glob)
    matches = []
    for family in (*families(), *_packages()):
        whole = any(fnmatchcase(normal(name), pattern) for name in (family.name, *family.aliases))
        members = [
            member
            for member in family.members
            if whole or any(fnmatchcase(normal(name), pattern) for name in (member.name, *member.aliases))
        ]
        if members:
            matches.append(FamilyEntry(family.name, family.title, family.default, family.aliases, tuple(members)))
    return matches


def _packages() -> list[FamilyEntry]:
    """The networks of other packages as families, one a package."""
    by_package: dict[str, list[Entry]] = {}
    for entry in plugins().values():
        by_package.setdefault(entry.family, []).append(entry)
    return [
        FamilyEntry(package, f"networks of the package {package}", "", (), tuple(members))
        for package, members in by_package.items()
    ]


def load(entry: Entry) -> Network:
    """The definition itself; imports its file, and torch with it. CannotImport where another package's fails."""
    from archcalc.networks.spec import NETWORKS, Network

    if entry.plugin is not None:
        where = f"the network {entry.name} of the package {entry.family}"
        try:
            network = entry.plugin.load()
        except Exception as error:  # code of another package
            hint = f"its entry point is {entry.plugin.value}"
            raise CannotImport(f"{where} raised {one_line(error)}.", hint) from error
        if not isinstance(network, Network) or network.name != entry.name:
            hint = f"{entry.plugin.value} must be an archcalc.networks.spec.Network of that name"
            raise CannotImport(f"{where} is not one.", hint)
        return network
    import_module(f"archcalc.networks.{entry.file}")
    return NETWORKS[entry.name]
