"""Check runs and lint's findings for machines that build: GitHub's annotations and job summary, JUnit, SARIF."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from archcalc.analyses.lint.finding import LintFinding
from archcalc.analyses.lint.lint import RULES, Linted
from archcalc.render.formats.as_markdown import escaped, escaped_line
from archcalc.studies.guard.check import CheckRun, Judged
from archcalc.studies.guard.verdicts import ERROR, OK, WARN, Verdict
from archcalc.text import units
from archcalc.text.visible import visible
from archcalc.version import __version__

MOST = 10
"""Annotations of one kind that GitHub shows in a step."""
SUMMARY_BYTES = 1_000_000
"""GitHub takes a job summary below 1 MiB."""


def as_github(run: CheckRun) -> str:
    """Workflow commands: an annotation on the budget's own line for each that does not hold."""
    lines: list[str] = []
    for level in ("error", "warning"):
        bad = [
            (judged, verdict)
            for judged in run.judged
            for verdict in judged.bad
            if (verdict.status == WARN) == (level == "warning")
        ]
        lines += [_annotation(level, run.path, judged, verdict) for judged, verdict in bad[:MOST]]
        if len(bad) > MOST:
            lines.append(f"{len(bad) - MOST} more of kind {level} are in the job summary")
    return "\n".join([*lines, run.summary]) + "\n"


def _annotation(level: str, path: str, judged: Judged, verdict: Verdict) -> str:
    sentences = [
        _sentence(verdict),
        *([judged.grew] if judged.grew else []),
        *([judged.check.message] if judged.check.message else []),
    ]
    title = f"archcalc {verdict.what}: {judged.check.name}"
    place = f"file={_property(path)},line={verdict.line},title={_property(title)}"
    return f"::{level} {place}::{'%0A'.join(map(_data, sentences))}"


def _sentence(verdict: Verdict) -> str:
    if verdict.status == ERROR:
        return verdict.over
    over = f" ({verdict.over})" if verdict.over else ""
    return f"{verdict.what}: {verdict.value}, limit {verdict.limit}{over}"


def _data(text: str) -> str:
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def job_summary(run: CheckRun) -> str:
    """The table in Markdown, below GitHub's limit."""
    lines = [
        f"### archcalc: {run.summary}",
        "",
        "| | check | budget | value | limit | |",
        "| :-- | :-- | :-- | --: | :-- | :-- |",
    ]
    for verdict in run.verdicts:
        cells = (verdict.status, verdict.check, verdict.what, verdict.value, verdict.limit, verdict.over)
        lines.append(f"| {' | '.join(escaped(visible(cell)) for cell in cells)} |")
    grown = (f"{judged.check.name}: {judged.grew}" for judged in run.judged if judged.bad and judged.grew)
    lines += ["", *(f"{escaped_line(visible(line))}  " for line in grown)]
    text = "\n".join(lines) + "\n"
    return text if len(text.encode()) < SUMMARY_BYTES else f"### archcalc: {run.summary}\n"


def as_junit(run: CheckRun) -> str:
    """A test suite a check, a test case a budget."""
    suites = []
    for judged in run.judged:
        cases = "".join(f"\n    {_case(run.path, verdict)}" for verdict in judged.verdicts)
        numbers = {
            "tests": len(judged.verdicts),
            "failures": sum(v.fails and v.status != ERROR for v in judged.verdicts),
            "errors": sum(v.status == ERROR for v in judged.verdicts),
            "skipped": 0,
        }
        attributes = "".join(f' {key}="{value}"' for key, value in numbers.items())
        suites.append(f"  <testsuite name={_attribute(judged.check.name)}{attributes}>{cases}\n  </testsuite>\n")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="archcalc">\n{"".join(suites)}</testsuites>\n'


def _case(path: str, verdict: Verdict) -> str:
    head = f"<testcase classname={_attribute(verdict.check)} name={_attribute(f'{verdict.key} {verdict.what}')} "
    head += f'file={_attribute(path)} line="{verdict.line}"'
    sentence = escape(visible(_sentence(verdict)))
    if verdict.status == OK:
        return f"{head}/>"
    if verdict.status == WARN:
        return f"{head}><system-out>{sentence}</system-out></testcase>"
    kind = "error" if verdict.status == ERROR else "failure"
    return f"{head}><{kind} message={_attribute(_sentence(verdict))}>{sentence}</{kind}></testcase>"


def _attribute(text: str) -> str:
    """An attribute's value in quotes: XML has no place for control characters, not even as references."""
    return quoteattr(visible(text))


def as_sarif(run: CheckRun) -> str:
    """SARIF 2.1.0: a result for each budget that does not hold."""
    keys = sorted({verdict.key for verdict in run.verdicts})
    results = [
        {
            "ruleId": verdict.key,
            "level": "warning" if verdict.status == WARN else "error",
            "message": {"text": _message(judged, verdict)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(run.path, errors="surrogatepass")},
                        "region": {"startLine": verdict.line},
                    }
                }
            ],
        }
        for judged in run.judged
        for verdict in judged.bad
    ]
    return _sarif([{"id": key} for key in keys], results)


def _sarif(rules: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    driver = {"name": "archcalc", "version": __version__, "rules": rules}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(document, indent=2) + "\n"


def findings_as_github(linted: Sequence[Linted]) -> str:
    """A warning for each finding; GitHub shows the first ten of a step."""
    lines = []
    for run in linted:
        for finding in run.findings:
            title = _property(f"archcalc lint {finding.guideline}: {run.trace.model.name}")
            lines.append(f"::warning title={title}::{_data(_finding(finding))}")
    count = sum(len(run.findings) for run in linted)
    return "\n".join([*lines, units.plural(count, "finding")]) + "\n"


def findings_as_sarif(linted: Sequence[Linted]) -> str:
    """SARIF 2.1.0: a result for each finding, at the module's path as a logical location."""
    results = [
        {
            "ruleId": finding.guideline,
            "level": "warning",
            "message": {"text": _plain(f"{run.trace.model.name}: {_finding(finding)}")},
            "locations": [
                {"logicalLocations": [{"fullyQualifiedName": visible(finding.path) or "model", "kind": "module"}]}
            ],
        }
        for run in linted
        for finding in run.findings
    ]
    rules = [{"id": rule.code, "shortDescription": {"text": rule.words}} for rule in RULES.values()]
    return _sarif(rules, results)


def _finding(finding: LintFinding) -> str:
    words = RULES[finding.guideline].words
    path = finding.path or "the model"
    return f"{path}: {words}: {finding.value:.4g}, at most {finding.bound:.4g}; {finding.advice}"


def _message(judged: Judged, verdict: Verdict) -> str:
    """What is wrong, as SARIF's plain text: links in brackets and numbered placeholders are not meant."""
    grew = f". {judged.grew}" if judged.grew else ""
    return _plain(f"{verdict.check}: {_sentence(verdict)}{grew}")


def _plain(sentence: str) -> str:
    text = visible(sentence)
    no_links = re.sub(r"\[([^\[\]]*)\](?=\()", r"\\[\1\\]", text)
    return re.sub(r"\{(\d+)\}", r"{{\1}}", no_links)


LINT_FORMATS: dict[str, Callable[[Sequence[Linted]], str]] = {
    "github": findings_as_github,
    "sarif": findings_as_sarif,
}
CI_FORMATS: dict[str, Callable[[CheckRun], str]] = {"github": as_github, "junit": as_junit, "sarif": as_sarif}
