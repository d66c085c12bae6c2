"""memory --fit, --per-sample and --timeline: the largest batch, what to change, what a sample costs, and when."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archcalc
from archcalc import engine
from archcalc.studies.batch_search import FURTHER, largest
from archcalc.studies.budget import parse_budget
from archcalc.studies.observer import Observer
from tests.helpers import ROOT, run, run_fresh, totals
from tests.test_cli import SCHEMA

pytestmark = pytest.mark.usefixtures("shared_traces")

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


def kernels(regimes: list[tuple[int, int, int]]) -> Callable[[int], int]:
    """Peaks of kernels that change with the batch: from each batch on, the last of (from, fixed bytes, bytes each)."""

    def peak_at(batch: int) -> int:
        _, fixed, each = [regime for regime in sorted(regimes) if regime[0] <= batch][-1]
        return fixed + each * batch

    return peak_at


@given(
    first=st.tuples(st.just(1), st.integers(0, 10**9), st.integers(1, 10**6)),
    others=st.lists(st.tuples(st.integers(2, 5000), st.integers(0, 10**9), st.integers(1, 10**6)), max_size=6),
    budget=st.integers(1, 2 * 10**9),
)
def test_peaks_that_fall_keep_the_promise(first: Any, others: list[Any], budget: int) -> None:
    """B fits and B + 1 does not, and both were traced; none is found only where several do not fit."""
    peak_at = kernels([first, *others])
    fit = largest(peak_at, budget)
    assert all(peak_at(batch) == peak for batch, peak in fit.peaks.items())
    assert len(fit.peaks) < 60
    if fit.batch:
        assert fit.peaks[fit.batch] <= budget
        assert fit.next_peak is not None
        assert peak_at(fit.batch + 1) == fit.next_peak > budget
    else:
        assert set(fit.peaks) == {1, *(1 + more for more in FURTHER)}
    below = [batch for batch in sorted(fit.peaks) if batch < fit.batch or not fit.batch]
    assert fit.too_large == [batch for batch in below if peak_at(batch) > budget]


def test_a_smallest_batch_that_alone_is_too_large_does_not_hide_the_others() -> None:
    fit = largest(kernels([(1, 5000, 1), (2, 0, 100)]), 1000)
    assert (fit.batch, fit.next_peak, fit.too_large) == (10, 1100, [1])
    nothing = largest(kernels([(1, 5000, 1), (100, 0, 1)]), 1000)  # beyond what is tried
    assert (nothing.batch, nothing.next_peak, nothing.too_large) == (0, None, [1, 2, 4, 8])


FALLING = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 64, bias=False)

    def forward(self, x):
        return self.fc(x.repeat(1000, 1)) if x.shape[0] == 1 else self.fc(x)
"""


def test_a_model_that_needs_more_at_batch_1_is_told_so(tmp_path: Path) -> None:
    """Batch 1: 16,384 bytes of weights, 256 of input, 256,000 each of its copies and of the output."""
    (tmp_path / "falling.py").write_text(FALLING)
    options = ("memory", f"{tmp_path}/falling.py:Net", "-i", "1x64", "--fit", "64KiB")
    fit = json.loads(run(*options, "--json").out)["fit"]
    assert {"batch": 1, "peak_bytes": 16_384 + 256 + 2 * 256_000} in fit["traced"]
    assert fit["batch"] == (65_536 - 16_384) // 512  # 256 bytes in and 256 out
    assert "smaller batches that do not fit, since other kernels run: 1 (516.2 KiB)" in run(*options).out


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
    ran = run("memory", *options, "--no-changes", "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    fit, rest = answer["fit"], options[: options.index("--fit")] + options[options.index("--fit") + 2 :]
    assert answer["totals"]["peak_bytes"] <= fit["budget_bytes"] < fit["next_peak_bytes"]
    assert totals("memory", *rest, "--batch", str(fit["batch"]))["peak_bytes"] == answer["totals"]["peak_bytes"]
    assert totals("memory", *rest, "--batch", str(fit["batch"] + 1))["peak_bytes"] == fit["next_peak_bytes"]


BLOCKS = """
from torch import nn

def make():
    return nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(4)))
"""


@pytest.fixture
def blocks(tmp_path: Path) -> list[str]:
    """The command for a training step of four numbered blocks."""
    (tmp_path / "blocks.py").write_text(BLOCKS)
    return ["memory", f"{tmp_path}/blocks.py:make", "-i", "4x64", "--train"]


def test_what_to_change_where_nothing_fits(blocks: list[str]) -> None:
    ran = run(*blocks, "--fit", "400KiB", "--json")
    assert ran.code == 1
    answer = json.loads(ran.out)
    assert (answer["fit"]["batch"], answer["fit"]["fits"]) == (0, False)
    assert answer["changes"] == answer["fit"]["changes"]
    peak, changes = answer["totals"]["peak_bytes"], {row["change"]: row for row in answer["changes"]}
    assert {"--dtype bfloat16", "--amp bf16", "--optimizer adafactor"} <= set(changes)
    assert all(row["frees_bytes"] == peak - row["peak_bytes"] for row in answer["changes"])
    together = answer["changes"][-1]
    assert together["change"].startswith("all of these but --amp bf16")
    assert together["peak_bytes"] == min(row["peak_bytes"] for row in answer["changes"])
    assert answer["fit"]["verdict"].startswith("nothing fits within 400.0 KiB: batch 1 needs ")
    assert answer["fit"]["verdict"].endswith("too much (nor 2, 4 or 8)")


def test_every_change_is_what_its_options_lead_to(blocks: list[str]) -> None:
    """Each row's options are typed: the peak is that row's, the batch of 256 being 2 batches of 128."""
    answer = json.loads(run(*blocks, "--batch", "256", "--json").out)
    changes = [row["change"] for row in answer["changes"]]
    assert changes[:5] == [
        "--dtype bfloat16",
        "--amp bf16",
        "--checkpoint '*'",
        "--optimizer adafactor",
        "--batch 128 --grad-accumulation 2",
    ]
    assert len(changes) == 6
    for row in answer["changes"]:
        batch = [] if "--batch" in row["options"] else ["--batch", "256"]
        peak = totals(*blocks, *batch, *shlex.split(row["options"]))["peak_bytes"]
        assert peak == row["peak_bytes"], row["change"]


def test_the_table_of_changes_can_be_left_out_and_csv_has_none(
    blocks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[Any] = []
    own = engine.trace
    monkeypatch.setattr(engine, "trace", lambda *args, **kwargs: traced.append(args) or own(*args, **kwargs))
    assert "with this change" not in run(*blocks, "--no-changes").out
    assert "changes" not in json.loads(run(*blocks, "--no-changes", "--json").out)
    assert run(*blocks, "-f", "csv").code == 0
    assert len(traced) == 3
    ran = run("memory", "resnet-20", "--no-changes")
    assert (ran.code, ran.out) == (2, "")
    assert "add  --train" in ran.err


def test_each_trace_of_a_change_is_told() -> None:
    told: list[int] = []

    class Ear(Observer):
        def expect(self, parts: int) -> None:
            told.append(parts)

        def advance(self) -> None:
            told.append(0)

    fitted = archcalc.largest_batch(nn.Linear(64, 64), "1GiB", (512, 64), train=True, batch=512)
    rows = fitted.traced_changes(Ear())
    assert told == [len(rows), *([0] * len(rows))]
    assert [row.bytes for row in fitted.changes] == [row.bytes for row in rows]
    assert any("accumulation" in row.change for row in rows)


def test_a_batch_of_a_large_prime_is_not_split() -> None:
    fitted = archcalc.largest_batch(nn.Linear(64, 64), "1GiB", (11, 64), train=True, batch=11)
    assert not any("accumulation" in row.change for row in fitted.changes)


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
    found = json.loads(run(*options, "--fit", "64KiB", "--no-changes", "--json").out)["fit"]
    assert found["batch"] >= 2
    assert totals(*options, "--batch", str(found["batch"]))["peak_bytes"] <= 64 * 1024 < found["next_peak_bytes"]
    assert json.loads(run(*options, "--fit", "1KiB", "--no-changes", "--json").out)["fit"]["batch"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fit", "plenty"], "write  --fit 24GiB"),
        (["--fit", "0GiB"], "write  --fit 24GiB"),
        (["--fit", "24"], "write  --fit 24GiB  (2^30 bytes each),  24GB  or  24B"),
        (["--fit", "-3GiB"], "write  --fit 24GiB"),
        (["--fit", "4090"], "or a device  --fit rtx4090"),
        (["--fit", "a100"], "choose one of  a100-80g  a100-40g  a100-pcie-80g  a100-pcie-40g"),
        (["--fit", "rtx4091"], "did you mean  rtx4090"),
        (["--fit", "rtx4090", "--device", "cpu"], "leave --device out, or give a size:  --fit 23.99GiB"),
        (["--fit", "mi300x", "--device", "cuda"], "leave --device out, or give a size:  --fit 192.0GiB"),
        (["--fit", "xeon-8380"], "give a size:  --fit 64GiB"),
        (["--fit", "1GiB", "--reserve", "5"], "write  --reserve 5GiB"),
        (["--fit", "1GiB", "--reserve", "some"], "write  --reserve 2GiB  or  --reserve 5%"),
        (["--fit", "1GiB", "--reserve", "100%"], "leaves nothing of 1.000 GiB"),
        (["--reserve", "5%"], "add  --fit 24GiB"),
        (["--fit", ""], "--fit is followed by an empty text."),
        (["--fit", "1GiB", "--reserve", ""], "--reserve is followed by an empty text."),
    ],
)
def test_wrong_budgets_end_in_a_sentence(options: list[str], said: str) -> None:
    ran = run("memory", "resnet-20", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_further_sample_is_the_difference_of_two_batches() -> None:
    options = ("memory", "resnet-20", "--train", "--batch", "4", "--per-sample", "--no-changes")
    answer = json.loads(run(*options, "--json").out)
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
    for option in (["--fit", "1MiB"], ["--per-sample", "--no-changes"]):
        ran = run("memory", f"{tmp_path}/alone.py:Alone", "--train", *option)
        assert (ran.code, ran.out) == (2, "")
        assert "an input with a batch" in ran.err
    stored = tmp_path / "stored.json"
    stored.write_text(archcalc.trace("resnet-20").to_json())
    assert run("memory", str(stored), "--per-sample").code == 2


def test_the_moment_of_the_peak_is_in_the_timeline() -> None:
    answer = json.loads(run("memory", "resnet-20", "--train", "--batch", "4", "--no-changes", "--json").out)
    moment = answer["timeline"][answer["peak"]["call"]]
    assert moment["live_bytes"] == answer["totals"]["peak_bytes"]
    assert (moment["op"], moment["path"]) == (answer["peak"]["op"], answer["peak"]["path"])


def test_the_timeline_is_the_peak_and_the_phases() -> None:
    ran = run("memory", "resnet-20", "--train", "--batch", "4", "--timeline", "-f", "csv")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(ran.out)))
    answer = json.loads(run("memory", "resnet-20", "--train", "--batch", "4", "--no-changes", "--json").out)
    assert [int(row["live_bytes"]) for row in rows] == [row["live_bytes"] for row in answer["timeline"]]
    assert max(row["live_bytes"] for row in answer["timeline"]) == answer["totals"]["peak_bytes"]
    assert list(dict.fromkeys(row["phase"] for row in rows)) == ["forward", "loss", "backward", "optimizer"]
    peak = answer["peak"]
    assert {row["op"] for row in answer["timeline"] if row["live_bytes"] == answer["totals"]["peak_bytes"]} >= {
        peak["op"]
    }
    assert sum(one["bytes"] for one in answer["holders"]) == answer["totals"]["peak_bytes"]
    jsonschema.validate(answer, SCHEMA)
    shown = run("memory", "resnet-20", "--train", "--batch", "4", "--timeline", "--no-changes").out
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
        ("8M", "budget: 8M is decimal: 8,000,000 bytes, 7.629 MiB (8MiB would be 8,388,608)"),  # 8·2^20 = 8,388,608
        ("8MiB", "budget: 8MiB is binary: 8,388,608 bytes (8MB would be 8,000,000)"),
        ("8000k", "budget: 8000k is decimal: 8,000,000 bytes, 7.629 MiB (8000KiB would be 8,192,000)"),
        ("8000000B", "budget: 8,000,000 bytes, 7.629 MiB; nothing of it is set aside"),
        ("8MiB --reserve 25%", "2.000 MiB (25%) of it is set aside, which leaves 6.000 MiB"),
        ("8MiB --reserve 2MiB", "2.000 MiB of it is set aside, which leaves 6.000 MiB"),
    ],
)
def test_decimal_and_binary_sizes_are_told_apart(size: str, said: str) -> None:
    ran = run("memory", "resnet-20", "--depth", "0", "--batch", "4", "--fit", *size.split())
    assert said in ran.out
    assert ran.out.startswith("batch 4 fits within ")


def test_a_device_gives_capacity_and_reserve() -> None:
    """24,564 MiB less 1 GiB and 5 % of them: 24,564·2^20 = 25,757,220,864; ·0.05 = 1,287,861,043."""
    budget = parse_budget("RTX_4090")
    assert budget.capacity == 25_757_220_864
    assert budget.reserved == 1_073_741_824 + 1_287_861_043
    assert budget.bytes == 23_395_617_997
    assert parse_budget("rtx4090", "0").bytes == 25_757_220_864
    assert parse_budget("rtx4090", "10%").reserved == 2_575_722_086
    assert parse_budget("mi300x").bytes == 192 * 2**30
    assert parse_budget("24GiB").bytes == 24 * 2**30


def test_whether_a_batch_fits_a_device(blocks: list[str]) -> None:
    on_cuda = totals(*blocks, "--batch", "8", "--device", "cuda")["peak_bytes"]
    options = [*blocks, "--fit", "rtx4090", "--batch", "8", "--no-changes"]
    ran = run(*options)
    assert ran.code == 0
    assert ran.out.startswith("batch 8 fits on an NVIDIA RTX 4090: ")
    assert "24,564 MiB as nvidia-smi prints (sold as 24 GB), less 2.199 GiB in reserve (1.000 GiB" in ran.out
    assert "--fit rtx4090 implies --device cuda" in ran.out
    answer = json.loads(run(*options, "--json").out)
    jsonschema.validate(answer, SCHEMA)
    assert answer["assumptions"]["device"] == "cuda"
    assert answer["totals"]["peak_bytes"] == on_cuda
    assert answer["fit"]["traced"] == [{"batch": 8, "peak_bytes": on_cuda}]
    assert (answer["fit"]["device"], answer["fit"]["asked_batch"]) == ("NVIDIA RTX 4090", 8)
    assert answer["fit"]["budget_bytes"] + answer["fit"]["reserve_bytes"] == answer["fit"]["capacity_bytes"]


def test_a_batch_that_does_not_fit_is_a_no() -> None:
    ran = run("memory", "resnet-20", "--fit", "20MiB", "--batch", "64", "--no-changes")
    assert ran.code == 1
    assert ran.out.startswith("batch 64 does not fit within 20.00 MiB: it needs ")


def test_a_device_without_kernels_gets_the_bill_of_tensors() -> None:
    ran = run("memory", "resnet-20", "--fit", "stm32f746", "--depth", "0", "--batch", "4")
    assert ran.code == 1  # 1.029 MiB of weights in 320 KiB
    assert "--dtype bfloat16   1.166 MiB   1.166 MiB   too large" in ran.out
    assert "the model's tensors alone: archcalc has no kernels of ARM Cortex-M7" in ran.out
    assert "320.0 KiB, recalled and not read in a source" in ran.out
    shared = run("memory", "resnet-20", "--fit", "m1", "--batch", "1", "--depth", "0").out
    assert shared.startswith("batch 1 fits on an Apple M1: ")
    assert "its memory is shared with the system and other programs" in shared


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
