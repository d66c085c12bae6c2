"""`archcalc verify`: every figure of the catalogue holds against others, and differences have computed reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc import engine
from archcalc.analyses import Flops, Params, analyze
from archcalc.engine import Setup
from archcalc.networks import catalogue
from archcalc.studies.verify.reasons import against_counter, against_printed, against_report
from archcalc.studies.verify.verify import verified
from archcalc.tracing import Counted
from bench.models import torchvision_ops
from tests.helpers import report, run
from tests.regenerate import all_networks

pytestmark = pytest.mark.usefixtures("shared_traces")
SETUP = Setup()
NETWORKS = all_networks()
DEFAULTS = {family.default for family in catalogue.families()}
QUICK = {name for name, entry in catalogue.entries().items() if name in DEFAULTS or (entry.macs or 0) < 1e9}
"""The others are  pytest -m slow: fvcore runs their convolutions on real data.

Published figures and torch's counter are compared for every network by test_published and test_counters.
"""


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_nothing_in_the_catalogue_is_unexplained(name: str) -> None:
    """Both counters run on every network; no published figure and no counter differs without a reason."""
    found = verified(name, SETUP)
    made, checks = found.report, found.checks
    assert not [check for check in checks if check.verdict == "unexplained"]
    assert not [check for check in checks if check.verdict == "not run" and ":" not in check.by]
    counters = [check for check in checks if check.by.startswith(("torch FlopCounterMode", "fvcore"))]
    assert len(counters) == 2
    assert counters[0].value == made.macs
    printed = [check for check in checks if check.printed]
    assert len(printed) == len(NETWORKS[name].published)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.same_as])
@pytest.mark.filterwarnings("ignore")
def test_implementations_elsewhere_have_the_same_figures(name: str) -> None:
    torchvision_ops()
    library = NETWORKS[name].same_as.partition(":")[0]
    pytest.importorskip({"hf": "transformers"}.get(library, library))
    checks = [check for check in verified(name, SETUP).checks if check.by == NETWORKS[name].same_as]
    assert [check.verdict for check in checks] == ["equal", "equal"]


class Odd(nn.Module):
    """A convolution, a batch norm, attention in one op, and a matrix times a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Any) -> Any:
        y = self.norm(self.conv(x)).flatten(2)  # N, 8, HW
        y = nn.functional.scaled_dot_product_attention(y, y, y)
        return y[0] @ y[0, 0]


def test_reasons_come_from_the_ops() -> None:
    """8·8·HW twice for attention, and 8·HW for the vector: what fvcore and torch have no rule for, by the last MAC."""
    trace = archcalc.trace(Odd(), (1, 3, 4, 4))
    made = analyze(trace, (Params(), Flops()))
    attention, vector = 2 * 8 * 8 * 16, 8 * 16
    assert made.macs == 3 * 8 * 16 + attention + vector
    theirs = {"conv": {"conv": 3 * 8 * 16}, "norm": {"batch_norm": 2 * 8 * 16}}
    check = against_counter(made, Counted("another", theirs, ("scaled_dot_product_attention", "mv")))
    assert check.verdict == "explained"
    assert check.reasons == (
        "counts batch_norm: +256",
        "misses products in Odd: -2.176 k (no rule for mv, scaled_dot_product_attention)",
    )
    blind = against_counter(made, Counted("another", theirs, ()))
    assert blind.verdict == "unexplained"
    more = against_counter(made, Counted("another", {"conv": {"conv": made.macs + 1}}, ("mv",)))
    assert more.verdict == "unexplained"
    assert "counts more products in Odd, Conv2d: +1" in more.reasons[0]
    failed = against_counter(made, Counted("another", {}, (), "it cannot"))
    assert failed.verdict == "not run"


ODD = """
from torch import nn


class Vector(nn.Module):
    def forward(self, x, y):
        return x @ y


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0])
"""


def test_the_counters_themselves_on_the_same_model(tmp_path: Path) -> None:
    """Torch has no formula for a matrix times a vector, fvcore none for an LSTM: both say so themselves."""
    (tmp_path / "odd.py").write_text(ODD)
    found = verified(f"{tmp_path}/odd.py:Vector", Setup(inputs=("5x8", "8")))
    made, checks = found.report, found.checks
    assert made.macs == 5 * 8
    assert checks[0].value == 0
    assert checks[0].reasons == ("misses products in Vector: -40 (no rule for mv)",)
    found = verified(f"{tmp_path}/odd.py:Recurrent", Setup(inputs=("1x3x8",)))
    made, checks = found.report, found.checks
    gates = 3 * 4 * 4 * (8 + 4)  # steps, gates, H, I + H
    assert made.macs == gates + 3 * 4 * 2
    assert [check.verdict for check in checks] == ["equal", "explained"]
    assert checks[1].value == 3 * 4 * 2
    assert checks[1].reasons == (f"misses products in LSTM: -{gates} (no rule for lstm)",)


@pytest.mark.parametrize(
    ("figure", "printed", "reason"),
    [
        ("macs", "1.81G", ""),
        ("macs", "3.628G", "in FLOPs, 2 x MACs"),
        ("macs", "1.81356G", "convolutions only"),
        ("macs", "1.819G", "with 2 an element in batch norm"),
        ("params", "11.6M", "cut, not rounded"),
        ("params", "11.6991M", "with buffers"),
        ("params", "11.6799M", "without normalisation"),
        ("params", "11.17651M", "without fc"),
        ("macs", "9.99G", "no reason"),
    ],
)
def test_readings_of_a_printed_number(figure: str, printed: str, reason: str) -> None:
    check = against_printed(report("resnet-18"), figure, printed, "somebody", "")
    if reason == "no reason":
        assert check.verdict == "unexplained"
    else:
        assert check.agrees == (not reason)
        assert reason in "".join(check.reasons)
    assert against_printed(report("resnet-18"), figure, "1", "somebody", "a misprint").reasons == ("a misprint",)


def test_another_implementation_that_differs_is_told_by_its_kinds() -> None:
    params, macs = against_report(report("resnet-18"), report("resnet-34"))
    assert params.verdict == macs.verdict == "unexplained"
    assert params.reasons[0] == "Conv2d +10.10 M"  # 21,267,648 - 11,166,912
    assert macs.reasons == ("convolution +1.850 G",)
    assert [one.verdict for one in against_report(report("resnet-18"), report("resnet-18"))] == ["equal"] * 2


def test_the_command_gives_rows_and_totals() -> None:
    ran = run("verify", "resnet-20", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    totals = document["totals"]
    assert totals["checks"] == len(document["rows"]) == totals["equal"] + totals["explained"]
    assert {row["figure"] for row in document["rows"]} == {"params", "macs"}


def test_an_unexplained_difference_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(name: str, setup: Setup) -> tuple[Counted, ...]:
        return (Counted("a counter gone wrong", {"": {"mm": 7}}, ()),)

    monkeypatch.setattr(engine, "other_counts", wrong)
    ran = run("verify", "resnet-20")
    assert ran.code == 1
    assert "1 unexplained" in ran.out


def test_a_stored_trace_cannot_be_counted_by_others(tmp_path: Path) -> None:
    stored = tmp_path / "trace.json"
    stored.write_text(archcalc.trace("resnet-20").to_json())
    ran = run("verify", str(stored))
    assert ran.code == 2
    assert "name the model" in ran.err


def test_counters_leave_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    engine.other_counts("resnet-20", SETUP)
    assert torch.equal(before, torch.get_rng_state())
