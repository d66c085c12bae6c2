"""Facts of the catalogue beside a report: published figures, papers, knobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archcalc import engine
from archcalc.analyses import Flops, Params, analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup
from archcalc.errors import WrongUse
from archcalc.networks import catalogue
from archcalc.networks.spec import Network, Published
from archcalc.text import units
from archcalc.text.spelling import setting


@dataclass(frozen=True)
class About:
    """A definition's description, and its published figures beside ours, as rows."""

    title: str
    idea: str
    about: str
    paper: str
    knobs: Mapping[str, Any]
    published: Sequence[Mapping[str, Any]]
    diagram: str = ""


def about(report: Report, setup: Setup) -> About:
    """A definition's description and figures; published ones are compared with a run under the paper's settings."""
    network = network_of(report)
    if network is None:
        reference = report.trace.model.reference
        raise WrongUse(f"{reference} is not of the catalogue.", f"type  archcalc summary {reference}")
    rows = [_row(report, network, published, setup) for published in network.published]
    return About(
        network.family.title,
        network.family.idea,
        network.about,
        str(network.source),
        dict(report.trace.model.config),
        rows,
        network.drawing,
    )


def published_lines(report: Report, figure: str) -> list[str]:
    """The paper's figure beside ours, for a network of the catalogue at its own settings and input."""
    model = report.trace.model
    entry = catalogue.resolve(model.name)[0] if model.source == "builtin" else None
    if entry is None or not at_defaults(report, _config_of(entry)):
        return []
    lines = []
    for published in _published_of(entry):
        if published.figure == figure and not published.knobs and not published.printed.replace(",", "").isdigit():
            called = f' "{published.called}" = MACs' if published.called else ""
            ours = int(report.totals[figure])
            agrees = "agrees" if published.agrees(ours) else f"ours {units.difference(ours, published.number)}"
            note = f": {published.note}" if published.note else ""
            lines.append(f"published: {published.printed}{called} ({published.where}) · {agrees}{note}")
    return lines


def network_of(report: Report) -> Network | None:
    """The definition of a report on a network of the catalogue."""
    model = report.trace.model
    return catalogue.load(catalogue.resolve(model.name)[0]) if model.source == "builtin" else None


def _config_of(entry: catalogue.Entry) -> Mapping[str, Any]:
    """The knobs of a member; those of another package's come from its definition, and torch with it."""
    return entry.knobs if entry.plugin is None else catalogue.load(entry).config


def _published_of(entry: catalogue.Entry) -> Sequence[Published]:
    if entry.plugin is not None:
        return catalogue.load(entry).published
    return [Published(**fields) for fields in entry.published]


def at_defaults(report: Report, config: Mapping[str, Any]) -> bool:
    """Whether the report is on the network at its own settings and input."""
    own_input = all(given.origin == "default" for given in report.trace.inputs)
    return own_input and _plain(report.trace.model.config) == _plain(config)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs with tuples where JSON has lists."""
    return {knob: tuple(value) if isinstance(value, list) else value for knob, value in config.items()}


def _row(report: Report, network: Network, published: Published, setup: Setup) -> dict[str, Any]:
    if published.knobs:
        knobs = {**report.trace.model.settings, **published.knobs}
        report = analyze(engine.trace(network.name, replace(setup, knobs=knobs)), (Params(), Flops()))
    ours = int(report.totals[published.figure])
    settings = " ".join(f"--set {knob}={setting(value)}" for knob, value in published.knobs.items())
    note = "; ".join(part for part in (published.note, settings) if part)
    words = {"where": published.where, "called": published.called, "note": note}
    return _published_row(published.figure, published.printed, ours, published.agrees(ours), words)


def _published_row(figure: str, printed: str, ours: int, agrees: bool, words: Mapping[str, str]) -> dict[str, Any]:
    """One published figure beside ours; `said` holds where, called and note."""
    called = f" (printed as {words['called']})" if words["called"] else ""
    return {
        "figure": {"params": "parameters", "macs": "MACs"}[figure] + called,
        "printed": printed,
        "ours": ours,
        "difference": "=" if agrees else units.difference(ours, units.parse_count(printed)),
        "where": words["where"],
        "note": words["note"],
    }
