"""A package outside the project adds a network and the formulas of its ops: the documented example, installed."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, Ran, run_fresh

EXAMPLE = ROOT / "docs" / "examples" / "plugin"
NEEDED = ("pip", "hatchling")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed by pip."""
    for tool in NEEDED:
        if tool not in {found.name for found in importlib.metadata.distributions()}:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), str(EXAMPLE)], check=True, timeout=120)
    return folder


def archcalc(site: Path, *arguments: str) -> Ran:
    return run_fresh(*arguments, PYTHONPATH=f"{ROOT}:{site}")


def test_the_network_answers_by_its_name(site: Path) -> None:
    ran = archcalc(site, "params", "Pocket_Net", "--set", "width=32", "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert answer["totals"]["params"] == (3 * 3 * 3 * 32 + 32) + 4 * 8 * 8 + (32 * 10 + 10)
    assert answer["notes"] == ["pocket-net comes with the package pocketnet"]


def test_the_ops_are_counted_by_its_formulas(site: Path) -> None:
    """Convolution 3·9·64·16², grouped matrix 4·16·16, classifier 64·10; the squared ReLU does 2 an element."""
    answer = json.loads(archcalc(site, "flops", "pocket-net", "--json", "--strict").out)
    totals = answer["totals"]
    assert totals["macs"] == 3 * 9 * 64 * 256 + 4 * 16 * 16 + 64 * 10
    assert totals["uncounted"] == []
    own = next(row for row in answer["rows"] if row["path"] == "")
    assert own["macs"] == 4 * 16 * 16
    assert own["elementwise_flops"] == 64 * 256 + 2 * 64  # the mean, the squared ReLU


def test_other_counters_do_not_know_the_op(site: Path) -> None:
    ran = archcalc(site, "verify", "pocket-net")
    assert ran.code == 0, ran.err
    assert ran.out.count("misses products in PocketNet: -1.024 k (no rule for grouped_linear)") == 2


def test_the_catalogue_lists_it_without_torch(site: Path) -> None:
    ran = archcalc(site, "list", "pocket*")
    assert "pocket-net" in ran.out
    code = "import sys; from archcalc.cli import main; main(['list', 'pocket*']); assert 'torch' not in sys.modules"
    assert run_fresh(code=code, PYTHONPATH=f"{ROOT}:{site}").code == 0
    assert "did you mean  pocket-net " in archcalc(site, "params", "poket-net").err


def test_the_formulas_need_no_torch(site: Path) -> None:
    code = "import sys, pocketnet.formulas; assert 'torch' not in sys.modules"
    assert run_fresh(code=code, PYTHONPATH=f"{ROOT}:{site}").code == 0


def test_the_page_shows_the_example_and_its_answers(site: Path) -> None:
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    assert archcalc(site, "flops", "pocket-net").out.strip() in page, "copy the output to docs/extend.md"
    assert archcalc(site, "list", "pocket*").out.strip() in page, "copy the output to docs/extend.md"
    for file in ("pyproject.toml", "pocketnet/formulas.py", "pocketnet/ops.py"):
        assert (EXAMPLE / file).read_text(encoding="utf-8").strip() in page, f"docs/extend.md shows another {file}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise OSError('no disk')", "raised OSError: no disk"),
        ("NET = 3", "is not one"),
        ("", "raised AttributeError"),
    ],
)
def test_a_package_that_fails_is_named(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archcalc.networks]\nbroken-net = broken:NET\nresnet-18 = broken:NET\n")
    ran = archcalc(tmp_path, "params", "broken-net")
    assert ran.code == 3
    assert said in ran.err
    assert "broken" in ran.err
    assert archcalc(tmp_path, "params", "resnet-18").code == 0  # a name of the catalogue's own stays its own


def test_formulas_that_fail_are_named(site: Path, tmp_path: Path) -> None:
    info = tmp_path / "spoiler-1.0.dist-info"
    info.mkdir()
    (tmp_path / "spoiler.py").write_text("raise OSError('no disk')")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spoiler\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archcalc.formulas]\npocketnet = spoiler\n")
    ran = run_fresh("flops", "pocket-net", PYTHONPATH=f"{ROOT}:{tmp_path}:{site}")
    assert ran.code == 3
    assert "the formulas for pocketnet (spoiler) raised OSError: no disk" in ran.err
