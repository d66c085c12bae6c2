"""archcalc check, init and the pytest plugin, in a project of their own: what holds, what fails, what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archcalc.analyses.metrics import BUDGETS
from archcalc.errors import BadConfig
from archcalc.studies.guard.config import KEYS, parse
from tests.helpers import ROOT, Ran, run
from tests.test_cli import SCHEMA

NET = """
from torch import nn

def make(width=64):
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x) @ __import__("torch").linalg.inv(self.fc.weight)

def broken():
    raise ValueError("no net today")
"""
CHECKS = """
[project]
name = "app"

[[tool.archcalc.check]]
name = "net"
model = "net.py:make"
input = "2x3x32x32"
max_params = "21 k"
min_params = 20_000
exact_macs = 39519488
max_flops = "80 M"
max_peak_memory = "1.2 MiB"
max_train_memory = "3 MiB"
max_params_bytes = "80 KiB"
output = "Bx10"
shapes = { "3" = "Bx64x32x32", "5" = "Bx*x1x1" }
no_uncounted_ops = true
baseline = ".archcalc/net.json"
max_params_growth = "5 %"
message = "the board's flash: ask the hardware team"

[[tool.archcalc.check]]
name = "teacher"
model = "resnet-20"
batch = 2
exact_params = 269722
output = "Bx10"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, its checks and their baseline; the current one."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "pyproject.toml").write_text(CHECKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert run("check", "--update-baseline").code == 0
    return tmp_path


def widen(project: Path, width: int = 80) -> None:
    (project / "net.py").write_text(NET.replace("width=64", f"width={width}"))


def rows(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    ran = run("check", *arguments, "--json")
    assert ran.code == code, ran.out + ran.err
    answer = json.loads(ran.out)
    jsonschema.validate(answer, SCHEMA)
    return {f"{row['check']} {row['key']} {row['what']}": row for row in answer["rows"]}


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(CHECKS.splitlines(), start=1) if line.startswith(text))


def test_all_budgets_hold(project: Path) -> None:
    found = rows()
    assert len(found) == 14
    assert {row["status"] for row in found.values()} == {"ok"}
    assert "0 failed, 14 passed" in run("check").out


def test_a_wider_layer_breaks_what_it_should(project: Path) -> None:
    """64 -> 80 kernels: 16·(32·9 + 1) and 16·10 parameters more, 2·32·32·16·32·9 and 2·16·10 MACs."""
    widen(project)
    found = rows(code=1)
    failed = {row["key"]: row for row in found.values() if row["status"] == "FAIL"}
    assert set(failed) == {
        "max_params", "exact_macs", "max_flops", "max_peak_memory", "max_params_bytes", "shapes", "max_params_growth",
    } | ({"max_train_memory"} & set(failed))  # fmt: skip
    assert failed["max_params"]["number"] == 20106 + 16 * 289 + 160
    assert failed["max_params"]["over"] == "over by 3,890"
    assert failed["exact_macs"]["number"] == 39519488 + 2 * 32 * 32 * 16 * 288 + 2 * 160
    assert failed["max_params_growth"]["value"] == "+23.8 %"
    assert failed["shapes"]["over"] == "80 where 64 is wanted"
    assert failed["max_params"]["line"] == line_of("max_params =")
    assert failed["max_params_growth"]["line"] == line_of("max_params_growth")
    out = run("check").out
    assert "net: params of 3 +4,624 · 7 +160" in out
    assert "the board's flash: ask the hardware team" in out
    assert "archcalc diff .archcalc/net.json net.py:make --input 2x3x32x32" in out
    assert run("check", "--only", "teacher").code == 0
    assert run("check", "--update-baseline").code == 0
    assert rows(code=1)["net max_params_growth params growth"]["status"] == "ok"


def test_letters_agree_through_the_file(project: Path) -> None:
    text = CHECKS.replace("batch = 2", "batch = 3")
    (project / "pyproject.toml").write_text(text)
    found = rows(code=1)
    assert found["teacher output output"]["over"].startswith("B is 3 here and 2 in line")


def test_warnings_do_not_stop_a_build(project: Path) -> None:
    (project / "pyproject.toml").write_text(CHECKS.replace('name = "net"', 'name = "net"\nlevel = "warn"'))
    widen(project)
    statuses = {row["status"] for row in rows().values()}
    assert statuses == {"ok", "WARN"}


def test_a_model_that_fails_is_told_apart_and_all_others_run(project: Path) -> None:
    text = CHECKS.replace('"net.py:make"', '"net.py:broken"')
    (project / "pyproject.toml").write_text(text)
    found = rows(code=3)
    assert found["net model model"]["status"] == "ERROR"
    assert "no net today" in found["net model model"]["over"]
    assert found["teacher exact_params params"]["status"] == "ok"


def test_ops_without_a_rule_are_a_failure_where_they_are_not_wanted(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[[tool.archcalc.check]]\nmodel = "net.py:Odd"\ninput = "4x4"\nno_uncounted_ops = true\n'
    )
    (row,) = rows(code=1).values()
    assert "linalg_inv" in row["over"]


def test_archcalc_toml_has_its_own_tables(project: Path) -> None:
    (project / "archcalc.toml").write_text('[[check]]\nmodel = "resnet-20"\nexact_params = 269722\n')
    assert list(rows()) == ["resnet-20 exact_params params"]
    assert len(rows("pyproject.toml")) == 14


def test_references_and_baselines_are_beside_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert {row["status"] for row in rows("../pyproject.toml").values()} == {"ok"}
    assert run("check", "../pyproject.toml", "--update-baseline").err.strip() == "wrote ../.archcalc/net.json"


def test_a_baseline_that_is_missing_is_a_failure_with_the_command(project: Path) -> None:
    (project / ".archcalc" / "net.json").unlink()
    found = rows(code=1)["net max_params_growth params growth"]
    assert found["value"] == "no baseline"
    assert "archcalc check --update-baseline" in found["over"]


# ---- formats for machines that build -------------------------------------------------------------


def test_github_annotations_stand_on_the_budgets_lines(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = project / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    widen(project)
    ran = run("check", "--format", "github")
    assert ran.code == 1
    errors = [line for line in ran.out.splitlines() if line.startswith("::error ")]
    assert 7 <= len(errors) <= 10
    line = line_of("max_params =")
    (one,) = [text for text in errors if f"line={line}," in text]
    assert one.startswith(f"::error file=pyproject.toml,line={line},title=archcalc params%3A net::")
    assert "%0A" in one
    assert "+23.8 %25" in ran.out
    text = summary.read_text()
    assert text.startswith("before\n### archcalc: ")
    assert text.count("\n| FAIL |") == len(errors)


def test_places_that_cannot_be_written_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "nowhere" / "summary.md"))
    ran = run("check", "-f", "github")
    assert ran.code == 2
    assert "cannot write" in ran.err
    (project / "pyproject.toml").write_text(CHECKS.replace(".archcalc/net.json", "net.py/net.json"))
    ran = run("check", "--update-baseline")
    assert ran.code == 2
    assert "cannot write" in ran.err


def test_two_formats_at_once_are_refused(project: Path) -> None:
    ran = run("check", "--json", "-f", "github")
    assert (ran.code, "two formats" in ran.err) == (2, True)


def test_at_most_ten_annotations_of_a_kind(project: Path) -> None:
    text = "".join(
        f'[[tool.archcalc.check]]\nname = "n{n}"\nmodel = "lstm-cell"\nmax_params = {n}\n\n' for n in range(13)
    )
    (project / "pyproject.toml").write_text(text)
    out = run("check", "-f", "github").out
    assert out.count("::error ") == 10
    assert "3 more of kind error" in out


def test_junit_and_sarif(project: Path) -> None:
    widen(project)
    junit = ET.fromstring(run("check", "-f", "junit").out)
    suites = {suite.get("name"): suite for suite in junit}
    assert set(suites) == {"net", "teacher"}
    failures = [case for case in suites["net"] if case.find("failure") is not None]
    assert str(len(failures)) == suites["net"].get("failures")
    assert suites["teacher"].get("failures") == "0"
    sarif = json.loads(run("check", "-f", "sarif").out)
    results = sarif["runs"][0]["results"]
    assert len(results) == len(failures)
    places = {result["locations"][0]["physicalLocation"]["region"]["startLine"] for result in results}
    assert line_of("max_params =") in places
    assert {result["ruleId"] for result in results} <= {r["id"] for r in sarif["runs"][0]["tool"]["driver"]["rules"]}
    file = project / "out.xml"
    assert run("check", "-f", "junit", "-o", str(file)).code == 1
    assert ET.fromstring(file.read_text()).tag == "testsuites"


# ---- what is written wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_parms = 3", "did you mean  max_params ?"),
        ('max_params = "many"', "is not a count"),
        ("max_params = true", "is not a whole number or text"),
        ("max_params = -5", "below nothing"),
        ('max_peak_memory = "3 furlongs"', "is not a size"),
        ('output = "2 by 10"', "is not a shape"),
        ("output = 10", "is not text"),
        ('shapes = "2x10"', "is not a table"),
        ('level = "fatal"', "choose one of  error, warn"),
        ("max_params_growth = 5", 'write  max_params_growth = "5 %"'),
        ('max_macs_growth = "5 %"', "needs a baseline"),
        ("batch = 2", "demands nothing"),
    ],
)
def test_a_wrong_key_or_value_names_its_line(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "archcalc.toml"
    file.write_text(f'# budgets\n[[check]]\nmodel = "lstm-cell"\n{line}\n')
    ran = run("check", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    if "demands" not in said:
        assert f"{file}:4: " in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[check]\n", "it is not TOML"),
        ("check = 3\n", "is not a list of tables"),
        ("", "it has no checks"),
        ("[[check]]\nmax_params = 3\n", "names no model"),
        ('[[check]]\nmodel = "a"\nmax_params = 3\n[[check]]\nmodel = "a"\nmax_params = 3\n', "two checks called a"),
    ],
)
def test_a_wrong_file_ends_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "archcalc.toml"
    file.write_text(text)
    ran = run("check", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_no_file_and_no_check_of_that_name(project: Path) -> None:
    ran = run("check", "--only", "nett")
    assert ran.code == 2
    assert "checks  net, teacher" in ran.err
    (project / "pyproject.toml").unlink()
    ran = run("check")
    assert ran.code == 2
    assert "archcalc init MODEL" in ran.err
    assert run("check", "nowhere.toml").code == 2


def test_every_key_is_documented() -> None:
    """docs/ci.md lists every key; those of figures as max_FIGURE and so on."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    for key in KEYS:
        names = {key, *(key.replace(figure, "FIGURE") for figure in BUDGETS if figure in key)}
        assert any(f"`{name}`" in page for name in names), key


# ---- init ----------------------------------------------------------------------------------------


def test_what_init_proposes_holds(project: Path) -> None:
    ran = run("init", "net.py:make", "resnet-20", "-i", "2x3x32x32")
    assert ran.code == 0, ran.err
    (project / "pyproject.toml").write_text(ran.out)
    assert {row["status"] for row in rows().values()} == {"ok"}
    own = project / "archcalc.toml"
    assert run("init", "lstm-cell", "--set", "hidden_size=32", "-o", str(own)).code == 0
    (check,) = parse(own.read_text(), "archcalc.toml")
    assert check.settings["set"] == {"hidden_size": 32}
    assert {row["status"] for row in rows().values()} == {"ok"}
    again = run("init", "lstm-cell", "-o", str(own))
    assert again.code == 2
    assert "exists already" in again.err


def test_bad_config_tells_the_place() -> None:
    with pytest.raises(BadConfig, match=r"pyproject\.toml:2"):
        parse('[[tool.archcalc.check]]\nmodle = "a"\n', "pyproject.toml")


# ---- the pytest plugin ---------------------------------------------------------------------------

TESTS = """
def test_shapes_and_budget(archcalc):
    report = archcalc("net.py:make", input="2x3x32x32")
    assert report.output_shape == (2, 10)
    assert report.params <= 21_000 and report.macs <= 40_000_000
    assert report.layers["3"].output_shape == (2, 64, 32, 32)


def test_the_same_as_before(archcalc_snapshot):
    archcalc_snapshot("net.py:make", input="2x3x32x32")
"""


def pytest_in(project: Path, *arguments: str) -> Ran:
    """Pytest in a process of its own, with the plugin by name where the package is not installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{project}"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=environment)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_plugin_says_what_happened(project: Path) -> None:
    (project / "test_net.py").write_text(TESTS)
    ran = pytest_in(project)
    assert ran.code == 1
    assert "write it with  pytest --archcalc-update" in ran.out
    assert pytest_in(project, "--archcalc-update").code == 0
    ran = pytest_in(project, "--archcalc")
    assert ran.code == 0, ran.out
    assert "4 passed" in ran.out
    widen(project)
    ran = pytest_in(project, "--archcalc")
    assert ran.code == 1
    assert "3 failed, 1 passed" in ran.out  # the teacher is as it was
    assert "Conv2d: 64 → 80" in ran.out
    assert "+4,624" in ran.out
    assert "FAIL  params" in ran.out
    assert "pyproject.toml::net" in ran.out


def test_the_plugin_imports_nothing_heavy(project: Path) -> None:
    (project / "test_light.py").write_text("import sys\n\ndef test_light():\n    assert 'torch' not in sys.modules\n")
    ran = pytest_in(project, "test_light.py")
    assert ran.code == 0, ran.out


def test_the_plugin_without_checks_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = pytest_in(tmp_path, "--archcalc")
    assert ran.code == 4
    assert "there are no checks" in ran.out + ran.err
