"""The pytest plugin: fixtures `archcalc` and `archcalc_snapshot`, and `pytest --archcalc` for a project's checks.

Nothing heavy is imported until a fixture or a check runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from archcalc.analyses.report import Report
    from archcalc.studies.guard.config import Check

FOLDER = "__archcalc__"
"""Folder beside a test file in which its snapshots are stored."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options of archcalc to pytest."""
    group = parser.getgroup("archcalc", "shapes and budgets of neural networks")
    group.addoption("--archcalc", action="store_true", help="Collect the checks of pyproject.toml or archcalc.toml.")
    group.addoption(
        "--archcalc-update", action="store_true", help="Write the snapshots that archcalc_snapshot compares."
    )


@pytest.fixture
def archcalc() -> Callable[..., Report]:
    """`archcalc(model, input=..., **setup)`: the report of a reference or module, without weights or data.

    `input` is one shape such as "2x3x224x224", or a list or dict of them; the setup is that of `archcalc.analyze`.
    """

    def report(model: Any, input: Any = None, **setup: Any) -> Report:
        from archcalc import analyze

        return analyze(model, input, **setup)

    return report


@pytest.fixture
def archcalc_snapshot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`archcalc_snapshot(model, input=..., name=..., **setup)`: fails with the diff where the model is not what it was.

    Snapshots lie in `__archcalc__` beside the test; `--archcalc-update` writes them.
    """

    def compare(model: Any, input: Any = None, name: str = "", **setup: Any) -> None:
        __tracebackhide__ = True
        test = request.node.name.translate(str.maketrans("[]/:", "----")).rstrip("-")
        file = request.path.parent / FOLDER / f"{request.path.stem}.{test}{f'.{name}' if name else ''}.json"
        difference = _difference(model, input, setup, file, request.config.getoption("--archcalc-update"))
        if difference:
            pytest.fail(difference, pytrace=False)

    return compare


def _difference(model: Any, inputs: Any, setup: dict[str, Any], file: Path, update: bool) -> str:
    """Nothing where the model is as in the file, or the file was written; else what changed and what to type."""
    from archcalc import analyze
    from archcalc.render.formats import Screen, render
    from archcalc.render.pages.diff import diff as page
    from archcalc.studies.guard.comparison import Comparison
    from archcalc.studies.guard.diff import diff
    from archcalc.studies.guard.snapshot import from_json, snapshot, to_json

    now = snapshot(analyze(model, inputs, **setup))
    if update:
        file.parent.mkdir(exist_ok=True)
        file.write_text(to_json([now]), encoding="utf-8")
        return ""
    if not file.exists():
        return f"there is no snapshot {file.parent.name}/{file.name}: write it with  pytest --archcalc-update"
    (before,) = from_json(file.read_text(encoding="utf-8"), str(file))
    comparison = Comparison(before, now, diff(before, now))
    if not comparison.changed and before.totals == now.totals:
        return ""
    table = render([page(comparison)], "plain", Screen())
    return f"{table}\naccept it with  pytest --archcalc-update"


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under --archcalc every check of the project is one more item."""
    if config.getoption("--archcalc"):
        items.extend(_items(session, config.rootpath))


def _items(session: pytest.Session, root: Path) -> Iterator[pytest.Item]:
    from archcalc.errors import ArchcalcError
    from archcalc.studies.guard.check import FILES, checks_of

    files = [root / name for name in FILES if (root / name).is_file() and "check]]" in (root / name).read_text("utf-8")]
    if not files:
        raise pytest.UsageError("--archcalc: there are no checks in pyproject.toml or archcalc.toml of the project")
    try:
        checks = checks_of(str(files[0]))
    except ArchcalcError as error:
        raise pytest.UsageError(str(error)) from None
    file = CheckFile.from_parent(session, path=files[0])
    letters: dict[str, tuple[int, str]] = {}
    for check in checks:
        yield CheckItem.from_parent(file, name=check.name, check=check, letters=letters)


class CheckFile(pytest.File):
    """The file of the checks."""

    def collect(self) -> Iterator[pytest.Item]:
        """Nothing by itself: its items are made once for the session."""
        return iter(())


class CheckItem(pytest.Item):
    """One check of the project; it fails with the lines of its table."""

    def __init__(self, *, check: Check, letters: dict[str, tuple[int, str]], **rest: Any) -> None:
        super().__init__(**rest)
        self.check, self.letters = check, letters

    def runtest(self) -> None:
        """Judge the check's budgets."""
        from contextlib import chdir

        from archcalc.render.formats import Screen, render
        from archcalc.render.pages.check import checks
        from archcalc.studies.guard.check import CheckRun, exit_code, judge

        with chdir(self.path.parent):  # references and baselines are relative to the file
            done = CheckRun(self.path.name, [judge(self.check, self.letters)])
        if exit_code(done):
            raise BudgetFailed(render([checks(done)], "plain", Screen()))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The table of the failed check, instead of a traceback."""
        if isinstance(excinfo.value, BudgetFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the check in its file."""
        return self.path, self.check.line - 1, f"archcalc check {self.name}"


class BudgetFailed(Exception):
    """A check that does not hold."""
