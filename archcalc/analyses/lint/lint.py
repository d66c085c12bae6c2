"""The rules of `lint`: each looks at one trace and returns its findings, with a number and a bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from archcalc.analyses.lint import faults, guidelines
from archcalc.analyses.lint.finding import LintFinding, Measure
from archcalc.errors import NoSuchLayer, WrongUse
from archcalc.text.faces import Shown
from archcalc.tracing import Trace


@dataclass(frozen=True)
class LintRule:
    """A rule: its code, what it looks for, the unit of its number, and the most that it lets pass.

    `of_step` says that only a training step shows it.
    """

    code: str
    words: str
    unit: str
    most: float
    measured: Callable[[Trace], Iterable[Measure]]
    of_step: bool = False


RULES = {
    rule.code: rule
    for rule in (
        LintRule(
            "G1", "unequal channels of a 1x1 convolution", "the least traffic of as many multiply-adds", 1.25,
            guidelines.unequal_channels,
        ),
        LintRule(
            "G2", "a grouped 1x1 convolution", "the traffic without groups at equal multiply-adds", 1.1,
            guidelines.grouped_pointwise,
        ),
        LintRule("G3", "a block in fragments", "layers side by side", 3, guidelines.fragments),
        LintRule(
            "G4", "elementwise ops of a block", "of its traffic, normalisation apart", 0.5,
            guidelines.elementwise_share,
        ),
        LintRule("B1", "a bias before batch norm", "parameters without effect", 0, faults.bias_before_batch_norm),
        LintRule("C1", "channels that are no multiple of 8", "as padding", 0, faults.odd_channels),
        LintRule("D1", "results that nothing uses", "bytes made", 4096, faults.dead_results),
        LintRule("I1", "an in-place activation that copies", "bytes copied", 0, faults.copying_in_place, of_step=True),
        LintRule("W1", "weights that no module registers", "elements", 0, faults.unregistered_weights),
    )
}  # fmt: skip
"""The rules by their codes. G1 to G4 are those of Ma et al. 2018 (ShuffleNet v2), section 2."""


@dataclass(frozen=True)
class Strictness:
    """Which rules are asked, the most that each lets pass, and what is ignored (globs of paths, by code)."""

    only: tuple[str, ...] = ()
    most: Mapping[str, float] = field(default_factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()

    @property
    def rules(self) -> list[LintRule]:
        """The rules that are asked."""
        return [rule for rule in RULES.values() if not self.only or rule.code in self.only]

    def bound(self, rule: LintRule) -> float:
        """The most that a rule lets pass."""
        return self.most.get(rule.code, rule.most)

    def ignores(self, code: str, path: str) -> bool:
        """Whether findings of a rule at a path are ignored."""
        return any(fnmatchcase(path, glob) for given, glob in self.ignored if given in (code, "*"))


@dataclass(frozen=True, repr=False)
class Linted(Shown):
    """The findings of one trace, and how many places each rule looked at."""

    trace: Trace
    findings: tuple[LintFinding, ...]
    looked_at: Mapping[str, int]
    strictness: Strictness

    def __repr__(self) -> str:
        """One line."""
        return f"<Linted {self.trace.model.name}: {len(self.findings)} findings>"


def lint(trace: Trace, strictness: Strictness = Strictness()) -> Linted:
    """The findings of a trace: of a forward pass, and with a training step also those that only it shows.

    NoSuchLayer if layers are ignored that the model does not have.
    """
    paths = [module.path for module in trace.modules]
    for _, glob in strictness.ignored:
        if not any(fnmatchcase(path, glob) for path in paths):
            raise NoSuchLayer(glob, [path for path in paths if path])
    findings: list[LintFinding] = []
    looked_at: dict[str, int] = {}
    for rule in strictness.rules:
        if rule.of_step and not trace.steps:
            continue
        measures = list(rule.measured(trace if rule.of_step else trace.of_forward()))
        looked_at[rule.code] = len(measures)
        bound = strictness.bound(rule)
        findings += [
            LintFinding(rule.code, m.path, m.value, bound, m.advice)
            for m in measures
            if m.value > bound and not strictness.ignores(rule.code, m.path)
        ]
    return Linted(trace, tuple(findings), looked_at, strictness)


def worst(trace: Trace, code: str) -> LintFinding | None:
    """The largest number of a rule in a trace, whatever its bound; None if there is nothing that it looks at."""
    measures = list(RULES[code].measured(trace))
    if not measures:
        return None
    largest = max(measures, key=lambda measure: measure.value)
    return LintFinding(code, largest.path, largest.value, RULES[code].most, largest.advice)


def strictness_of(only: Sequence[str] = (), thresholds: Sequence[str] = (), ignored: Sequence[str] = ()) -> Strictness:
    """Read the options: codes, bounds such as "G1=1.5", and globs of paths, alone or after a code ("G4:stem.*").

    WrongUse names the first part that is none of these.
    """
    codes = tuple(code for text in only for code in re.split(r"[,\s]+", text.strip()) if _known(code))
    most = {}
    for text in thresholds:
        code, equals, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals or not _known(code) or not value >= 0:
            raise WrongUse(f"--threshold {text} is no bound of a rule.", "write  --threshold G1=1.5")
        if codes and code not in codes:
            raise WrongUse(f"--threshold {text} is of a rule that --only leaves out.", f"add  --only {code}")
        most[code] = value
    globs = [text.partition(":") if ":" in text else ("*", ":", text) for text in ignored]
    places = tuple((code, glob) for code, _, glob in globs if code == "*" or _known(code))
    return Strictness(codes, most, places)


def _known(code: str) -> bool:
    if code not in RULES:
        close = get_close_matches(code.upper(), RULES, 1)
        hint = f"did you mean  {close[0]} ?\n" if close else ""
        raise WrongUse(f"lint has no rule '{code}'.", f"{hint}its rules  {', '.join(RULES)}")
    return True
