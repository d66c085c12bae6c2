"""docs/extend.md: every diff applies to a clean copy, and its command then prints what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_fresh

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
WALK = re.compile(
    r"^### (?P<title>.+?)\n.*?```diff\n(?P<diff>.*?)```\n+```text\n\$ (?P<command>.*?)\n(?P<out>.*?)```", re.S | re.M
)
TABULATE = """
from archcalc.networks import catalogue
from archcalc.networks.spec import NETWORKS
from archcalc.networks.vision import lenet
from tests.regenerate import catalogue_json
catalogue.FILE.write_text(catalogue_json([NETWORKS["lenet-5"]]))
"""


@dataclass(frozen=True)
class Walk:
    """One kind of change: the diff, a command that shows it, and what it prints."""

    title: str
    diff: str
    command: str
    out: str


WALKS = [
    Walk(*found.group("title", "diff", "command", "out")) for found in WALK.finditer(PAGE[PAGE.index("## In arch") :])
]


def test_every_kind_of_change_is_shown() -> None:
    assert [walk.title for walk in WALKS] == [
        "An op", "A network", "A format", "A command", "A setting", "A figure", "A device", "An option of an analysis",
    ]  # fmt: skip


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.title)
def test_a_diff_does_what_the_page_shows(walk: Walk, tmp_path: Path) -> None:
    for folder in ("archcalc", "tests", "docs/examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "--unsafe-paths", "-"], cwd=tmp_path, input=walk.diff.encode(), check=True)
    path = {"PYTHONPATH": str(tmp_path), "cwd": tmp_path / "docs" / "examples"}
    if walk.title == "A network":
        assert run_fresh(code=TABULATE, **path).code == 0  # type: ignore[arg-type]
    name, *arguments = walk.command.split()
    code = "" if name == "archcalc" else (tmp_path / "docs" / "examples" / arguments[0]).read_text(encoding="utf-8")
    ran = run_fresh(*(arguments if name == "archcalc" else ()), code=code, **path)  # type: ignore[arg-type]
    assert (ran.out + ran.err).strip() == walk.out.strip()
