"""The command line as people and programs meet it: formats, streams, exit codes, and every error with its next step."""

import csv
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from archcalc.cli.commands import ORDER
from tests.helpers import ROOT, run, run_fresh, totals

SCHEMA = json.loads((ROOT / "docs" / "schema.json").read_text(encoding="utf-8"))
COMMANDS = {
    "list": ["list"],
    "show": ["show", "resnet-20"],
    "summary": ["summary", "resnet-20"],
    "shapes": ["shapes", "resnet-20"],
    "params": ["params", "resnet-20"],
    "flops": ["flops", "resnet-20"],
    "memory": ["memory", "resnet-20"],
    "compare": ["compare", "resnet-20", "densenet-bc-cifar"],
}
NET = """
import torch
from torch import nn

print("hello from import")

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
    def forward(self, x, scale=1):
        print("hello from forward")
        return self.conv(x) * scale

def make(width=4):
    return Net(width)

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4))
    def forward(self, x):
        return self.inner(x)

class AsksForValues(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

def raises():
    raise RuntimeError("no such luck")

number = 3
instance = Net(2)
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of models, in the current folder."""
    (tmp_path / "mynet.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    return tmp_path


# ---- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("format_", ["table", "plain", "json", "csv", "md", "latex"])
def test_every_command_in_every_format(command: str, format_: str) -> None:
    ran = run(*COMMANDS[command], "-f", format_)
    assert (ran.code, ran.err) == (0, "")
    if format_ == "json":
        jsonschema.validate(json.loads(ran.out), SCHEMA)
        assert json.loads(ran.out)["command"] == command
    if format_ == "csv":
        rows = list(csv.reader(io.StringIO(ran.out)))
        assert len({len(row) for row in rows}) == 1
        assert len(rows) > 1
    if format_ in ("table", "plain"):
        assert "next: " in ran.out


def test_json_of_several_models_is_a_list() -> None:
    ran = run("params", "resnet-20", "resnet-32", "--json")
    answers = json.loads(ran.out)
    jsonschema.validate(answers, SCHEMA)
    assert [answer["totals"]["params"] for answer in answers] == [269_722, 464_154]


def test_csv_of_several_models_names_them() -> None:
    rows = list(csv.DictReader(io.StringIO(run("params", "resnet-20", "resnet-32", "-f", "csv").out)))
    assert {row["model"] for row in rows} == {"resnet-20", "resnet-32"}


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("densenet", "densenet-121"),
        ("DenseNet_121", "densenet-121"),
        ("resnet", "resnet-50"),
        ("ResNet50", "resnet-50"),
        ("shufflenet", "shufflenet-v2-1.0x"),
        ("shufflenet-v2", "shufflenet-v2-1.0x"),
        ("ShuffleNet_V2_0.5X", "shufflenet-v2-0.5x"),
        ("wrn", "wrn"),
    ],
)
def test_names_families_and_aliases(typed: str, means: str) -> None:
    model = json.loads(run("params", typed, "--json", "-q").out)["model"]
    assert (model["reference"], model["name"], model["source"]) == (typed, means, "builtin")


def test_a_family_name_says_what_it_means() -> None:
    ran = run("params", "densenet", "--json")
    assert ran.err.startswith("note: densenet means densenet-121, the family's default; others: densenet-161")
    assert json.loads(ran.out)["notes"][0].startswith("densenet means densenet-121")
    assert run("params", "densenet", "--json", "-q").err == ""
    assert "densenet means densenet-121" in run("params", "densenet").out


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        (["densenet-121", "--set", "depth=169"], 14_149_480),
        (["densenet-121", "--set", "block_config=6,12,32,32"], 14_149_480),
        (["densenet-121", "--set", "growth_rate=48", "--set", "block_config=6,12,36,24"], 28_681_000),
        (["densenet-bc-cifar", "--set", "depth=250", "--set", "growth_rate=24"], 15_324_406),
        (["densenet-cifar", "--set", "depth=100"], 6_979_642),
        (["cifar-resnet", "--set", "depth=110"], 1_727_962),
        (["cifar-resnet", "--set", "shortcut=B"], 272_474),
        (["wrn", "--set", "depth=40", "--set", "widen-factor=4"], 8_949_210),
        (["shufflenet-v2-1.0x", "--set", "width=2"], 7_402_600),
        (["resnet-50", "--set", "num_classes=10"], 25_557_032 - 990 * 2049),
    ],
)
def test_knobs(settings: list[str], params: int) -> None:
    assert totals("params", *settings)["params"] == params


def test_shorthands_change_the_input() -> None:
    answer = json.loads(run("flops", "resnet-18", "--batch", "4", "--size", "128x160", "--json").out)
    assert answer["inputs"] == [{"name": "x", "dtype": "float32", "shape": [4, 3, 128, 160], "from": "option"}]
    assert answer["assumptions"]["batch"] == 4
    assert totals("flops", "resnet-18", "-i", "4x3x128x160") == answer["totals"]


def test_the_users_file_and_its_prints(net: Path) -> None:
    """What the model prints goes to stderr: stdout is one valid document."""
    for reference in ("mynet.py:Net", "mynet:make", "mynet:make(width=4)", "mynet.py:Net(4)"):
        ran = run("summary", reference, "-i", "1x3x8x8", "--json")
        assert ran.code == 0
        assert json.loads(ran.out)["totals"]["macs"] == 4 * 36 * 27
        assert "hello from forward" in ran.err
    assert totals("params", "mynet:instance")["params"] == 2 * 27 + 2
    assert totals("params", "mynet:make", "--set", "width=8")["params"] == 8 * 27 + 8


def test_a_stored_trace_needs_no_torch(tmp_path: Path) -> None:
    import archcalc

    file = tmp_path / "net.json"
    file.write_text(archcalc.trace("resnet-20").to_json(), encoding="utf-8")
    code = (
        "import sys; from archcalc.cli import main; main(sys.argv[1:]); print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = run_fresh("flops", str(file), "--json", code=code)
    assert json.loads(ran.out)["totals"]["macs"] == 40_551_040
    assert ran.err.strip() == "False"


# ---- what does not import torch -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["flops", "--help"], ["--version"], ["params", "resnet-5"], []]
)
def test_fast_commands_do_not_import_torch(arguments: list[str]) -> None:
    code = "import sys; from archcalc.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    ran = run_fresh(*arguments, code=code)
    assert "Traceback" not in ran.err
    assert ran.code == 0, ran.err


def test_completion_of_names_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    environment = {
        "_ARCHCALC_COMPLETE": "complete_bash",
        "COMP_WORDS": "archcalc params densenet-1",
        "COMP_CWORD": "2",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    code = "import sys; sys.argv[0] = 'archcalc'; from archcalc.cli import main; main([])"
    ran = run_fresh(code=code, **environment)
    assert ran.out.split() == ["densenet-121", "densenet-161", "densenet-169"]


# ---- errors --------------------------------------------------------------------------------------

MISUSES = [
    (["params", "resnet-5o"], "unknown_network", "did you mean"),
    (["params", "densnet"], "unknown_network", "densenet"),
    (["params", "zzz"], "unknown_network", "archcalc list"),
    (["list", "zzz*"], "unknown_network", "archcalc list"),
    (["params", "resnet-50", "--set", "dept=50"], "unknown_knob", "depth"),
    (["params", "resnet-50", "--set", "depth=51"], "bad_knob", ""),
    (["params", "resnet-50", "--set", "depth=many"], "bad_knob", "--set depth=50"),
    (["params", "resnet-50", "--set", "num_classes=0"], "bad_knob", ""),
    (["params", "resnet-50", "--set", "widen_factor=0.001"], "bad_knob", ""),
    (["params", "densenet-cifar", "--set", "depth=41"], "bad_knob", "40 and 43"),
    (["params", "densenet-121", "--set", "depth=121", "--set", "block_config=1,1"], "bad_knob", "depth=7"),
    (["params", "cifar-resnet", "--set", "shortcut=C"], "bad_knob", ""),
    (["params", "shufflenet-v2-1.0x", "--set", "width=1.25"], "bad_knob", ""),
    (["params", "resnet-50", "--set", "depth"], "wrong_use", "--set KNOB=VALUE"),
    (["params", "resnet-50", "--set", "depth=50", "--set", "depth=18"], "wrong_use", ""),
    (["flops", "resnet-50", "--size", "big"], "bad_input", "--size 288"),
    (["flops", "resnet-50", "--seq-len", "8"], "bad_input", "inputs  x=1x3x224x224"),
    (["flops", "resnet-50", "--batch", "0"], "wrong_use", "archcalc flops --help"),
    (["flops", "resnet-50", "-i", "1x3xWx224"], "bad_input", "-i"),
    (["flops", "resnet-50", "-i", "float9:1x3"], "bad_input", "float32"),
    (["flops", "resnet-50", "-i", "y=1x3x224x224"], "bad_input", "x"),
    (["flops", "resnet-50", "-i", "1x3x224x224", "-i", "1x3"], "bad_input", ""),
    (["flops", "resnet-50", "-i", "1x3x9x9", "--size", "9"], "bad_input", ""),
    (["flops", "resnet-50", "--dtype", "int8"], "bad_input", "bfloat16"),
    (["flops", "resnet-50", "-f", "xml"], "wrong_use", "table, plain, json"),
    (["flops", "resnet-50", "--json", "-f", "csv"], "wrong_use", ""),
    (["flops", "resnet-20", "--sort", "colour"], "wrong_use", "macs"),
    (["flops", "resnet-20", "--layer", "layer9*"], "no_such_layer", "layers look like"),
    (["shapes", "resnet-20", "--depth", "2"], "wrong_use", "--layer"),
    (["flops"], "wrong_use", "archcalc flops --help"),
    (["flops", "resnet-50", "--colour"], "wrong_use", "archcalc flops --help"),
    (["flopps", "resnet-50"], "wrong_use", "archcalc flops"),
    (["flops", "no_such_module_at_all:Net"], "cannot_import", ""),
    (["flops", "nowhere.py:Net"], "bad_reference", ""),
    (["flops", "nowhere.py"], "bad_reference", "nowhere.py:NameOfTheModel"),
    (["flops", "some/where"], "bad_reference", ""),
    (["flops", "torch.nn:Linear(__import__('os'))"], "bad_reference", ""),
    (["flops", "torch.nn:Linear(3"], "bad_reference", ""),
    (["flops", "torch.nn:Linnear(3, 3)"], "bad_reference", ""),
    (["flops", "nowhere.json"], "bad_reference", ""),
    (["show", "torch.nn:Linear(3, 3)", "-i", "1x3"], "wrong_use", "archcalc summary"),
    (["params", "resnet-20", "-o", "no/such/folder/x.json"], "cannot_write", "-o FILE"),
]
IMPORT_FAILURES = {"cannot_import": 3}


@pytest.mark.parametrize(("arguments", "kind", "hint"), MISUSES, ids=[" ".join(case[0]) for case in MISUSES])
def test_a_misuse_is_one_sentence_and_the_next_step(
    arguments: list[str], kind: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert ran.code == IMPORT_FAILURES.get(kind, 2)
    assert ran.out == "" or "--json" in arguments
    assert ran.err.startswith("error: ")
    assert ran.err.splitlines()[0].endswith(".")
    assert hint in ran.err
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []
    as_json = run(*arguments, *([] if "-f" in arguments else ["--json"]))
    if "-f" not in arguments:
        answer = json.loads(as_json.out)
        jsonschema.validate(answer, SCHEMA)
        assert answer["error"]["kind"] == kind


@pytest.mark.parametrize(
    ("reference", "kind", "said"),
    [
        ("mynet.py:Broken", "forward_failed", "in layer inner.0"),
        ("mynet.py:AsksForValues", "needs_data", "mynet.py:"),
        ("mynet.py:raises", "cannot_import", "no such luck"),
    ],
)
def test_a_broken_model_shows_its_own_message_and_line(net: Path, reference: str, kind: str, said: str) -> None:
    ran = run("flops", reference, "-i", "1x5", "--json")
    assert ran.code == 3
    assert json.loads(ran.out)["error"]["kind"] == kind
    assert said in ran.err
    assert "archcalc/engine" not in ran.err


@pytest.mark.parametrize("reference", ["mynet.py:number", "mynet.py:missing", "mynet.py"])
def test_what_is_no_model_is_refused(net: Path, reference: str) -> None:
    ran = run("flops", reference, "-i", "1x3x8x8")
    assert ran.code == 2
    assert "error: " in ran.err


def test_a_model_without_inputs_gets_a_line_to_paste(net: Path) -> None:
    ran = run("flops", "mynet.py:Net")
    assert ran.code == 2
    assert "forward(x, scale=1)" in ran.err
    pasted = next(line for line in ran.err.splitlines() if "-i" in line).split("archcalc ")[1].split()
    assert run(*pasted).code == 0


@pytest.mark.parametrize(
    "typed", ["mynet.py:Net", "flops mynet.py:make(width=2) --json", "compare resnet-20 mynet.py:Net"]
)
def test_the_line_to_paste_is_the_one_that_was_typed(net: Path, typed: str) -> None:
    """With the inputs behind it; a model alone means its summary."""
    words = typed.split()
    ran = run(*words)
    assert (ran.code, ran.err.count("try  archcalc")) == (2, 1)
    pasted = shlex.split(ran.err.partition("try  archcalc ")[2])
    whole = words if words[0] in COMMANDS else ["summary", *words]
    assert pasted[: len(whole)] == whole
    assert pasted[len(whole) :] == ["-i", "1x3x224x224"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("params resnet-20 --dept 2", "params has no option '--dept'.\n       did you mean  --depth ?"),
        ("flops resnet-20 -i 1x3x32", "-i 1x3x32x32  (all sides of a map)"),
        ("flops resnet-20 -i 3x32x32", "-i 1x3x32x32  (a batch axis in front)"),
        ("flops resnet-20 -o x.docx", ".txt, .svg, .png, .pdf  or add"),
        ("compare resnet-20 resnet-32 -o x.docx", ".txt  or add"),
    ],
)
def test_the_hint_is_what_mends_it(typed: str, said: str) -> None:
    ran = run(*typed.split())
    assert ran.code != 0
    assert said in ran.err


def test_no_axis_is_proposed_where_it_would_not_help() -> None:
    """Neither 5 nor 7 channels are 3, with or without another axis."""
    assert "try" not in run("flops", "resnet-20", "-i", "5x7x32").err


def test_a_comparison_of_one_has_its_figures_and_no_star() -> None:
    first, second, *_ = run("compare", "resnet-20").out.splitlines()
    assert first == "269,722 parameters · 40.55 M MACs"
    assert "smallest" not in second


def test_a_file_that_does_not_import(net: Path) -> None:
    (net / "bad.py").write_text("import torch\nx = 1 / 0\n", encoding="utf-8")
    ran = run("flops", "bad.py:Net", "-i", "1x3")
    assert ran.code == 3
    assert "ZeroDivisionError: division by zero" in ran.err
    assert "bad.py:2" in ran.err


def test_a_stored_trace_that_is_none(tmp_path: Path) -> None:
    for text in ("not json", "{}", '{"schema_version": 1, "trace": {}}', '{"schema_version": 9, "trace": {}}', "[1]"):
        file = tmp_path / "x.json"
        file.write_text(text, encoding="utf-8")
        ran = run("flops", str(file))
        assert ran.code == 2
        assert "is not a stored trace" in ran.err


# ---- streams and files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "begins"),
    [("x.json", "{"), ("x.csv", "path,"), ("x.md", "**"), ("x.tex", "% "), ("x.txt", "269,722 parameters")],
)
def test_the_extension_chooses_the_format(tmp_path: Path, name: str, begins: str) -> None:
    file = tmp_path / name
    ran = run("params", "resnet-20", "-o", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert f"wrote {file}" in ran.err
    assert file.read_text(encoding="utf-8").startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_command_leaves_an_old_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("old", encoding="utf-8")
    assert run("params", "resnet-20", "nothing-like-it", "-o", str(file)).code == 2
    assert file.read_text(encoding="utf-8") == "old"


@pytest.mark.usefixtures("shared_traces")
@pytest.mark.parametrize("command", COMMANDS)
def test_piped_output_is_never_cut(command: str) -> None:
    """No ellipsis anywhere when there is no terminal, whatever COLUMNS says."""
    ran = run_fresh(*COMMANDS[command], COLUMNS="40")
    assert ran.code == 0
    assert "…" not in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.usefixtures("shared_traces")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["flops", "shapes", "compare", "show", "list"])
def test_poor_encodings_get_stand_ins(command: str, encoding: str) -> None:
    ran = run_fresh(*COMMANDS[command], PYTHONIOENCODING=encoding)
    assert ran.code == 0, ran.err
    assert ran.out.isascii() or encoding != "ascii"


@pytest.mark.usefixtures("shared_traces")
@pytest.mark.parametrize("arguments", ["shapes resnet-1202 -f plain", "params resnet-20 --json", "--help"])
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_stops_early_is_no_error(arguments: str, reader: str) -> None:
    command = f"{sys.executable} -m archcalc {arguments} | {reader}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("shared_traces")
def test_a_terminal_gets_colour_and_its_width() -> None:
    """In a terminal a little too narrow names give way in the middle, digits never."""
    command = ["flops", "densenet-bc-cifar", "--layer", "denseblock1.denselayer*"]
    narrow = 48  # bar, FLOPs and elementwise operations have given way
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(narrow), "PYTHONPATH": str(ROOT), **extra}
        reader, writer = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "archcalc", *command],
            stdout=writer, env=environment, cwd=ROOT,
        )  # fmt: skip
        os.close(writer)
        text = b""
        try:
            while piece := os.read(reader, 65536):
                text += piece
        except OSError:
            pass
        os.close(reader)
        assert process.wait() == 0
        assert (b"\x1b[" in text) is coloured
        shown = re.sub(r"\x1b\[[\d;]*m", "", text.decode())
        assert "…" in shown
        assert max(map(len, shown.splitlines()[2:12])) <= narrow


def test_verbose_times_go_to_stderr() -> None:
    ran = run("flops", "resnet-20", "-v", "--json")
    assert "traced 95 op calls" in ran.err
    json.loads(ran.out)


def test_help_leads_with_examples() -> None:
    out = run("--help").out
    assert out.index("Examples:") < out.index("What there is:")
    for command in COMMANDS:
        help_ = run(command, "--help").out
        assert "Examples:" in help_
        assert help_.index("Examples:") < help_.index("Options")
        opposites = help_.replace("--no-changes", "").replace("--no-cache", "")  # options of ours
        assert "--no-" not in opposites


def test_version() -> None:
    from archcalc import __version__

    assert run("--version").out == f"archcalc {__version__}\n"


def test_help_lists_options_in_groups() -> None:
    """A section a group of the table of settings; a command's own options first, --help last where it is alone."""
    sections = re.findall(r"^([A-Z][a-z ]+):$", run("memory", "--help").out, re.MULTILINE)
    expected = ["Arguments", "Options", "Model", "Input", "Training step", "Device", "Layers shown", "Output"]
    assert [name for name in sections if name != "Examples"] == expected
    sections = re.findall(r"^([A-Z][a-z ]+):$", run("list", "--help").out, re.MULTILINE)
    assert sections[-2:] == ["Output", "Options"]


USAGES = [("list", "[GLOB]"), ("speed", "MODEL..."), ("explain", "MODEL|KIND [LAYER]"), ("cache", "[info|clear]")]


@pytest.mark.parametrize(("command", "arguments"), USAGES)
def test_the_usage_line_spells_arguments_as_the_page_of_commands_does(command: str, arguments: str) -> None:
    lines = run(command, "--help").out.splitlines()
    assert lines[0].endswith(f" {command} [OPTIONS] {arguments}")
    assert lines[lines.index("Arguments:") + 1].startswith(f"  {arguments.split(maxsplit=1)[0]}  ")


@pytest.mark.parametrize("command", ORDER)
def test_an_option_that_is_no_list_cannot_be_given_twice(command: str) -> None:
    """Of two values the last would silently win; flags are no exception, and short names count as the long ones."""
    ran = run(command, "-q", "--quiet")
    assert (ran.code, ran.out) == (2, "")
    assert "--quiet is given twice." in ran.err


@pytest.mark.parametrize("typed", [("--amp", ""), ("--lora=",), ("-i", ""), ("--layer", "")])
def test_an_empty_value_is_an_error(typed: tuple[str, ...]) -> None:
    """It is that of a variable of the shell that is not set; before, most options took it for none."""
    ran = run("flops", "resnet-20", *typed)
    assert (ran.code, ran.out) == (2, "")
    assert f"{typed[0].removesuffix('=')} is followed by an empty text." in ran.err
