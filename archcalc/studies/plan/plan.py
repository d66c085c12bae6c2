"""The plan of a training step on many devices: of one layout, or of all that fit, by their bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from archcalc import engine, hardware
from archcalc.analyses.spread.axis import COLUMNS, SEQUENCE, Axis
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import BadInput, WrongUse
from archcalc.hardware.interconnects import NETWORK, NODE, USUAL, interconnect, link_of
from archcalc.studies.budget import Budget, parse_budget
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.plan.bound import Bound, Machines, bound
from archcalc.studies.plan.facts import Facts
from archcalc.studies.plan.layout import Asked, Layout
from archcalc.studies.plan.rank import Bill, Ranks
from archcalc.studies.plan.schedule import bubble
from archcalc.studies.plan.traffic import Traffic, traffic
from archcalc.text.faces import Shown
from archcalc.text.units import plural, size
from archcalc.tracing import Trace


@dataclass(frozen=True)
class Place:
    """Where the step runs: a device by name, what is set aside of its memory, its links, devices in a machine."""

    on: str = ""
    reserve: str | None = None
    link: str = ""
    network: str = ""
    node: int = 8


@dataclass(frozen=True)
class Work:
    """How much work a step is: samples of all ranks together; None for one microbatch a device.

    `styles` are ways to divide layers by patterns of their paths, in place of those that are found.
    """

    global_batch: int | None = None
    styles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """One layout with its figures; `reason` says why it is not possible or does not fit, '' where it does.

    A layout that is not possible has no bill. `samples` are those of a step, of all ranks.
    """

    layout: Layout
    microbatches: int
    samples: int
    reason: str = ""
    bill: Bill | None = None
    traffic: Traffic | None = None
    bound: Bound | None = None

    @property
    def bubble(self) -> float:
        """The time that a rank waits for others over the time that it works."""
        return bubble(self.layout.pp, self.layout.chunks, self.microbatches) if self.microbatches else 0.0

    @property
    def rank(self) -> tuple[float, float, int]:
        """What layouts are sorted by: the bound of a sample, then its parts added up, then the bytes of a rank."""
        parts = (self.bound.seconds, sum(self.bound.parts.values())) if self.bound else (inf, inf)
        seconds, added = (float(f"{part / self.samples:.6g}") for part in parts)
        return seconds, added, self.bill.peak if self.bill else 0


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """The layouts that fit, the best first, and those that do not; `asked` is what was fixed."""

    trace: Trace
    facts: Facts
    asked: Asked
    fitting: Sequence[Planned]
    rejected: Sequence[Planned]
    machines: Machines | None
    budget: Budget | None
    global_batch: int | None

    @property
    def best(self) -> Planned | None:
        """The first that fits; else the possible one that needs the least; None where none is possible."""
        if self.fitting:
            return self.fitting[0]
        possible = [row for row in self.rejected if row.bill]
        return min(possible, key=lambda row: row.bill.peak if row.bill else 0) if possible else None

    @property
    def fits(self) -> bool:
        """Whether any layout fits."""
        return bool(self.fitting)

    def __repr__(self) -> str:
        """One line."""
        best = self.best.layout.words if self.best else "none"
        return f"<Plan of {self.trace.model.name} on {self.asked.gpus:,}: {len(self.fitting)} layouts fit, {best}>"


def plan(
    subject: str | Subject,
    setup: Setup,
    asked: Asked,
    place: Place = Place(),
    work: Work = Work(),
    watch: Observer = SILENT,
) -> Plan:
    """The plan of a training step; `setup` is that of one microbatch, its accumulation how many a rank runs.

    WrongUse for degrees that do not make the number of devices, and for what changes nothing; UnknownDevice; the errors
    of a trace.
    """
    _demand_sense(asked, work, setup)
    budget = parse_budget(_named(place.on), place.reserve) if place.on else None
    machines = _machines(place, budget)
    setup = budget.setup(setup) if budget else setup
    training = setup.training or Training()
    accumulated = training.accumulation
    traced = replace(setup, training=replace(training, accumulation=1, rounds=1))
    facts = Facts(engine.trace(subject, traced), work.styles)
    if work.styles:
        _demand_layers(facts, work.styles)
    rows = []
    layouts = list(asked.layouts(place.node, facts.experts))
    watch.expect(len(layouts))
    for layout in layouts:
        rows.append(_planned(facts, layout, accumulated, work.global_batch, machines, budget))
        watch.advance()
    fitting = sorted((row for row in rows if not row.reason), key=lambda row: row.rank)
    rejected = [row for row in rows if row.reason]
    return Plan(facts.trace, facts, asked, fitting, rejected, machines, budget, work.global_batch)


def _named(name: str) -> str:
    """The name of a device; UnknownDevice for another one."""
    hardware.device(name)
    return name


def _machines(place: Place, budget: Budget | None) -> Machines | None:
    if budget is None or budget.hardware is None:
        for option, value in (("--link", place.link), ("--network", place.network), ("--reserve", place.reserve)):
            if value:
                raise WrongUse(f"{option} changes nothing without a device.", "add  --on h100-sxm")
        return None
    link = interconnect(place.link, NODE) if place.link else link_of(budget.hardware)
    return Machines(budget.hardware, place.node, link, interconnect(place.network or USUAL, NETWORK))


def _demand_sense(asked: Asked, work: Work, setup: Setup) -> None:
    """WrongUse for degrees that contradict each other, and for options that change nothing."""
    known = [degree for degree in (asked.tp, asked.pp, asked.dp) if degree is not None]
    product = 1
    for degree in known:
        product *= degree
    if asked.gpus % product or (asked.one and product != asked.gpus):
        typed = f"{' x '.join(map(str, known))} = {product:,}" if len(known) > 1 else f"{product:,}"
        hint = f"write  --gpus {product}" + ("  or leave one of --tp, --pp, --dp out" if len(known) > 1 else "")
        raise WrongUse(f"{typed} does not divide {asked.gpus:,} devices.", hint)
    if asked.sp and asked.tp == 1:
        raise WrongUse("--sp divides positions among the ranks of --tp, which is 1.", "add  --tp 8, or leave --sp out")
    if asked.chunks > 1 and (asked.pp or 2) == 1:
        raise WrongUse("--interleave is of a pipeline, and --pp is 1.", "add  --pp 4, or leave --interleave out")
    if asked.chunks > 1 and asked.schedule == "gpipe":
        raise WrongUse("--interleave is a schedule of 1f1b, not of gpipe.", "leave one of them out")
    if work.styles and asked.tp == 1:
        raise WrongUse("--tp-plan changes nothing: --tp is 1.", "add  --tp 8, or leave --tp-plan out")
    if work.global_batch is not None and (setup.training or Training()).accumulation > 1:
        raise WrongUse("--global-batch and --grad-accumulation both say how many microbatches.", "choose one of them")


def _demand_layers(facts: Facts, styles: Mapping[str, str]) -> None:
    from fnmatch import fnmatchcase

    owners = [p.owner for p in facts.trace.parameters]
    for pattern in styles:
        if not any(fnmatchcase(owner, pattern) for owner in owners):
            few = list(dict.fromkeys(re.sub(r"\d+", "*", owner) for owner in owners if owner))[:4]
            raise WrongUse(f"no layer with parameters matches '--tp-plan {pattern}'.", f"layers are  {', '.join(few)}")


def _planned(
    facts: Facts,
    layout: Layout,
    accumulated: int,
    global_batch: int | None,
    machines: Machines | None,
    budget: Budget | None,
) -> Planned:
    each = layout.dp * facts.batch
    samples = global_batch or (accumulated * each if accumulated > 1 else facts.batch * layout.gpus)
    reason = _impossible(facts, layout, samples)
    microbatches = samples // each
    if not reason and layout.chunks > 1 and microbatches % layout.pp:
        reason = f"interleaving takes microbatches by the {layout.pp}, and {microbatches} are not such a number"
    if reason:
        return Planned(layout, microbatches, samples, reason)
    ranks = Ranks(facts, layout, microbatches)
    bill = ranks.worst()
    sent = [traffic(ranks, stage) for stage in range(layout.pp)]
    most = max(sent, key=lambda one: sum(one.sent.values()))
    least = bound(ranks, sent, machines) if machines else None
    if budget and bill.peak > budget.bytes:
        reason = f"needs {size(bill.peak)} of {size(budget.bytes)}, most of it {_largest(bill)}"
    return Planned(layout, microbatches, samples, reason, bill, most, least)


WORDS = {
    "params": "parameters",
    "buffers": "buffers",
    "inputs": "inputs",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "saved": "kept for backward",
    "temporaries": "temporaries",
    "communication_buffer": "communication buffers",
}
"""The lines of a bill in words."""


def _largest(bill: Bill) -> str:
    return WORDS[max(bill.lines, key=lambda line: bill.lines[line])]


def _impossible(facts: Facts, layout: Layout, samples: int) -> str:
    """Why a layout cannot be; '' where it can."""
    each, units = layout.dp * facts.batch, len(facts.units.paths)
    if samples % each:
        return f"a global batch of {samples:,} does not divide among {layout.dp} ranks with batches of {facts.batch}"
    if layout.pp * layout.chunks > units:
        return f"{plural(units, 'unit')} cannot fill {layout.pp * layout.chunks} parts of a pipeline"
    if layout.ep > 1:
        if not facts.experts:
            return "it has no experts to divide"
        if facts.experts % layout.ep:
            return f"{facts.experts} experts do not divide by {layout.ep}"
        if layout.dp % layout.ep:
            return f"{layout.ep} expert parallel ranks do not divide {layout.dp} data parallel ranks"
    if layout.zero and layout.dp == 1:
        return f"zero {layout.zero} divides among data parallel ranks, and there is one"
    return _indivisible(facts, layout) if layout.tp > 1 else ""


def _indivisible(facts: Facts, layout: Layout) -> str:
    """Which number tensor parallelism does not divide; '' where it divides all."""
    found = facts.spread(layout.tp, layout.sp)
    if not found.pairs:
        return "no pair of linear layers was found that tensor parallelism divides: see --tp-plan"
    for number, axis in found.parameters.items():
        if _left_over(axis, layout.tp):
            return f"{facts.trace.parameters[number].names[0]}: {axis.size:,} does not divide by {layout.tp}"
    sizes = {(axis.kind, axis.size) for axis in found.axes if _left_over(axis, layout.tp)}
    for kind, words in ((COLUMNS, "heads or features"), (SEQUENCE, "positions of the sequence")):
        if left := sorted(size_ for known, size_ in sizes if known == kind):
            return f"{left[0]:,} {words} do not divide by {layout.tp}"
    return ""


def _left_over(axis: Axis, ranks: int) -> bool:
    """Whether an axis that has to divide leaves a remainder; words of a vocabulary are padded."""
    size_ = axis.size // 3 if axis.packed else axis.size
    return axis.kind in (COLUMNS, SEQUENCE) and not axis.uneven and size_ % ranks != 0


def parse_styles(typed: Sequence[str]) -> dict[str, str]:
    """Patterns with their styles from texts such as 'layers.*.q_proj=colwise'; BadInput for anything else."""
    from archcalc.analyses.spread.styles import SPELLINGS

    found = {}
    for text in typed:
        pattern, sign, style = text.partition("=")
        if not sign or style not in SPELLINGS:
            raise BadInput(
                f"'--tp-plan {text}' does not say how layers are divided.",
                "write  --tp-plan 'layers.*.q_proj=colwise'  (colwise, rowwise or replicate)",
            )
        found[pattern] = SPELLINGS[style]
    return found
