"""archcalc sweep: grids, conditions, the Pareto front, files that a later run goes on with, processes and clusters."""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.engine import Setup
from archcalc.errors import WrongUse
from archcalc.studies.observer import Observer
from archcalc.studies.sweep import measuring
from archcalc.studies.sweep.conditions import condition
from archcalc.studies.sweep.grid import axes, grid
from archcalc.studies.sweep.pareto import front
from archcalc.studies.sweep.store import Store
from archcalc.studies.sweep.sweep import Choice, Workers, sweep
from tests.helpers import run, totals
from tests.test_cli import SCHEMA

GRID = ("wrn", "--set", "depth=16:28:6", "--set", "widen_factor=1,2")


def answer(*arguments: str) -> dict[str, Any]:
    ran = run("sweep", *arguments, "--jobs", "1", "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    jsonschema.validate(found, SCHEMA)
    return found


def test_every_member_has_the_figures_of_its_own_command() -> None:
    rows = answer(*GRID)["rows"]
    assert [(row["depth"], row["widen_factor"]) for row in rows] == [(d, w) for d in (16, 22, 28) for w in (1, 2)]
    for row in rows:
        options = ("--set", f"depth={row['depth']}", "--set", f"widen_factor={row['widen_factor']}")
        assert row["params"] == totals("params", "wrn", *options)["params"]
        assert row["macs"] == totals("flops", "wrn", *options)["macs"]


def test_processes_give_what_one_process_gives() -> None:
    one = answer(*GRID)
    ran = run("sweep", *GRID, "--jobs", "2", "--json")
    assert json.loads(ran.out)["rows"] == one["rows"]


def test_conditions_order_and_front() -> None:
    found = answer(*GRID, "--where", "macs < 120e6 and depth >= 22", "--sort", "params", "--pareto", "macs,params:max")
    rows = found["rows"]
    assert [row["params"] for row in rows] == sorted(row["params"] for row in rows)
    assert all(row["macs"] < 120e6 and row["depth"] >= 22 for row in rows)
    assert found["totals"] == {"members": 6, "shown": len(rows), "refused": 0}
    best = [row for row in rows if row["pareto"]]
    for row in rows:
        beaten = any(o["macs"] <= row["macs"] and o["params"] >= row["params"] and o != row for o in rows)
        assert (row in best) == (not beaten)


def test_training_figures_and_shorthands() -> None:
    rows = answer("resnet-20", "--set", "batch=2,4", "--figure", "peak_bytes", "--figure", "saved_total_bytes")["rows"]
    for row in rows:
        own = totals("memory", "resnet-20", "--train", "--batch", str(row["batch"]))
        assert row["peak_bytes"] == own["peak_bytes"]
        assert row["saved_total_bytes"] == own["saved_total_bytes"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_is_gone_on_with(ending: str, tmp_path: Path) -> None:
    """All members are kept, also those that cannot be built; a second run measures only what is missing."""
    file = tmp_path / f"wrn.{ending}"
    grid_ = ("wrn", "--set", "depth=16:25:3", "-o", str(file))
    first = answer(*grid_)
    assert first["totals"] == {"members": 4, "shown": 2, "refused": 2}
    text = file.read_text()
    assert len(text.splitlines()) == 4 + (ending == "csv")
    lines = text.splitlines(keepends=True)
    file.write_text("".join(lines[:-1]) + lines[-1][:7])  # interrupted in the middle of a line
    assert answer(*grid_) == first
    assert file.read_text() == text
    changed = text.replace("17116634", "17116635")
    file.write_text(changed)
    assert answer(*grid_)["rows"][0]["params"] == 17116635  # read from the file, not measured
    wider = answer("wrn", "--set", "depth=16:28:3", "-o", str(file))
    assert wider["totals"]["members"] == 5
    rows = (
        list(csv.DictReader(file.read_text().splitlines()))
        if ending == "csv"
        else [json.loads(line) for line in file.read_text().splitlines()]
    )
    assert len(rows) == 5
    assert rows[0]["model"] == "wrn"


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    for text in ("a,b\n1,2\n", "model,depth,params,macs,error\nwrn dtype=float16,16,1,2,\n", "no table\n"):
        file.write_text(text)
        ran = run("sweep", "wrn", "--set", "depth=16,22", "-o", str(file))
        assert (ran.code, ran.out) == (2, "")
        assert "holds something else" in ran.err
        assert file.read_text() == text
    rows = "model,depth,params,macs,error\nwrn,16,one,2,\n"
    for text in (
        rows,
        rows.replace("one", "5.5"),
        rows.replace("one", ""),
        "one,two,three",
        "model,depth,par"[:5] + "x",
    ):
        file.write_text(text)
        assert run("sweep", "wrn", "--set", "depth=16,22", "-o", str(file)).code == 2
        assert file.read_text() == text
    ran = run("sweep", "wrn", "--set", "depth=16,22", "-o", str(tmp_path / "wrn.xlsx"))
    assert ran.code == 2
    assert ".csv or .jsonl" in ran.err


def test_one_odd_value_leaves_the_others_as_they_are() -> None:
    assert axes(["depth=18,foo,34", "batch=none,2"]) == {"depth": [18, "foo", 34], "batch": [None, 2]}


DYING = """
import os
from torch import nn

class Dies(nn.Module):
    def forward(self, x):
        os._exit(7)
"""


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    ran = run("sweep", f"{tmp_path}/dying.py:Dies", "-i", "1x2", "--set", "batch=1,2", "--jobs", "2")
    assert (ran.code, ran.out) == (3, "")
    assert "a worker died" in ran.err
    assert "--jobs 1" in ran.err


class Inline(Executor):
    """Does the work at once; knows the members of each piece."""

    def __init__(self) -> None:
        self.pieces: list[int] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.pieces.append(len(args[2]))
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _quick(reference: Any, setup: Any, member: Any, figures: Any) -> dict[str, Any]:
    return {"params": 2 * member["n"], "error": ""}


def test_small_members_are_handed_out_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, each once; the last pieces are small again, so that workers end together."""
    monkeypatch.setattr(measuring, "measured", _quick)
    measured_grid = measuring.Grid("conv", Setup(), [{"n": n} for n in range(5000)], ["params"])
    executor = Inline()
    rows = dict(measuring.run(measured_grid, measuring.Team(executor, 2), Store("", "", ["n"], ["params"])))
    assert rows == {n: {"n": n, "params": 2 * n, "error": ""} for n in range(5000)}
    assert executor.pieces[0] == executor.pieces[-1] == 1
    assert max(executor.pieces) == measuring.LARGEST
    assert len(executor.pieces) < 200


@pytest.mark.parametrize(
    ("members", "seconds", "here"),
    [(9, 0.1, 9), (400, 0.03, 2), (100, 0.03, 100), (10, 60.0, 2), (1, 60.0, 1)],
)
def test_processes_start_where_they_pay(
    members: int, seconds: float, here: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 members of 30 ms: two processes save 0.5·398·0.03 = 6 s, more than twice the 2 s of their start."""
    clock = [0.0]

    def measured(*_: Any) -> dict[str, Any]:
        clock[0] += seconds
        return {"params": 1, "error": ""}

    monkeypatch.setattr(measuring, "measured", measured)
    monkeypatch.setattr(measuring, "perf_counter", lambda: clock[0])
    family = measuring.Grid("conv", Setup(), [{"n": n} for n in range(members)], ["params"])
    done = list(measuring._here_first(family, range(members), min(2, members)))
    assert len(done) == here


class Resident(Observer):
    """Notes how many KiB the process holds after so many members."""

    def __init__(self, *after: int) -> None:
        self.after, self.done = after, 0
        self.kib: dict[int, int] = {}

    def advance(self) -> None:
        self.done += 1
        if self.done in self.after:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.kib[self.done] = pages * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_members() -> None:
    """Rows that a condition leaves out are not held: 9,000 members more take less than two KiB each."""
    resident = Resident(1_000, 10_000)
    choice = Choice("macs < 30000")
    sizes = ["in_channels=1:100", "out_channels=1:100"]
    swept = sweep("conv", Setup(), sizes, choice=choice, workers=Workers(1), observer=resident)
    assert (swept.members, len(swept.rows)) == (10_000, 1)  # 9·56·56 = 28,224 MACs
    assert resident.kib[10_000] - resident.kib[1_000] < 2 * 9_000


def test_a_cluster_measures_the_same() -> None:
    """dask.distributed's local cluster, by its address."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        ran = run("sweep", *GRID, "--executor", f"dask://{address}", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["rows"] == answer(*GRID)["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "depth"], "not an axis"),
        (["--set", "depth=16:40:0"], "not a range"),
        (["--set", "depth=40:16:6"], "not a range"),
        (["--set", "depth=16", "--set", "depth=22"], "given twice"),
        (["--set", "depth=16:99999:1", "--set", "widen_factor=1,2"], "members"),
        (["--set", "depth=16", "--where", "mac < 1"], "knows no mac"),
        (["--set", "depth=16", "--where", "macs <"], "not a condition"),
        (["--set", "depth=16", "--where", "macs"], "compares nothing"),
        (["--set", "depth=16", "--where", "macs.real < 1"], "more than a comparison"),
        (["--set", "depth=16", "--where", "macs[0] < 1"], "more than a comparison"),
        (["--set", "depth=16", "--where", "9**9**9 < 3"], "too large"),
        (["--set", "batch=1,2", "--batch", "3"], "leave one of them out"),
        (["--set", "params=3,4"], "a knob and a figure"),
        (["--set", "depth=-1:2"], "not a range"),
        (["--set", "batch=0"], "is not a size"),
        (["--set", "depth=16", "--where", "print(1) < 1"], "print"),
        (["--set", "depth=16", "--sort", "mac"], "cannot sort"),
        (["--set", "depth=16", "--pareto", "macs"], "no two figures"),
        (["--set", "depth=16", "--pareto", "macs,params:most"], "no two figures"),
        (["--set", "depth=16", "--figure", "beauty"], "no figure 'beauty'"),
        (["--set", "depth=16", "--executor", "slurm"], "dask://HOST:PORT"),
        (["--set", "depht=16,22"], "no knob 'depht'"),
        (["--set", "depth=17,18"], "cannot be built"),
    ],
)
def test_wrong_use_ends_in_a_sentence(arguments: list[str], said: str) -> None:
    ran = run("sweep", "wrn", *arguments, "--jobs", "1")
    assert (ran.code, ran.out) == (2, ""), ran.out
    assert said in ran.err


def test_values_of_an_axis() -> None:
    found = axes(
        ["depth=10:40:10", "k=12,24", "block_config=(6,12),(6,24)", "shortcut=A,B", "memory_efficient=true,false"]
    )
    assert found == {
        "depth": [10, 20, 30, 40],
        "k": [12, 24],
        "block_config": [(6, 12), (6, 24)],
        "shortcut": ["A", "B"],
        "memory_efficient": [True, False],
    }
    assert len(grid(found)) == 4 * 2 * 2 * 2 * 2
    with pytest.raises(WrongUse):
        grid({"a": list(range(1000)), "b": list(range(1000))})


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(points=POINTS)
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    rows = [{"a": a, "b": b} for a, b in points]
    best = set(front(rows, ("a", False), ("b", True)))
    for number, row in enumerate(rows):
        beaten = any(o["a"] <= row["a"] and o["b"] >= row["b"] and o != row for o in rows)
        assert (number in best) == (not beaten)


def test_the_front_of_many_rows() -> None:
    """100,000 rows: by sorting, not by comparing each with each."""
    rows = [{"a": number * 7919 % 100_003, "b": number * 104_729 % 100_019} for number in range(100_000)]
    best = front(rows, ("a", False), ("b", False))
    lowest = min(rows, key=lambda row: (row["a"], row["b"]))
    assert rows.index(lowest) in best
    ordered = sorted((rows[number]["a"], -rows[number]["b"]) for number in best)
    assert ordered == sorted(ordered, key=lambda pair: pair[1])  # along the front one figure falls as the other grows


def test_conditions_reckon() -> None:
    row = {"macs": 100, "params": 10, "kind": "A"}
    names = list(row)
    for text, holds in (
        ("macs < 1e3", True),
        ("macs / params == 10", True),
        ("5 < params <= 10 and not macs > 200", True),
        ("params > 10 or kind == 'A'", True),
        ("macs % 7 == 0", False),
        ("-params < 0", True),
    ):
        assert condition(text, names)(row) is holds, text
    with pytest.raises(WrongUse):
        condition("macs / (params - 10) > 1", names)(row)


def test_conditions_add_up() -> None:
    """1x1, 3x3 and 5x5 kernels have 4,096, 36,864 and 102,400 parameters; each condition leaves out one of them."""
    grid = ("sweep", "conv", "--set", "kernel=1,3,5", "--jobs", "1")
    ran = run(*grid, "--where", "kernel > 1 or kernel < 0", "--where", "params < 100000", "--json")
    assert [row["kernel"] for row in json.loads(ran.out)["rows"]] == [3]
    text = run(*grid, "--where", "kernel > 1 or kernel < 0", "--where", "params < 100000").out
    assert "(kernel > 1 or kernel < 0) and params < 100000" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--optimizer", "sgd"], "so --optimizer has no effect"),
        (["--figure", "live:notanop"], "conv runs no op 'notanop'"),
        (["--where", "params <", "--where", "macs > 1"], "'--where params <' is not a condition"),
    ],
)
def test_what_has_no_effect_is_refused(options: list[str], said: str) -> None:
    ran = run("sweep", "conv", "--set", "kernel=1,3", "--jobs", "1", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
