"""The action for GitHub and the hook for pre-commit: their shell steps run here, with a stand-in for GitHub's `gh`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import ROOT
from tests.test_recipes import PAGE, repository, shell

__all__ = ["repository"]
ACTIONS = ROOT / ".github" / "actions"
GH = """#!/bin/sh
# Answers as GitHub does: one pull request, and the comments that a test says; keeps what is sent.
echo "$@" >> "$CALLS"
case "$*" in
  *"/pulls -f state=open"*) case "$*" in *"$OPEN"*) echo 7 ;; esac ;;
  *"issues/7/comments --jq"*) echo "$OLD" ;;
  *body=@*) for word in "$@"; do case "$word" in body=@*) cat "${word#body=@}" > "$CALLS.body" ;; esac; done ;;
esac
"""


def steps(action: str) -> dict[str, dict[str, Any]]:
    """The shell steps of an action by their ids."""
    document = yaml.safe_load((ACTIONS / action / "action.yml").read_text(encoding="utf-8"))
    return {step["id"]: step for step in document["runs"]["steps"] if "run" in step}


@pytest.fixture(scope="module")
def ran(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the steps of the action left their files, on a branch whose layer is wider than main's."""
    room = tmp_path_factory.mktemp("runner")
    names = {"RUNNER_TEMP": str(room), "GITHUB_BASE_REF": "main", "MODEL": "net.py:make", "FOLDER": "."}
    names |= {"OPTIONS": "-i '2x3x32x32'"}
    names |= {f"GITHUB_{name}": str(room / name) for name in ("OUTPUT", "STEP_SUMMARY")}
    for name, step in steps("archcalc").items():
        assert "${{" not in step["run"], "values reach a shell as variables, never as text of the script"
        done = shell(step["run"], repository, **names, CODE="1")
        assert done.returncode == (1 if name == "verdict" else 0), (name, done.stderr)
    yield room
    shell(f"git worktree remove --force {room}/archcalc-target", repository)


def test_the_action_says_what_a_branch_changes(ran: Path, repository: Path) -> None:
    """Both sides are traced: no baseline is committed for it, and the branch's own files stay as they are."""
    comment = (ran / "archcalc" / "comment.md").read_text()
    assert comment.startswith("<!-- archcalc -->\n")
    assert "| changed | 3 | Conv2d: 64 → 80 | +4,624 |" in comment
    summary, output = (ran / "STEP_SUMMARY").read_text(), (ran / "OUTPUT").read_text()
    assert "### archcalc: 2 failed, 1 passed" in summary
    assert comment in summary
    assert output == f"code=1\ncomment={ran}/archcalc/comment.md\n"
    assert shell("git status --porcelain --untracked-files=no", repository).stdout == ""


def test_a_model_that_is_new_is_told(ran: Path, repository: Path, tmp_path: Path) -> None:
    """Main has no file of that name."""
    baseline = steps("archcalc")["baseline"]["run"]
    names = {"RUNNER_TEMP": str(tmp_path), "GITHUB_BASE_REF": "main", "FOLDER": ".", "OPTIONS": ""}
    done = shell(baseline, repository, **names, MODEL="other.py:make")
    shell(f"git worktree remove --force {tmp_path}/archcalc-target", repository)
    assert (done.returncode, "::notice::archcalc: main has no such model yet" in done.stdout) == (0, True)
    assert not (tmp_path / "archcalc" / "target.json").exists()


@pytest.mark.parametrize(
    ("old", "sent"),
    [("", "--method POST repos/o/r/issues/7/comments"), ("41", "--method PATCH repos/o/r/issues/comments/41")],
)
def test_there_is_one_comment_which_is_renewed(old: str, sent: str, tmp_path: Path) -> None:
    """The artifact is of unknown hands: its text mentions nobody, and does not say which pull request it is for."""
    done, calls = commented(tmp_path, old, "someone:wider", "more of @everyone\n" * 9000)
    assert done.returncode == 0, done.stderr
    assert calls[-1].startswith(f"api {sent} ")
    body = (tmp_path / "calls.body").read_text()
    assert body.startswith("<!-- archcalc -->\nmore of @&#8203;everyone")
    assert len(body) < 2**16 * 2
    assert "@everyone" not in body


def test_a_run_without_an_open_pull_request_says_nothing(tmp_path: Path) -> None:
    done, calls = commented(tmp_path, "", "someone:else", "text\n")
    assert (done.returncode, len(calls)) == (0, 1)
    assert "nothing to comment" in done.stdout


def commented(room: Path, old: str, head: str, text: str) -> tuple[Any, list[str]]:
    """Run the step that comments; what it printed, and the calls of `gh`."""
    (room / "bin").mkdir()
    (room / "work").mkdir()
    (room / "archcalc-comment").mkdir()
    (room / "archcalc-comment" / "comment.md").write_text(f"<!-- archcalc -->\n{text}")
    (room / "bin" / "gh").write_text(GH)
    (room / "bin" / "gh").chmod(0o755)
    names = {"CALLS": str(room / "calls"), "OLD": old, "OPEN": "someone:wider", "HEAD": head, "HEAD_SHA": "abc"}
    names |= {"RUNNER_TEMP": str(room), "GITHUB_REPOSITORY": "o/r"}
    done = shell(steps("archcalc/comment")["comment"]["run"], room / "work", **names)
    return done, (room / "calls").read_text().splitlines()


def test_the_hook_for_pre_commit_is_the_check() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert (hook["entry"], hook["pass_filenames"], hook["always_run"]) == ("archcalc check --quiet", False, True)
    assert f"id: {hook['id']}" in PAGE


def test_the_pages_workflows_use_what_there_is() -> None:
    """Inputs of the actions exist; the commenting workflow checks out and runs no code of the branch."""
    shown = {name: yaml.safe_load(text) for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)}
    measures, comments = (shown[f".github/workflows/archcalc-{name}.yml"] for name in ("changes", "comment"))
    (used,) = [step for step in measures["jobs"]["changes"]["steps"] if "actions/archcalc@" in step.get("uses", "")]
    action = yaml.safe_load((ACTIONS / "archcalc" / "action.yml").read_text(encoding="utf-8"))
    assert set(used["with"]) <= set(action["inputs"])
    assert measures["permissions"] == {"contents": "read"}
    assert comments[True]["workflow_run"]["workflows"] == [measures["name"]]
    assert comments["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert "checkout" not in json.dumps(comments["jobs"])
