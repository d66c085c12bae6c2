"""Links between devices by their names, and the link that a device's machines have."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from archcalc.errors import UnknownDevice, WrongUse
from archcalc.hardware.catalogue import device
from archcalc.hardware.hardware import Hardware
from archcalc.text.spelling import normal

FILE = Path(__file__).with_name("interconnects.toml")
NODE, NETWORK = "node", "network"
USUAL = "ib-ndr"
"""The network between machines where none is named."""


@dataclass(frozen=True)
class Interconnect:
    """A link: `bandwidth` is the bytes a second that one device sends in one direction at most.

    `scope` is 'node' for links inside a machine, 'network' for those between machines; `devices` are the aliases of
    devices whose machines have it.
    """

    name: str
    aliases: tuple[str, ...]
    scope: str
    bandwidth: float
    devices: tuple[str, ...]
    source: str


@cache
def interconnects() -> tuple[Interconnect, ...]:
    """Every link, in the order of the file."""
    return tuple(
        Interconnect(
            entry["name"],
            tuple(entry["aliases"]),
            entry["scope"],
            entry["gb_s"] * 1e9,
            tuple(entry["devices"]),
            entry["source"],
        )
        for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["interconnect"]
    )


def interconnect(name: str, scope: str) -> Interconnect:
    """The link of a scope that a name means; WrongUse names those that there are.

    >>> interconnect("NVLink 4", "node").bandwidth
    450000000000.0
    """
    wanted = normal("".join(name.split()))
    offered = [link for link in interconnects() if link.scope == scope]
    known = {normal("".join(word.split())): link for link in offered for word in (link.name, *link.aliases)}
    if wanted in known:
        return known[wanted]
    close = [known[word].aliases[0] for word in get_close_matches(wanted, list(known), 1)]
    where = "inside a machine" if scope == NODE else "between machines"
    hint = [f"did you mean  {close[0]} ?"] if close else []
    listed = f"{where}  {', '.join(link.aliases[0] for link in offered)}"
    raise WrongUse(f"there is no link '{name}' {where}.", "\n".join([*hint, listed]))


def link_of(hardware: Hardware) -> Interconnect | None:
    """The link inside the machines of a device; None where none is known."""
    for link in interconnects():
        for alias in link.devices:
            try:
                if device(alias) == hardware:
                    return link
            except UnknownDevice:
                continue
    return None
