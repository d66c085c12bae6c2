"""The memory bench measures what it says, draws by rule, and names the op whose bytes differ."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from archcalc.engine.setup import Training
from bench.memory_truth import Case, row
from bench.memory_truth.alignment import aligned
from bench.memory_truth.attribution import explained
from bench.memory_truth.case import OPERATORS, USERS
from bench.memory_truth.computed import computed
from bench.memory_truth.cuda import OnCuda, measured_on_cuda
from bench.memory_truth.drawn import case_of, smallest
from bench.memory_truth.events import Recording, recording_of
from bench.memory_truth.measured import mark, measured
from bench.memory_truth.page import page
from bench.memory_truth.processes import kept, rows_of
from bench.memory_truth.table import class_of, distribution
from bench.memory_truth.users import PROGRAMS


def recorded(program: Callable[[], object]) -> Recording:
    """The recording of a program between two marks."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        mark("begin")
        program()
        mark("end")
    return recording_of(profiler)


def peak_of(recording: Recording) -> int:
    """The highest sum of live bytes between the marks."""
    (_, start), (_, end) = recording.marks
    return recording.peak(start, end)[0]


def test_a_program_of_known_sizes_has_that_peak() -> None:
    """4·1000 bytes, then 4·2000 beside them; the first go before 4·500 come."""

    def program() -> None:
        a = torch.empty(1_000)
        b = torch.empty(2_000)
        del a
        c = torch.empty(500)
        del b, c

    recording = recorded(program)
    assert [block.bytes for block in recording.blocks] == [4_000, 8_000, 2_000]
    assert all(block.death is not None for block in recording.blocks)
    assert peak_of(recording) == 4_000 + 8_000


def test_a_temporary_inside_an_op_counts_and_belongs_to_it() -> None:
    """A product with an expanded number copies it: 4·64·64 bytes beside the result's, gone when mm returns."""
    x, ones = torch.ones(64, 64), torch.ones(()).expand(64, 64)
    recording = recorded(lambda: torch.mm(x, ones))
    (_, start), (_, end) = recording.marks
    (call,) = recording.calls({"mm"}, start, end)
    inside = [block for block in recording.blocks if call.start <= block.birth <= call.end]
    assert sorted(block.bytes for block in inside) == [16_384, 16_384]
    assert peak_of(recording) == 2 * 16_384
    assert [block.death <= call.end for block in inside].count(True) == 1


def test_the_recording_has_all_that_the_profiler_counted() -> None:
    """The sum of all events is the same in the list of events and in the tree."""
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        net(torch.ones(3, 8)).sum().backward()
    listed = [e.nbytes() for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    recording = recording_of(profiler)
    assert len(recording.blocks) == sum(size >= 0 for size in listed)
    alive = sum(block.bytes for block in recording.blocks if block.death is None)
    assert alive == sum(listed) == sum(p.grad.nbytes for p in net.parameters() if p.grad is not None)


EXACT = (
    Case("gradient reversal", 1, Training("adamw", frozen=("label",)), source=USERS),
    Case("in place", 1, Training("sgd"), source=USERS),
    Case("tied language model", 1, None, source=USERS),
    Case("MLP", 0, Training("adamw", accumulation=2)),
)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.key)
def test_the_peak_is_the_real_one(case: Case) -> None:
    """Mechanisms that no device changes: equal to the byte."""
    made = row(case)
    assert made["ours"] == made["truth"], made["why"]


@pytest.mark.parametrize("training", [Training("sgd", "mse"), None])
def test_on_a_gpu_each_step_has_its_own_highest_mark(
    training: Training | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an allocator that tells 1,000 bytes more at each question: 100 are there before, 1,000 and 2,000 then."""
    told = count(1_000, 1_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(told))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 5_000)
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    case = Case("gradient reversal", 1, training, amp="bf16", source=USERS)
    assert measured_on_cuda(case, device="cpu") == OnCuda(900, 1_900, 5_000)


def _dies(case: Case, device: str, sender: Any) -> None:
    os._exit(7)


def _sleeps(case: Case, device: str, sender: Any) -> None:
    time.sleep(60)


@pytest.mark.slow
@pytest.mark.parametrize(("work", "reason"), [(_dies, "its process ended with code 7"), (_sleeps, "not done in 3 s")])
def test_a_process_that_dies_or_hangs_is_a_row(work: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    case = Case("MLP", 0)
    (made,) = rows_of([case], path, work=work, seconds=3 if work is _sleeps else 120)
    assert (made["verdict"], made["reason"]) == ("not run", reason)
    assert kept(path) == {case.key: made}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance.*:FutureWarning")
@pytest.mark.parametrize("name", ["atan2", "cosh", "cumsum", "nn_functional_softplus"])
def test_the_peak_of_an_operator_is_the_real_one(name: str) -> None:
    """The largest sample of torch's database: equal to the byte, or off by numbers of Python of 8 bytes each."""
    made = row(Case(name, 1, Training("sgd"), source=OPERATORS))
    assert made["truth"] - made["ours"] in (0, 8, 16), made["why"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_the_modules_of_users_run_and_are_near(name: str) -> None:
    """Every one in float32 and a training step, where few kernels differ between devices: within 15 %."""
    made = row(Case(name, 2, Training("adam"), source=USERS))
    assert abs(made["error"]) < 15, made["why"]


def test_the_cause_names_the_op_whose_bytes_differ() -> None:
    """With 1,000 bytes more in every result of addmm, those are named, and they add up."""
    case = Case("MLP", 0, Training("sgd"))
    ours, real = computed(case), measured(case)
    assert explained(ours, real)["at_real_peak"] == []
    grown = tuple(
        replace(s, bytes=s.bytes + 1_000) if s.birth >= 0 and ours.trace.calls[s.birth].op == "aten.addmm" else s
        for s in ours.trace.storages
    )
    (entry,) = explained(replace(ours, trace=replace(ours.trace, storages=grown)), real)["at_real_peak"]
    blocks = entry["blocks"][0]
    assert entry["op"].removeprefix("inside ") == "addmm"
    assert blocks > 0
    assert entry["ours"] - entry["real"] == 1_000 * blocks


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.data())
def test_alignment_pairs_equal_names_in_order(names: list[str], data: st.DataObject) -> None:
    """Whatever is left out of one of them, the pairs rise and their names are equal; equal sequences pair wholly."""
    kept_names = [name for name in names if data.draw(st.booleans())]
    pairs = aligned(names, kept_names)
    assert all(names[i] == kept_names[j] for i, j in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))
    assert aligned(names, names) == [(n, n) for n in range(len(names))]


def test_cases_are_drawn_by_their_names_alone() -> None:
    """The order of a library's names does not matter, and no case is drawn twice."""
    names = [f"net{n}" for n in range(200)]
    assert smallest(names, 20) == smallest(names[::-1], 20)
    assert case_of(USERS, "mixer") == case_of(USERS, "mixer")
    keys = [case_of(source, name).key for source in (USERS, OPERATORS) for name in PROGRAMS]
    assert len(keys) == len(set(keys)) >= 2 * 40


def test_every_mode_is_drawn() -> None:
    """Among many names each precision, batch, optimizer and special setting occurs."""
    cases = [case_of("timm", f"net{n}") for n in range(400)]
    modes = {mode for case in cases for mode in case.modes}
    assert modes == {
        *("forward", "training", "float32", "bfloat16", "autocast bf16", "channels last", "frozen parts"),
        *("accumulation", "batch 1"),
    }
    assert {case.batch for case in cases} == {1, 2, 4}
    assert len({case.training.optimizer for case in cases if case.training}) == 6


@pytest.mark.parametrize(
    ("ours", "expected"), [(1_000, "exact"), (1_001, "≤ 0.1 %"), (990, "≤ 1 %"), (1_030, "≤ 3 %"), (969, "more")]
)
def test_classes_of_errors(ours: int, expected: str) -> None:
    compared = {"verdict": "compared", "ours": ours, "truth": 1_000, "error": (ours - 1_000) / 10}
    assert class_of(compared) == expected
    table = distribution([{**compared, "source": USERS, "modes": ["forward"]}, {"verdict": "not run"}])
    assert table[2].startswith("| all | 1 |")


def test_the_last_row_of_a_case_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"key": "a", "ours": 1}\n{"key": "b", "ours": 2}\n{"key": "a", "ours": 3}\n')
    assert {key: made["ours"] for key, made in kept(path).items()} == {"a": 3, "b": 2}


def plain_row(case: Case, ours: int, truth: int, **more: Any) -> dict[str, Any]:
    """A row as a process sends it."""
    error = 100 * (ours - truth) / truth
    sizes = {"ours": ours, "truth": truth, "error": error, "machine": "torch 2, a processor, 2 threads"}
    return {**case.described(), "verdict": "compared", **sizes, **more}


def test_the_page_counts_and_explains() -> None:
    """One case of three is equal; the one that is 20 % off has its cause; the one that did not run has its reason."""
    entry = {"op": "inside mm", "ours": 0, "real": 200, "blocks": [0, 1]}
    why = {"elsewhere": 0, "at_real_peak": [entry], "real_peak": "mm", "our_peak": "mm (backward, call 3)"}
    cases = [Case(name, 2, None, source=USERS) for name in ("mixer", "unet", "siamese")]
    rows = [
        plain_row(cases[0], 1_000, 1_000, why=why),
        plain_row(cases[1], 800, 1_000, why=why),
        cases[2].described() | {"verdict": "not run", "reason": "it raised"},
    ]
    text = page(rows, "cpu")
    assert "Of 2 cases 1 are equal to the byte, 1 within 0.1 % and 1 within 1 %" in text
    assert "Measured with torch 2, a processor, 2 threads." in text
    assert "| unet (batch 2, forward) | -20.000 % | inside `mm` 0 for 200; the peak is in `mm` |" in text
    assert "| mixer | batch 2 | forward | 1,000 | 1,000 | = |" in text
    assert f"* {cases[2].key}: not run, it raised" in text
    assert "| mixer (" not in text  # it is exact: there is nothing to explain
