"""docs/ci.md: its recipes run, as far as they run here, in a repository with a branch that widens a layer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import ROOT
from tests.test_guard import NET

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
CHECKS = """
[[tool.archcalc.check]]
name = "net"
model = "net.py:make"
input = "2x3x32x32"
baseline = "baselines/net.json"
max_params = "21 k"
max_params_growth = "5 %"
output = "Bx10"
"""


def recipe(file: str) -> Any:
    """The YAML of a recipe."""
    (text,) = re.findall(rf"```yaml\n# {re.escape(file)}\n(.*?)```", PAGE, re.DOTALL)
    return yaml.safe_load(text)


def shell(command: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    names = {
        "PATH": f"{where.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    names |= {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    kept = {**os.environ, **names, **environment}
    return subprocess.run(
        ["bash", "-eu", "-c", command], cwd=where, capture_output=True, text=True, check=False, env=kept
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on a branch whose layer is wider than main's; `archcalc` is a command there."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "bin").mkdir()
    command = folder / "bin" / "archcalc"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m archcalc "$@"\n')
    command.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    (work / "net.py").write_text(NET)
    (work / "pyproject.toml").write_text(CHECKS)
    begin = "git init -q -b main && archcalc check --update-baseline -q && archcalc check -q"
    commit = "git add -A && git commit -qm net"
    branch = "git remote add origin . && git fetch -q origin && git checkout -qb wider"
    done = shell(f"{begin} && {commit} && {branch}", work)
    assert done.returncode == 0, done.stderr
    (work / "net.py").write_text(NET.replace("width=64", "width=80"))
    assert shell("git commit -qam wider", work).returncode == 0
    return work


def test_github_actions(repository: Path) -> None:
    """Annotations on the lines of pyproject.toml, the summary, and below it what changed against main."""
    workflow = recipe(".github/workflows/archcalc.yml")
    assert workflow[True] == "pull_request"  # YAML 1.1 reads the key 'on' so
    assert "secrets" not in str(workflow)
    check, diff = [
        step["run"]
        for step in workflow["jobs"]["budgets"]["steps"]
        if "archcalc " in step.get("run", "") and "pip" not in step["run"]
    ]
    summary = repository / "summary.md"
    names = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_BASE_REF": "main"}
    done = shell(check, repository, **names)
    assert done.returncode == 1
    lines = CHECKS.splitlines()
    line = lines.index('max_params = "21 k"') + 1
    assert f"::error file=pyproject.toml,line={line},title=archcalc params%3A net::params: 24,890" in done.stdout
    assert "3 +4,624 · 7 +160" in done.stdout
    assert shell(diff, repository, **names).returncode == 0
    text = summary.read_text()
    assert "### archcalc: 2 failed, 1 passed" in text
    assert "| changed | 3 | Conv2d: 64 → 80 | +4,624 |" in text


def test_gitlab(repository: Path) -> None:
    job = recipe(".gitlab-ci.yml")["archcalc"]
    script = [line for line in job["script"] if not line.startswith("pip ")]
    done = shell(" && ".join(script), repository)
    assert done.returncode == 1
    report = ET.parse(repository / job["artifacts"]["reports"]["junit"]).getroot()
    assert [suite.get("failures") for suite in report] == ["2"]


def test_pre_commit(repository: Path) -> None:
    (hook,) = recipe(".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert (hook["language"], hook["stages"], hook["pass_filenames"]) == ("system", ["pre-push"], False)
    assert shell(hook["entry"], repository).returncode == 1
    assert (
        shell(
            f"git stash -q -u && git checkout -q main && {hook['entry']}; git checkout -q wider", repository
        ).returncode
        == 0
    )


def test_the_pages_own_tests_run(repository: Path, tmp_path: Path) -> None:
    """The fixtures' example, on the documentation's own network."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_mynet.py").write_text(code)
    (tmp_path / "mynet.py").write_text((ROOT / "docs" / "examples" / "mynet.py").read_text())
    pytest_ = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    done = shell(f"{pytest_} --archcalc-update && {pytest_}", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_pages_section_is_the_examples() -> None:
    """What the page shows as checks is what its output comes from."""
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    example = (ROOT / "docs" / "examples" / "guard.toml").read_text(encoding="utf-8")
    assert shown.removeprefix("[[tool.archcalc.check]]\n") in example
