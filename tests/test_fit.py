"""memory --fit, --per-sample and --timeline: the largest batch, what to change, what a sample costs, and when."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc.studies.largest_batch import largest
from tests.helpers import ROOT, run, run_fresh, totals
from tests.test_cli import SCHEMA

LINES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**6)), min_size=1, max_size=6)


@given(lines=LINES, budget=st.integers(1, 2 * 10**9))
def test_the_largest_batch_is_the_largest(lines: list[tuple[int, int]], budget: int) -> None:
    """Peaks are the highest of several lines: B fits, B + 1 does not, and few batches are traced."""

    def peak_at(batch: int) -> int:
        return max(fixed + each * batch for fixed, each in lines)

    fit = largest(peak_at, budget)
    assert len(fit.peaks) < 40
    if not fit.batch:
        assert peak_at(1) > budget
    else:
        assert peak_at(fit.batch) <= budget < peak_at(fit.batch + 1) == fit.next_peak


def test_a_peak_that_does_not_grow_fits_any_batch() -> None:
    fit = largest(lambda batch: 5, 10)
    assert fit.next_peak is None
    assert largest(lambda batch: 11, 10).batch == 0


@pytest.mark.parametrize(
    "options",
    [
        ["resnet-20", "--train", "--fit", "64MiB"],
        ["resnet-20", "--fit", "20 MB"],
        ["lstm", "--train", "--optimizer", "sgd", "--fit", "3MiB"],
        ["resnet-18", "--train", "--fit", "1GiB", "--device", "cuda"],
    ],
)
def test_the_batch_that_fits_is_confirmed_by_traces(options: list[str]) -> None:
    ran = run("memory", *options, "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    fit, rest = answer["fit"], options[: options.index("--fit")] + options[options.index("--fit") + 2 :]
    assert answer["totals"]["peak_bytes"] <= fit["budget_bytes"] < fit["next_peak_bytes"]
    assert totals("memory", *rest, "--batch", str(fit["batch"]))["peak_bytes"] == answer["totals"]["peak_bytes"]
    assert totals("memory", *rest, "--batch", str(fit["batch"] + 1))["peak_bytes"] == fit["next_peak_bytes"]


def test_what_to_change_where_nothing_fits() -> None:
    ran = run("memory", "bert-base", "--train", "--set", "layers=2", "--fit", "200MiB", "--json", "--seq-len", "128")
    assert ran.code == 1
    answer = json.loads(ran.out)
    assert answer["fit"]["batch"] == 0
    changes = {one["change"]: one["peak_bytes"] for one in answer["fit"]["changes"]}
    peak = answer["totals"]["peak_bytes"]
    assert {"--dtype bfloat16", "--optimizer adafactor", "all of these"} <= set(changes)
    assert all(bytes_ < peak for bytes_ in changes.values())
    assert changes["all of these"] == min(changes.values())
    said = run("memory", "bert-base", "--train", "--set", "layers=2", "--fit", "200MiB", "--seq-len", "128")
    assert said.code == 1
    assert "does not fit: batch 1 needs" in said.out
    adafactor = totals(
        "memory",
        "bert-base",
        "--train",
        "--set",
        "layers=2",
        "--seq-len",
        "128",
        "--batch",
        "1",
        "--optimizer",
        "adafactor",
    )
    assert changes["--optimizer adafactor"] == adafactor["peak_bytes"]


POOLED = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8))
"""


def test_a_network_that_needs_two_samples_begins_with_two(tmp_path: Path) -> None:
    """Batch norm behind a global pool has one value a channel at batch 1, which training refuses."""
    file = tmp_path / "pooled.py"
    file.write_text(POOLED)
    options = ("memory", f"{file}:make", "-i", "1x8x4x4", "--train")
    assert run(*options).code == 3
    found = json.loads(run(*options, "--fit", "64KiB", "--json").out)["fit"]
    assert found["batch"] >= 2
    assert totals(*options, "--batch", str(found["batch"]))["peak_bytes"] <= 64 * 1024 < found["next_peak_bytes"]
    assert json.loads(run(*options, "--fit", "1KiB", "--json").out)["fit"]["batch"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fit", "plenty"], "write  --fit 24GiB"),
        (["--fit", "0GiB"], "write  --fit 24GiB"),
        (["--fit", "24"], "write  --fit 24GiB  (2^30 bytes each),  24GB  or  24B"),
        (["--fit", "-3GiB"], "write  --fit 24GiB"),
        (["--fit", "1GiB", "--batch", "4"], "leave one of them out"),
    ],
)
def test_wrong_budgets_end_in_a_sentence(options: list[str], said: str) -> None:
    ran = run("memory", "resnet-20", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_further_sample_is_the_difference_of_two_batches() -> None:
    answer = json.loads(run("memory", "resnet-20", "--train", "--batch", "4", "--per-sample", "--json").out)
    four, five = (totals("memory", "resnet-20", "--train", "--batch", batch) for batch in ("4", "5"))
    for key, grows in answer["per_sample"].items():
        assert grows == five[key] - four[key], key
    assert "a further sample" in run("memory", "resnet-20", "--batch", "4", "--per-sample").out


def test_what_has_no_batch_has_no_further_sample_and_no_fit(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Alone(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.fc = nn.Linear(2, 2)\n\n"
        "    def forward(self):\n        return self.fc.weight.sum()\n"
    )
    for option in (["--fit", "1MiB"], ["--per-sample"]):
        ran = run("memory", f"{tmp_path}/alone.py:Alone", "--train", *option)
        assert (ran.code, ran.out) == (2, "")
        assert "an input with a batch" in ran.err
    stored = tmp_path / "stored.json"
    stored.write_text(archcalc.trace("resnet-20").to_json())
    assert run("memory", str(stored), "--per-sample").code == 2


def test_the_moment_of_the_peak_is_in_the_timeline() -> None:
    answer = json.loads(run("memory", "resnet-20", "--train", "--batch", "4", "--json").out)
    moment = answer["timeline"][answer["peak"]["call"]]
    assert moment["live_bytes"] == answer["totals"]["peak_bytes"]
    assert (moment["op"], moment["path"]) == (answer["peak"]["op"], answer["peak"]["path"])


def test_the_timeline_is_the_peak_and_the_phases() -> None:
    ran = run("memory", "resnet-20", "--train", "--batch", "4", "--timeline", "-f", "csv")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(ran.out)))
    answer = json.loads(run("memory", "resnet-20", "--train", "--batch", "4", "--json").out)
    assert [int(row["live_bytes"]) for row in rows] == [row["live_bytes"] for row in answer["timeline"]]
    assert max(row["live_bytes"] for row in answer["timeline"]) == answer["totals"]["peak_bytes"]
    assert list(dict.fromkeys(row["phase"] for row in rows)) == ["forward", "loss", "backward", "optimizer"]
    peak = answer["peak"]
    assert {row["op"] for row in answer["timeline"] if row["live_bytes"] == answer["totals"]["peak_bytes"]} >= {
        peak["op"]
    }
    assert sum(one["bytes"] for one in answer["holders"]) == answer["totals"]["peak_bytes"]
    jsonschema.validate(answer, SCHEMA)
    shown = run("memory", "resnet-20", "--train", "--batch", "4", "--timeline").out
    assert "highest while this layer runs" in shown
    assert "100.0 %" in shown


LLAMA = """
import resource, sys
from archcalc import engine
from archcalc.analyses import Memory, Params, analyze
from archcalc.engine import Setup, Training
sys.path.insert(0, {root!r})
from tests.llama import Llama
from archcalc.engine.meta.empty_modules import without_data
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with without_data():
    net = Llama()
trace = engine.trace(net, Setup(dtype="bfloat16", training=Training("adamw", loss="cross-entropy"), device="cuda"),
                     ["int64:1x2048"])
totals = analyze(trace, (Params(), Memory())).totals
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(totals["params"], totals["params_bytes"], totals["optimizer_bytes"], totals["peak_bytes"], after - before)
"""


def test_a_llama_of_70_billion_parameters_gets_its_bill_here() -> None:
    """Llama-3-70B: 70,553,706,496 parameters in bfloat16, AdamW's two averages, within a gigabyte of memory."""
    ran = run_fresh(code=LLAMA.format(root=str(ROOT)))
    assert ran.code == 0, ran.err
    params, weights, optimizer, peak, grown = map(int, ran.out.split())
    assert params == 70_553_706_496
    assert weights == 2 * params  # each of them a multiple of 512 bytes
    assert optimizer == 2 * weights
    assert peak > 4 * weights  # weights, gradients, two averages
    assert grown < 1_000_000  # KiB


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("8M", "7.629 MiB (8,000,000 bytes): the largest batch"),  # 8,000,000 / 2^20 = 7.629
        ("8MiB", "8.000 MiB: the largest batch"),
        ("8000000B", "7.629 MiB (8,000,000 bytes): the largest batch"),
    ],
)
def test_decimal_and_binary_sizes_are_told_apart(size: str, said: str) -> None:
    ran = run("memory", "resnet-20", "--fit", size, "--depth", "0")
    assert said in ran.out
    assert "nothing of it is set aside for what is not counted" in ran.out


@pytest.mark.parametrize(
    ("model", "knobs"),
    [
        ("transformer", "--set src_len=64 --set tgt_len=64"),
        ("attention", "(heads, d_k, d_v, n, m): write  --set KNOB=VALUE"),
    ],
)
def test_a_length_that_is_a_knob_is_named(model: str, knobs: str) -> None:
    ran = run("memory", model, "--seq-len", "64")
    assert ran.code == 2
    assert "--seq-len does not apply" in ran.err
    assert knobs in ran.err
    assert "knobs" not in run("memory", "resnet-20", "--seq-len", "64").err
