"""Our figures beside published ones, those of the same network in a library, and those of other counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archcalc import engine
from archcalc.analyses import Flops, Params, analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, MissingExtra
from archcalc.networks import catalogue
from archcalc.networks.spec import Network
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.published import at_defaults, network_of
from archcalc.studies.verify.reasons import Counterpart, against_counter, against_printed, against_report
from archcalc.text.faces import Shown
from archcalc.text.units import shape

ANALYSES = (Params(), Flops())


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """The report of a model, and every check that applies to it."""

    report: Report
    checks: Sequence[Counterpart]

    def __repr__(self) -> str:
        """One line."""
        return f"<Verification of {self.report.trace.model.name}: {len(self.checks)} figures compared>"


def verified(reference: str | Subject, setup: Setup) -> Verification:
    """Every check that applies to a model; raises what tracing the model raises."""
    report = analyze(engine.trace(reference, setup), ANALYSES)
    checks = [against_counter(report, counted) for counted in engine.other_counts(reference, setup)]
    network = network_of(report)
    if network is None or not at_defaults(report, network.config) or setup.lora:  # papers count no adapters
        return Verification(report, checks)
    return Verification(report, [*_published(report, network), *_elsewhere(report, network), *checks])


def verified_catalogue(setup: Setup, observer: Observer = SILENT) -> list[Verification]:
    """Every check that applies to each network of the catalogue."""
    names = list(catalogue.entries())
    observer.expect(len(names))
    verifications = []
    for name in names:
        verifications.append(verified(name, setup))
        observer.advance()
    return verifications


def _published(report: Report, network: Network) -> list[Counterpart]:
    """Printed figures, each against a run under its own knobs."""
    reports: dict[tuple[tuple[str, Any], ...], Report] = {(): report}
    checks = []
    for published in network.published:
        key = tuple(published.knobs.items())
        if key not in reports:
            reports[key] = _with_knobs(network.name, published.knobs)
        where = f"{published.where} ({' '.join(f'{knob}={value}' for knob, value in key)})" if key else published.where
        checks.append(against_printed(reports[key], published.figure, published.printed, where, published.note))
    return checks


def _with_knobs(name: str, knobs: Mapping[str, Any]) -> Report:
    return analyze(engine.trace(name, Setup(knobs=knobs)), ANALYSES)


def _elsewhere(report: Report, network: Network) -> list[Counterpart]:
    """The same network in a library, on the same input; a line says so if the library is not installed."""
    if not network.same_as:
        return []
    shapes = tuple(f"{given.dtype}:{shape(given.shape)}" for given in report.trace.inputs[:1])
    try:
        other = analyze(engine.trace(network.same_as, Setup(inputs=shapes)), ANALYSES)
    except MissingExtra as error:
        absent = (f"not installed: {error.hint.removeprefix('type').strip()}",)
        return [Counterpart("params", network.same_as, report.params, None, reasons=absent)]
    except ArchcalcError as error:
        return [Counterpart("params", network.same_as, report.params, None, reasons=(f"failed: {error}",))]
    return against_report(report, other)
