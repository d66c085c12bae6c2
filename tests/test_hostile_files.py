"""Files and options: outputs that cannot be, sweeps that meet, what is told before any work, models nested deeply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine import choices
from archcalc.errors import BadInput, CannotWrite, ForwardFailed
from archcalc.studies.sweep.store import Store
from archcalc.text.units import LONGEST, number, parse_count, parse_shape
from tests.helpers import ROOT, in_rows, run, run_fresh

NET = """
import torch
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)

def batch():
    return torch.zeros(2, 4)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "link.txt").symlink_to(tmp_path / "net.py")
    trace = archcalc.trace(nn.Linear(4, 4), (2, 4)).to_json()
    (tmp_path / "trace.json").write_text(trace, encoding="utf-8")
    (tmp_path / "archcalc.toml").write_text('[[check]]\nmodel = "net.py:Net"\ninput = "2x4"\nmax_params = 30\n')
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "locked.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("summary net.py:Net -i 2x4 -o net.py", "net.py: it is a program"),
        ("summary net.py:Net -i 2x4 -o other.py", "other.py: it is a program"),
        ("summary net.py:Net -i 2x4 -o other.PYI", "other.PYI: it is a program"),
        ("summary net.py:Net -i 2x4 -o notes.ipynb", "notes.ipynb: it is a program"),
        ("summary net.py:Net -i 2x4 -o link.txt", "link.txt: it is a program"),
        ("summary net.py:Net --inputs net.py:batch -o net.py", "it is a program"),
        ("init net.py:Net -i 2x4 -o net.py", "it is a program"),
        ("snapshot net.py:Net -i 2x4 -o net.py", "it is a program"),
        ("check -f junit -o net.py", "it is a program"),
        ("list -o net.py", "it is a program"),
        ("law resnet-20 --over batch --plot -o net.py", "it is a program"),
        ("sweep net.py:Net -i 2x4 --set batch=1,2 -o net.py", "it is a program"),
        ("summary trace.json -o trace.json", "the result is made from that file"),
        ("summary trace.json -o ./trace.json", "the result is made from that file"),
        ("diff trace.json resnet-20 -o trace.json", "the result is made from that file"),
        ("summary hf:config.json -o config.json", "the result is made from that file"),
        ("check -o archcalc.toml", "the result is made from that file"),
        ("check archcalc.toml -o archcalc.toml", "the result is made from that file"),
        ("summary resnet-20 -o .", "it is a folder"),
        ("summary resnet-20 -o nowhere/x.json", "no such file or directory"),
        ("summary resnet-20 -o net.py/x.json", "not a directory"),
        ("sweep resnet-20 --set batch=1,2 -o nowhere/x.csv", "no such file or directory"),
        ("snapshot resnet-20 -o nowhere/x.json", "no such file or directory"),
    ],
)
def test_an_output_that_cannot_be_is_told_before_any_work(
    line: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr("archcalc.engine.trace", _nothing_is_traced)
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: cannot write ")
    assert said in ran.err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def _nothing_is_traced(*_: Any) -> Any:
    raise AssertionError("a model was traced")


def test_a_baseline_is_not_written_over_a_program(folder: Path) -> None:
    (folder / "archcalc.toml").write_text('[[check]]\nmodel = "resnet-20"\nmax_params = 3\nbaseline = "net.py"\n')
    ran = run("check", "--update-baseline")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot write net.py: it is a program" in ran.err
    assert (folder / "net.py").read_text(encoding="utf-8") == NET


def test_what_may_be_written_is(folder: Path) -> None:
    assert run("summary", "net.py:Net", "-i", "2x4", "-o", "locked.json").code == 0
    assert json.loads((folder / "locked.json").read_text())["totals"]["params"] == 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("summary nofile.py:Net", "there is no file nofile.py"),
        ("summary .:Net", "'.' is neither a module nor a Python file"),
        ("summary ./sub:Net", "'./sub' is neither a module nor a Python file"),
        ("summary nofile.json", "the file cannot be read (No such file or directory)"),
        ("summary nofile.json/x.json", "the file cannot be read"),
        ("summary folder.json", "the file cannot be read (Is a directory)"),
        ("diff folder.json folder.json", "the file cannot be read (Is a directory)"),
        ("diff nofile.json resnet-20", "the file cannot be read (No such file or directory)"),
        ("check nofile.toml", "it cannot be read (No such file or directory)"),
        ("check .", "it cannot be read (Is a directory)"),
        ("check net.py", "it is not TOML"),
        ("summary net.py:Net --inputs nofile.py:batch", "--inputs nofile.py:batch cannot be used: there is no file"),
        ("summary a\0b.json", "no file can have that name"),
        ("summary a\0b.py:Net", "there is no file"),
        ("check a\0b.toml", "no file can have that name"),
        ("summary resnet-20 -o a\0b", "no file can have that name"),
        (f"summary {'x' * 5000}.py:Net", "there is no file"),
        (f"summary {'x' * 5000}.json", "File name too long"),
        (f"sweep resnet-20 --set batch=1,2 -o {'x' * 5000}.csv", "file name too long"),
    ],
)
def test_a_file_that_is_not_there_is_a_sentence(line: str, said: str, folder: Path) -> None:
    (folder / "folder.json").mkdir()
    ran = run(*line.split(" "))
    assert ran.code in (2, 3)
    assert ran.out == ""
    assert said in ran.err
    assert "bug" not in ran.err


# ---- two sweeps ----------------------------------------------------------------------------------

SLOW = """
import time
from torch import nn

class Slow(nn.Linear):
    def __init__(self, out=4):
        time.sleep({seconds})
        super().__init__(4, out)
"""


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_second_sweep_on_a_file_is_refused(ending: str, tmp_path: Path) -> None:
    """The lock is of the first sweep's process: it is gone with it, also when it is killed."""
    file, model = tmp_path / f"grid.{ending}", tmp_path / "slow.py"
    model.write_text(SLOW.format(seconds=1))
    grid = ["sweep", f"{model}:Slow", "-i", "2x4", "--set", "out=1:60:1", "--jobs", "1", "-o", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([sys.executable, "-m", "archcalc", *grid], env=environment, stderr=subprocess.DEVNULL)
    rows = 1 + (ending == "csv")
    try:
        for _ in range(600):
            if file.exists() and len(file.read_text().splitlines()) >= rows:
                break
            time.sleep(0.1)
        second = run(*grid)
    finally:
        first.kill()
        first.wait()
    assert (second.code, second.out) == (2, "")
    assert "another sweep is writing to it" in second.err
    before = file.read_text()
    model.write_text(SLOW.format(seconds=0))
    assert run(*grid[:5], "out=1:3:1", *grid[6:]).code == 0
    assert file.read_text().startswith(before)
    text = [line for line in file.read_text().splitlines() if not line.startswith("model,")]
    assert len(text) == len(set(text)), "no member twice"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".py") == [
        *(["__pycache__"] if (tmp_path / "__pycache__").exists() else []),
        file.name,
    ]


def test_a_store_is_free_when_it_is_closed(tmp_path: Path) -> None:
    file = str(tmp_path / "a.csv")
    with Store(file, "net", ["depth"], ["params"]) as store:
        with pytest.raises(CannotWrite, match="another sweep"):
            Store(file, "net", ["depth"], ["params"])
        store.add({"depth": 3, "params": 7, "error": ""})
    with Store(file, "net", ["depth"], ["params"]) as store:
        assert store.known == {'{"depth": "3"}': {"params": 7, "error": ""}}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("value", ["=1+1", "a;b", 'q"q', "\n::error::", "-3", -3, None, True, (1, 2), "ü\u202e"])
def test_values_of_a_knob_are_known_again(value: Any, ending: str, tmp_path: Path) -> None:
    file = str(tmp_path / f"a.{ending}")
    for _ in range(2):
        with Store(file, "=net", ["=knob"], ["params"]) as store:
            known = list(store.known.values())
            if not known:
                store.add({"=knob": value, "params": 7, "error": "\n::error::\x1b[2J"})
    assert known == [{"error": known[0]["error"]}]
    rows = Path(file).read_text(encoding="utf-8").split("\n")
    assert len(rows) == 2 + (ending == "csv")
    assert not [line for line in rows if line.startswith(("=", "::"))]


# ---- before any work -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "list", "show resnet-20", "summary resnet-20", "shapes resnet-20", "params resnet-20", "flops resnet-20",
        "memory resnet-20", "explain resnet-20", "compare resnet-20 resnet-32", "law resnet-20 --over batch",
        "sweep resnet-20 --set batch=1,2", "diff resnet-20 resnet-32", "verify", "verify resnet-20", "check",
        "init resnet-20", "snapshot resnet-20",
    ],
)  # fmt: skip
def test_a_wrong_format_is_told_before_any_work(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.engine.trace", _nothing_is_traced)
    for more in (["-f", "yaml"], ["-f", "csv", "--json"]):
        ran = run(*command.split(), *more)
        assert ran.code == 2
        assert "format" in ran.err or "has no form as" in ran.err
    if command != "check":
        assert run(*command.split(), "-f", "github").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "verify --dtype float8", "verify --mode test", "verify resnet-20 resnet-21", "flops resnet-20 resnet-21",
        "compare resnet-20 resnet-21", "diff resnet-20 resnet-21", "flops resnet-20 --convention mine",
        "memory resnet-20 --train --optimizer adma", "memory resnet-20 --train --loss l3",
        "memory resnet-20 --device tpu", "memory resnet-20 --attention fast", "memory resnet-20 --amp fp8",
        "law resnet-20 --over batch --figure beauty", "law resnet-20 --over batch --optimizer adma",
        "sweep resnet-20 --set batch=1,2 --loss l3", "sweep resnet-20 --set batch=1,2 --figure beauty",
        "summary nofile.py:Net", "explain resnet-21", "snapshot resnet-21", "init resnet-21",
    ],
)  # fmt: skip
def test_a_wrong_name_is_told_without_torch(line: str) -> None:
    code = f"import sys; from archcalc.cli import main; print(main({line.split()!r}), 'torch' in sys.modules)"
    assert run_fresh(code=code).out == "2 False\n"


def test_the_names_of_settings_are_those_of_the_engine() -> None:
    from archcalc.engine.devices.autocast import AMP
    from archcalc.engine.record.training_loop import OPTIMIZERS

    assert (*OPTIMIZERS,) == choices.OPTIMIZERS
    assert ("", *AMP) == choices.AMP


@pytest.mark.parametrize("form", ["--json", "-f json", "--format=json"])
def test_init_is_not_json(form: str, folder: Path) -> None:
    ran = run("init", "net.py:Net", "-i", "2x4", *form.split())
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["message"] == "the answer is TOML and has no form as json."


def test_a_snapshot_is_json_anyway(folder: Path) -> None:
    plain = run("snapshot", "net.py:Net", "-i", "2x4")
    assert run("snapshot", "net.py:Net", "-i", "2x4", "--json").out == plain.out
    assert json.loads(plain.out)["archcalc_snapshot"] == 1


def test_a_job_summary_that_cannot_be_written_is_told_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.engine.trace", _nothing_is_traced)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "nowhere" / "summary.md"))
    ran = run("check", "-f", "github")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot write" in ran.err


# ---- deep and large ------------------------------------------------------------------------------


def nested(depth: int) -> nn.Module:
    module: nn.Module = nn.Linear(4, 4)
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


@pytest.mark.parametrize("train", [False, True])
def test_200_nested_containers_run_as_in_torch(train: bool) -> None:
    model = nested(200)
    assert model(torch.zeros(1, 4)).shape == (1, 4)
    limit = sys.getrecursionlimit()
    report = archcalc.analyze(model, (1, 4), train=train)
    assert (report.params, report.layers[".".join(["0"] * 200)].macs, len(report.layers)) == (20, 16, 201)
    assert sys.getrecursionlimit() == limit


def test_endless_recursion_of_a_model_is_its_error() -> None:
    class Endless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self(x + 1)

    with pytest.raises(ForwardFailed, match="RecursionError"):
        archcalc.trace(Endless(), (1, 4))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stored trace with 6,000 modules, each in the one before."""
    document = json.loads(in_rows(archcalc.trace(nested(1), (1, 4))))
    trace, count = document["trace"], 6000
    root, inner = trace["modules"]
    paths = [".".join(["0"] * depth) for depth in range(1, count + 1)]
    trace["modules"] = [root, *({**inner, "path": path, "parent": n} for n, path in enumerate(paths))]
    for call in trace["module_calls"]:
        call["module"] *= count
    for parameter in trace["parameters"]:
        parameter["names"] = [f"{paths[-1]}.{name.rpartition('.')[2]}" for name in parameter["names"]]
    file = tmp_path_factory.mktemp("deep") / "deep.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    "command",
    ["summary", "params", "flops", "flops --depth 9999", "memory --timeline", "shapes", "explain", "snapshot"],
)
def test_6000_nested_modules_of_a_stored_trace(command: str, deep: str) -> None:
    name, *options = command.split()
    ran = run(name, deep, *options)
    assert ran.code == 0, ran.err[:500]
    if name in ("params", "flops", "summary"):
        assert json.loads(run(name, deep, "--json").out)["totals"]["params" if name == "params" else "macs"] in (20, 16)


@pytest.mark.parametrize(
    "value", ["[" * 500 + "]" * 500, "[" * 100_000 + "]" * 100_000, '{"a":' * 900 + "1" + "}" * 900]
)
def test_values_of_a_stored_trace_nested_deeply_are_refused(value: str, tmp_path: Path) -> None:
    text = in_rows(archcalc.trace(nn.Linear(4, 4), (1, 4))).replace('"settings": {}', f'"settings": {value}')
    assert len(text) > 1000
    (tmp_path / "trace.json").write_text(text)
    ran = run("summary", str(tmp_path / "trace.json"))
    assert ran.code in (0, 2)
    assert "bug" not in ran.err
    (tmp_path / "checks.toml").write_text(f"x = {'[' * 5000}{']' * 5000}\n")
    ran = run("check", str(tmp_path / "checks.toml"))
    assert (ran.code, "it is not TOML" in ran.err) == (2, True)


LONG = "9" * 5000


@pytest.mark.parametrize(
    "line",
    [
        f"flops resnet-20 --batch {LONG}", "flops resnet-20 --batch 10**30", f"flops resnet-20 --batch {10**30}",
        f"flops resnet-20 --size {LONG}", f"flops resnet-20 --size {10**30}", f"flops gpt2 --seq-len {10**30}",
        f"flops resnet-20 -i {LONG}", f"flops resnet-20 -i {LONG}x3", f"flops resnet-20 -i x={LONG}:3",
        f"flops resnet-20 --set num_classes={LONG}", f"flops resnet-20 --set num_classes={10**30}",
        f"flops resnet-20 --set {LONG}=1", f"flops {LONG}", f"flops a:b({LONG})", f"flops {LONG}.py:X",
        f"memory resnet-20 --fit {LONG}", "memory resnet-20 --fit 1e999999999", f"memory resnet-20 --fit {LONG}GiB",
        f"flops resnet-20 --depth {LONG}", f"sweep resnet-20 --set batch=1:{LONG}", f"list {LONG}",
        f"sweep resnet-20 --set batch={LONG} --jobs 1", f"law resnet-20 --over batch --measure 1:{LONG}:{LONG}",
        f"flops resnet-20 --layer {LONG}", f"flops resnet-20 -f {LONG}", f"{LONG}", f"flops --{LONG}",
        f"flops resnet-20 --inputs {LONG}",
    ],
)  # fmt: skip
def test_numbers_of_any_length_end_in_a_short_sentence(line: str) -> None:
    ran = run(*line.split())
    assert ran.code == 2
    assert "bug" not in ran.err
    assert "stdout" not in ran.err
    assert len(ran.err) < 1200


@pytest.mark.parametrize("value", ["9" * 4000, "9" * 5000, str(2**63), "-1"])
def test_numbers_of_any_length_in_files_end_in_a_sentence(value: str, tmp_path: Path) -> None:
    for kind, text in (
        ("json", in_rows(archcalc.trace(nn.Linear(4, 4), (1, 4))).replace('"bytes": 64', f'"bytes": {value}')),
        ("json", in_rows(archcalc.trace(nn.Linear(4, 4), (1, 4))).replace("[1, 4]", f"[1, {value}]")),
        ("toml", f'[[check]]\nmodel = "resnet-20"\nbatch = {value}\nmax_params = {value}\n'),
    ):
        (tmp_path / f"file.{kind}").write_text(text)
        ran = run("summary" if kind == "json" else "check", str(tmp_path / f"file.{kind}"))
        assert ran.code in (2, 3), ran.out
        assert "bug" not in ran.err + ran.out


@pytest.mark.parametrize(
    "settings",
    [{"batch": 10**5000}, {"batch": 10**30}, {"size": 10**5000}, {"size": (10**5000, 3)}, {"inputs": (10**5000,)}],
)
def test_numbers_of_any_length_in_python_are_bad_input(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        archcalc.trace("resnet-20", **settings)
    assert len(str(caught.value)) < 300


def test_long_numbers_as_text() -> None:
    assert number(10**LONGEST - 1) == "9" * LONGEST
    assert [number(10**digits) for digits in (50, 5000)] == ["(a number of 51 digits)", "(a number of 5,001 digits)"]
    assert [number(10**digits - 1) for digits in (50, 5000)] == [
        "(a number of 50 digits)",
        "(a number of 5,000 digits)",
    ]
    for text in (LONG, "1e50", "1e999999999", "inf", "nan"):
        with pytest.raises(ValueError, match="is not a count"):
            parse_count(text)
    with pytest.raises(ValueError, match="a size has at most 40 digits"):
        parse_shape(f"1x{LONG}")


@pytest.mark.parametrize("value", [None, -1, 5, 10**4200, 1.5, "x", [], {}, [[[]]], True])
@pytest.mark.parametrize("place", ["path", "type", "extra", "output", "params", "calls"])
def test_a_damaged_snapshot_is_an_answer_or_a_sentence(place: str, value: Any, tmp_path: Path) -> None:
    document = json.loads(run("snapshot", "lstm-cell").out)
    document["models"][0]["layers"][1][place] = value
    _diffs(json.dumps(document), tmp_path)


@pytest.mark.parametrize("number_", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_no_json(number_: str, tmp_path: Path) -> None:
    snapshot = run("snapshot", "lstm-cell").out.replace('"batch": 1', f'"batch": {number_}')
    trace = in_rows(archcalc.trace(nn.Linear(4, 4), (1, 4))).replace('"bytes": 64', f'"bytes": {number_}')
    for text in (snapshot, trace):
        assert number_ in text
        assert "it is not JSON" in _diffs(text, tmp_path)


def _diffs(text: str, folder: Path) -> str:
    """What `diff` says of a file beside a model: an answer, or a sentence about the file."""
    (folder / "old.json").write_text(text)
    ran = run("diff", str(folder / "old.json"), "lstm-cell", "--all", "--json")
    assert ran.code in (0, 2)
    assert "bug" not in ran.err
    return ran.err


def test_a_stored_trace_without_what_an_op_needs_is_damaged(tmp_path: Path) -> None:
    document = json.loads(in_rows(archcalc.trace(nn.Conv2d(3, 2, 1), (1, 3, 2, 2))))
    document["trace"]["calls"][0]["inputs"]["input"] = []
    (tmp_path / "trace.json").write_text(json.dumps(document))
    ran = run("shapes", str(tmp_path / "trace.json"))
    assert (ran.code, ran.out) == (2, "")
    assert "is not a stored trace: it is damaged (KeyError" in ran.err
