"""Stored traces: a hit is the same answer without torch; whatever decides a trace, once changed, never gives a hit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import archcalc
from archcalc import engine
from archcalc.engine.cache import caching, watcher
from archcalc.engine.cache.folder import Folder, chosen_folder
from archcalc.engine.setup import Setup, Training
from archcalc.tracing import Trace
from archcalc.tracing.columns import columns, records
from tests.helpers import ROOT, in_rows, run, run_fresh

NET = """
from torch import nn
from helper import WIDTH

class Net(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.fc = nn.Linear(4, width)
    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of stored traces, which the commands of the test use."""
    monkeypatch.setenv("ARCHCALC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A network in a file, with a helper beside it, written some time ago."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in (("net.py", NET), ("helper.py", "WIDTH = 3\n")):
        (folder / name).write_text(text)
    return folder


def counted(line: str) -> tuple[dict[str, int], bool]:
    """The totals of a command in this process, and whether its trace was a stored one."""
    ran = run(*line.split(), "--json", "-v")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["totals"], "read from the cache" in ran.err


# ---- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "setup"),
    [
        ("resnet-20", Setup()),
        ("densenet-bc-cifar", Setup({"depth": 22}, training=Training("adam"))),
        ("encoder-layer", Setup(batch=2, device="cuda", training=Training())),
        ("lstm-cell", Setup(dtype="bfloat16")),
    ],
)
def test_columns_give_the_trace_back(model: str, setup: Setup) -> None:
    trace = engine.trace(model, setup)
    text = json.dumps(columns(trace), allow_nan=False)
    again = Trace(**records(json.loads(text)))
    assert again == trace
    assert again.to_json() == trace.to_json()  # types, too: 1 is not True
    assert len(text) < len(in_rows(trace)) / (3 if len(trace.calls) > 50 else 1)


# ---- hits and misses -----------------------------------------------------------------------------


def test_a_hit_is_the_same_answer_without_torch(folder: Path) -> None:
    code = (
        "import sys; from archcalc.cli import main; main(sys.argv[1:]); print('torch' in sys.modules, file=sys.stderr)"
    )
    first, second = (run_fresh("flops", "resnet-20", "-v", code=code) for _ in range(2))
    assert first.out == second.out
    assert (first.err.count("read from the cache"), second.err.count("read from the cache")) == (0, 1)
    assert (first.err.splitlines()[-1], second.err.splitlines()[-1]) == ("True", "False")


@pytest.mark.parametrize("command", ["summary", "flops --backward", "memory", "params", "shapes", "show", "explain"])
def test_every_command_answers_from_stored_traces(command: str, folder: Path) -> None:
    first = run(*command.split(), "resnet-20", "--json")
    assert list(folder.glob("*.trace"))
    again = run(*command.split(), "resnet-20", "--json")
    assert (again.code, again.out) == (0, first.out)


def test_every_setting_and_every_spelling_has_a_trace_of_its_own(folder: Path) -> None:
    lines = ["flops resnet-20", "flops resnet-20 --batch 2", "flops resnet-20 --size 64",
             "flops resnet-20 --dtype bfloat16", "flops resnet-20 --mode train", "flops resnet-20 --set num_classes=5",
             "flops resnet-20[num_classes=7]", "flops ResNet20", "flops resnet-20 --seed 0 --batch 3"]  # fmt: skip
    for line in lines:
        assert counted(line)[1] is False, line
    for line in lines:
        assert counted(line)[1] is True, line


def test_the_environment_versions_and_archcalc_itself_are_in_the_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted("flops resnet-20")
    assert counted("flops resnet-20")[1]
    with monkeypatch.context() as changed:
        changed.setenv("TORCH_SOMETHING", "1")
        assert not counted("flops resnet-20")[1]
    site = tmp_path / "site"
    (site / "another-2.0.dist-info").mkdir(parents=True)
    with monkeypatch.context() as changed:
        changed.syspath_prepend(str(site))  # as after pip install
        assert not counted("flops resnet-20")[1]
    from archcalc.engine.cache import conditions

    package = tmp_path / "package"
    package.mkdir()
    (package / "file.py").write_text("1")
    monkeypatch.setattr(conditions, "PACKAGE", package)
    assert not counted("flops resnet-20")[1]
    assert counted("flops resnet-20")[1]
    (package / "file.py").write_text("22")
    assert not counted("flops resnet-20")[1]


def test_what_this_machine_decides_and_values_are_not_kept(folder: Path) -> None:
    for options in ("--device cpu", "--data"):
        command = "memory" if "device" in options else "flops"
        for _ in range(2):
            ran = run(command, "batch-norm", *options.split(), "-v")
            assert ran.code == 0, ran.err
            assert "read from the cache" not in ran.err
    assert not list(folder.glob("*.trace")) if folder.exists() else True


# ---- the user's own code -------------------------------------------------------------------------


SERVER = """
import contextlib, io, json, os, sys
import archcalc.engine.record.run, archcalc.engine.record.definition, archcalc.cli.commands.summary
from archcalc.cli import main
for line in sys.stdin:
    question = json.loads(line)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # with torch and nothing of the models
        os.chdir(question["folder"])
        os.environ.update(question["environment"])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(question["arguments"])
        with open(writing, "w") as pipe:
            json.dump([code, out.getvalue(), err.getvalue()], pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        print(pipe.read(), flush=True)
    os.waitpid(child, 0)
"""
"""A process that answers each command line in a process of its own, torch imported once."""
Ask = Callable[..., tuple[int, bool, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The process of SERVER."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}  # it keeps what it compiled
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def asked(server: subprocess.Popen[str], project: Path) -> Ask:
    """Parameters of the project's model in a fresh process, whether its trace was stored, and what -v says."""

    def ask(**environment: str) -> tuple[int, bool, str]:
        question = {
            "folder": str(project),
            "environment": {"ARCHCALC_CACHE": str(project.parent / "cache"), **environment},
            "arguments": ["summary", "net.py:Net", "-i", "1x4", "--json", "-v"],
        }
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(question) + "\n")
        server.stdin.flush()
        code, out, err = json.loads(server.stdout.readline())
        assert code == 0, err
        return json.loads(out)["totals"]["params"], "read from the cache" in err, err

    return ask


def test_code_that_imports_modules_alone_is_kept_until_one_changes(project: Path, asked: Ask) -> None:
    assert asked()[:2] == (4 * 3 + 3, False)
    assert asked()[:2] == (15, True)
    (project / "helper.py").write_text("WIDTH = 5\n")
    assert asked()[0] == 4 * 5 + 5
    (project / "net.py").write_text(NET.replace("nn.Linear(4, width)", "nn.Linear(4, width, bias=False)"))
    assert asked()[0] == 20


def test_a_new_module_that_hides_another_is_seen(project: Path, asked: Ask) -> None:
    assert asked()[0] == 15
    (project / "helper").mkdir()
    (project / "helper" / "__init__.py").write_text("WIDTH = 7\n")  # a package goes before a file
    assert asked()[0] == 4 * 7 + 7


READS = {
    "file": ("from torch import nn\nWIDTH = int(open('width.txt').read())\n", "opens"),
    "listing": ("import os\nWIDTH = len([n for n in os.listdir('.') if n.endswith('.txt')]) + 2\n", "lists"),
    "existence": ("import os\nWIDTH = 3 if os.path.exists('width.txt') else 4\n", "names exists"),
    "clock": ("import time\nWIDTH = 3 + 0 * int(time.time())\n", "names time"),
    "socket": ("import socket\nsocket.socket().close()\nWIDTH = 3\n", ""),
    "process": ("import subprocess\nWIDTH = int(subprocess.run(['echo', '3'], stdout=-1).stdout)\n", ""),
}


@pytest.mark.parametrize("kind", READS)
def test_code_that_reads_anything_else_is_not_kept(kind: str, project: Path, asked: Ask) -> None:
    text, why = READS[kind]
    (project / "width.txt").write_text("3")
    (project / "helper.py").write_text(text)
    for _ in range(2):
        params, hit, said = asked()
        assert (params, hit) == (15, False)
        assert "not kept: " in said
        assert why in said
    if kind == "file":
        (project / "width.txt").write_text("5")
        assert asked()[0] == 25


def test_an_environment_variable_that_code_reads_is_a_condition(project: Path, asked: Ask) -> None:
    (project / "helper.py").write_text("import os\nWIDTH = int(os.environ.get('WIDTH_OF_NET', '3'))\n")
    assert asked()[:2] == (15, False)
    assert asked()[:2] == (15, True)
    assert asked(WIDTH_OF_NET="5")[:2] == (25, False)
    assert asked()[0] == 15


def test_a_configuration_is_kept_by_its_contents(tmp_path: Path) -> None:
    from archcalc.engine.cache.conditions import key_of
    from archcalc.engine.load.references import parse

    file = tmp_path / "config.json"
    keys = []
    for hidden in (64, 128):
        file.write_text(json.dumps({"model_type": "bert", "hidden_size": hidden}))
        keys += [key_of("run", parse(str(file)), str(file), Setup(), "programs") for _ in range(2)]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    for text in ("hf:org/name", "timm:hf-hub:org/name"):
        assert key_of("run", parse(text), text, Setup(), "programs") == ""


# ---- the folder ----------------------------------------------------------------------------------


def test_a_damaged_file_is_made_again_with_a_note(folder: Path) -> None:
    expected = counted("flops resnet-20")
    (file,) = folder.glob("*.trace")
    whole = file.read_bytes()
    for damaged in (b"", whole[:50], whole[:-5], whole[:-5] + b"xxxxx", b"nonsense"):
        file.write_bytes(damaged)
        ran = run("flops", "resnet-20", "--json")
        assert json.loads(ran.out)["totals"] == expected[0]
        assert "it is damaged; it is made again" in ran.err
        assert file.read_bytes() == whole


def test_the_least_used_files_go_first(tmp_path: Path) -> None:
    kept = Folder(tmp_path, limit=10_000)
    for number in range(30):
        kept.write(f"key{number}", {}, os.urandom(600).hex())
        os.utime(tmp_path / f"key{number}.trace", (number, number)) if number else None
        assert kept.read("key0") is not None  # used all the time
    sizes = sum(facts.st_size for _, facts in kept.files())
    assert sizes <= 10_000
    assert kept.read("key29") is not None
    assert kept.read("key1") is None
    kept.write("huge", {}, os.urandom(9_000).hex())
    assert kept.read("huge") is None or sizes <= 10_000


def test_many_writers_and_readers_see_whole_files(tmp_path: Path) -> None:
    def work(number: int) -> None:
        kept = Folder(tmp_path, limit=200_000)
        for step in range(40):
            kept.write(f"key{step % 5}", {"of": number}, [number] * 1000)
            entry = kept.read(f"key{step % 5}")
            assert entry is None or entry[1]() == [entry[0]["of"]] * 1000
        assert not kept.notes

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not list(tmp_path.glob(".part-*"))


def test_a_place_that_cannot_be_written_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHCALC_CACHE", str(tmp_path / "file" / "below"))
    ran = run("params", "resnet-20")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, True),
        ({"CI": "true"}, False),
        ({"CI": "1", "ARCHCALC_CACHE": "on"}, True),
        ({"CI": "false"}, True),
        ({"ARCHCALC_CACHE": "off"}, False),
        ({"ARCHCALC_CACHE": "0"}, False),
    ],
)
def test_where_it_is_on(variables: dict[str, str], on: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CI", "ARCHCALC_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (chosen_folder() is not None) is on
    if on and sys.platform == "linux":
        assert chosen_folder() == tmp_path / "archcalc"


def test_python_keeps_nothing_unless_asked(folder: Path) -> None:
    archcalc.trace("resnet-20")
    assert not folder.exists()
    with caching():
        engine.trace("resnet-20")
    assert len(list(folder.glob("*.trace"))) == 1


def test_the_command_shows_and_empties_the_folder(folder: Path) -> None:
    run("flops", "resnet-20")
    assert json.loads(run("cache", "info", "--json").out)["totals"]["traces"] == 1
    assert str(folder) in run("cache").out
    assert "removed 1 of 1 stored traces" in run("cache", "clear").out
    assert json.loads(run("cache", "--json").out)["totals"] == {"traces": 0, "stored_bytes": 0}
    ran = run("cache", "wipe")
    assert ran.code == 2
    assert "archcalc cache clear" in ran.err
    run("flops", "resnet-20", "--no-cache")
    assert json.loads(run("cache", "--json").out)["totals"]["traces"] == 0


def test_watching_leaves_the_environment_as_it_was() -> None:
    before = os.environ._data  # type: ignore[attr-defined]
    with watcher.watched() as watched:
        os.environ["ARCHCALC_TEST"] = "1"
    assert os.environ._data is before  # type: ignore[attr-defined]
    assert os.environ.pop("ARCHCALC_TEST") == "1"
    assert watched.reason == "it uses os.putenv"
