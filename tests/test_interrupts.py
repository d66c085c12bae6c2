"""Ctrl-C is exit code 130 without a traceback, at any moment after Python itself has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archcalc.cli import main
from tests.helpers import ROOT, run

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
MOMENTS = (
    "archcalc.cli.interrupts", "archcalc.errors", "archcalc.render.document", "typer", "torch.version", "torch.nn",
    "archcalc.networks.catalogue", "archcalc.engine.record.run", "archcalc.render.pages.summary",
)  # fmt: skip
"""Modules that a summary imports, in about this order."""


@pytest.fixture(autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """Also where the tests run in the background of a shell, whose programs are started deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_a_module_is_imported(moment: str) -> None:
    """Python tells of each import on stderr, so that the moment does not depend on how fast the machine is."""
    command = [sys.executable, "-X", "importtime", "-m", "archcalc", "summary", "resnet-20"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = any(_imports(line, moment) for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert seen
    assert (process.returncode, out) == (130, "")
    assert [line for line in err.splitlines() if line and not line.startswith("import time:")] == []


def _imports(line: str, module: str) -> bool:
    return line.startswith("import time:") and line.rpartition("|")[2].strip() == module


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0])
def test_an_interrupt_at_any_time(delay: float, tmp_path: Path) -> None:
    """Without a word to wait for; a traceback may only be Python's own, before it has come to archcalc."""
    (tmp_path / "slow.py").write_text("import time\ndef make():\n    time.sleep(30)\n")
    command = [sys.executable, "-m", "archcalc", "summary", f"{tmp_path}/slow.py:make", "-i", "1x2"]
    done, err = _interrupted(command, delay)
    assert str(ROOT) not in err
    assert (done, err.strip()) == (130, "") or delay < 0.5


@pytest.mark.parametrize("delay", [1.5, 2.5, 4.0])
def test_an_interrupt_ends_the_workers_of_a_sweep(delay: float, tmp_path: Path) -> None:
    """To the whole group, as a terminal sends it; workers that still import say nothing, and none is left."""
    mark = f"MARK_{os.getpid()}_{delay}"
    (tmp_path / f"{mark}.py").write_text("import time\ndef make(n):\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "archcalc", "sweep", f"{tmp_path}/{mark}.py:make", "-i", "1x2"]
    command += ["--set", "n=1:9:1", "--jobs", "2", "-o", f"{tmp_path}/grid.csv"]
    began = time.monotonic()
    done, err = _interrupted(command, delay)
    assert (done, err.strip()) == (130, "")
    assert time.monotonic() - began < delay + 20


def _interrupted(command: list[str], delay: float) -> tuple[int, str]:
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    for _ in range(100):
        if not _alive(process.pid):
            return process.returncode, err
        time.sleep(0.1)
    pytest.fail("a process of the group is left")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


SWALLOWS = """
import os, signal
from torch import nn
class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass
        except BaseException:
            pass
"""


def test_an_interrupt_that_the_users_code_catches_still_counts(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SWALLOWS)
    command = [sys.executable, "-m", "archcalc", "summary", f"{tmp_path}/net.py:Net", "-i", "1x2"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_an_interrupt_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library and `main` leave the handlers of their process alone."""
    before = signal.getsignal(signal.SIGINT)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archcalc.networks.catalogue.matching", interrupted)
    assert main(["list"]) == 130
    monkeypatch.undo()
    assert run("list").code == 0
    assert signal.getsignal(signal.SIGINT) is before
