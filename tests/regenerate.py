"""Write again what is checked in and generated: the catalogue's stored figures and the outputs in the documentation.

python -m tests.regenerate          write
"""

from __future__ import annotations

import json
import pkgutil
from importlib import import_module
from typing import Any

from archcalc import networks, units
from archcalc.analyses import analyze
from archcalc.engine import Setup
from archcalc.engine.load import Loaded
from archcalc.engine.nodata import without_data
from archcalc.engine.run import run_loaded
from archcalc.networks import catalogue
from archcalc.networks.network import NETWORKS, Network
from archcalc.trace import Model


def all_networks() -> dict[str, Network]:
    """Every definition; imports each file of the room, so that a new one needs no line here."""
    for module in sorted(pkgutil.iter_modules(networks.__path__), key=lambda m: m.name):
        import_module(f"archcalc.networks.{module.name}")
    return NETWORKS


def catalogue_json() -> str:
    """The text of catalogue.json, computed from the definitions."""
    families: dict[str, dict[str, Any]] = {}
    for network in all_networks().values():
        family = network.family
        entry = families.setdefault(
            family.name,
            {
                "name": family.name,
                "title": family.title,
                "default": family.default,
                "aliases": list(family.aliases),
                "members": [],
            },
        )
        entry["members"].append(_member(network))
    ordered = sorted(families.values(), key=lambda family: family["name"])
    return json.dumps({"families": ordered}, indent=1) + "\n"


def _member(network: Network) -> dict[str, Any]:
    with without_data():
        module = network.build(**network.config)
    loaded = Loaded(module, Model(network.name, network.name, "builtin", {}), network.inputs)
    report = analyze(run_loaded(loaded, Setup()), ("params", "flops"))
    return {
        "name": network.name,
        "file": network.build.__module__.rpartition(".")[2],
        "year": network.source.year,
        "input": ", ".join(units.shape(one.shape) for one in network.inputs),
        "knobs": dict(network.config),
        "params": report.params,
        "macs": report.macs,
    }


def main() -> None:
    """Write everything."""
    catalogue.FILE.write_text(catalogue_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
