"""Random programs: networks made of stages of many kinds, against a real run on the CPU.

A failure names its seed and its plan; `ARCHCALC_SEEDS=17,23 pytest -n 0 tests/test_random_programs.py` runs those seeds
in all modes, and `one(stage, seed, *shape)` of `random_programs.program` is the plan of a single stage of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.analyses import conventions
from archcalc.ops.registry import macs_of
from archcalc.tracing import Call, Trace
from tests.random_programs.outcome import (
    MODES,
    NO_STEP,
    compared,
    differences,
    kernels_with_backward,
    measured,
    mode_of,
)
from tests.random_programs.products import Products
from tests.random_programs.program import Plan, Step, build, one, plan
from tests.random_programs.stage import STAGES

DEFAULT = range(30)
SWEEP = range(30, 430)
CHOSEN = [int(seed) for seed in os.environ.get("ARCHCALC_SEEDS", "").split(",") if seed]
"""Seeds that are run instead of the default ones, each in all modes."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One thread: on tensors of a few hundred elements more of them only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check(seed: int, *modes: str) -> None:
    """Fail with all that is needed to repeat a program whose figures are not the real ones."""
    program = plan(seed)
    refused = any(step.stage in NO_STEP for step in program.steps)
    for mode in ("train" if refused and mode == "step" else mode for mode in modes):
        try:
            found = differences(program, mode)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        steps = "\n".join(f"  one{(step.stage, step.seed, *step.shape)}" for step in program.steps)
        head = f"ARCHCALC_SEEDS={seed}, mode {mode}, a {program.form} as result{', scaled' if program.scaled else ''}"
        assert not found, "\n".join([head, steps, *found, repr(build(program))])


@pytest.mark.parametrize("seed", CHOSEN or DEFAULT)
def test_a_random_program(seed: int) -> None:
    """Shapes and dtypes of every stage, parameters, multiply-adds forward and backward, ops without a rule."""
    check(seed, *(MODES if CHOSEN else [mode_of(seed)]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SWEEP)
def test_many_random_programs(seed: int) -> None:
    """Each in all modes."""
    check(seed, *MODES)


def test_every_kind_of_stage_is_met() -> None:
    """The programs of the default seeds have all kinds between them."""
    assert {step.stage for seed in DEFAULT for step in plan(seed).steps} == set(STAGES)
    assert len(STAGES) >= 60


def test_a_seed_means_one_program() -> None:
    """Every build of a plan has the same parameters, and a plan is its own text."""
    first, second = build(plan(3)).state_dict(), build(plan(3)).state_dict()
    assert [(name, tuple(value.shape)) for name, value in first.items()] == [
        (name, tuple(value.shape)) for name, value in second.items()
    ]
    assert eval(repr(plan(3)), {"Plan": Plan, "Step": Step}) == plan(3)
    assert plan(3) != plan(4)


def products_of(function: Any, *shapes: tuple[int, ...]) -> int:
    """What the counter says of a function of real tensors."""
    counter = Products()
    with torch.no_grad(), counter:
        function(*(torch.randn(shape) for shape in shapes))
    return counter.macs


def step_products(module: nn.Module, *shapes: tuple[int, ...]) -> tuple[int, int]:
    """What the counter says of forward and of backward of a module; inputs need no gradient."""
    counter = Products()
    with kernels_with_backward(), counter:
        out = module(*(torch.randn(shape) for shape in shapes))
        forward = counter.macs
        (out[0] if isinstance(out, tuple) else out).sum().backward()
    return forward, counter.macs - forward


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


HAND: list[tuple[Any, tuple[tuple[int, ...], ...], int]] = [
    (nn.Linear(5, 7), ((2, 3, 5),), 2 * 3 * 5 * 7),
    (torch.matmul, ((4, 1, 2, 3), (5, 3, 6)), 4 * 5 * 2 * 3 * 6),
    (torch.matmul, ((3,), (2, 3, 4)), 2 * 3 * 4),
    (lambda a, b: torch.einsum("ij,kj->ik", a, b), ((2, 3), (4, 3)), 2 * 4 * 3),
    (lambda a, b: torch.einsum("ij,kj->", a, b), ((2, 3), (4, 3)), 3),  # torch sums over i and k before it multiplies
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), ((1, 4, 8, 8),), 6 * 4 * 4 * 2 * 9),
    (nn.Conv1d(2, 3, 3, dilation=2, padding="same"), ((1, 2, 10),), 3 * 10 * 2 * 3),
    (nn.Conv3d(1, 2, 2), ((1, 1, 3, 4, 5),), 2 * (2 * 3 * 4) * 8),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), ((1, 4, 5, 5),), 4 * 25 * 3 * 9),
    (nn.Bilinear(3, 4, 5), ((2, 3), (2, 4)), 2 * 5 * 3 * 4),
    (nn.LSTM(3, 5), ((7, 2, 3),), 7 * 2 * 4 * 5 * (3 + 5)),
    (nn.LSTM(3, 5, proj_size=2), ((7, 2, 3),), 7 * 2 * (4 * 5 * (3 + 2) + 5 * 2)),
    (nn.GRU(3, 5, 2, bidirectional=True), ((7, 2, 3),), 2 * 7 * 2 * 3 * 5 * ((3 + 5) + (10 + 5))),
    (nn.GRUCell(3, 5), ((2, 3),), 2 * 3 * 5 * (3 + 5)),
    (attention, ((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)), 2 * 4 * 5 * 7 * (8 + 6)),
    (lambda x: F.affine_grid(x, [2, 1, 4, 5], False), ((2, 2, 3),), 2 * 4 * 5 * 2 * 3),
    (lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), ((4, 4), (4, 3)), (0 + 1 + 2 + 3) * 3),
    (nn.BatchNorm2d(3), ((2, 3, 4, 4),), 0),
    (lambda x: x.cumsum(1).softmax(0) * x, ((2, 3),), 0),
]


@pytest.mark.parametrize(("function", "shapes", "macs"), HAND, ids=[f"{i}" for i in range(len(HAND))])
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_the_counter_by_hand(function: Any, shapes: tuple[tuple[int, ...], ...], macs: int) -> None:
    assert products_of(function, *shapes) == macs


def test_the_counter_of_fast_paths_by_hand() -> None:
    """Evaluation without gradients takes the fused layer: 4 tokens of width 6, hidden 10; batch 2."""
    layer = nn.TransformerEncoderLayer(6, 2, 10, batch_first=True).eval()
    matrices = 3 * 6 * 6 + 6 * 6 + 2 * 6 * 10
    assert products_of(layer, (2, 4, 6)) == 2 * 4 * matrices + 2 * 2 * 4 * 4 * 6
    attend = nn.MultiheadAttention(6, 2, batch_first=True).eval()
    macs = products_of(lambda x: attend(x, x, x, need_weights=False), (2, 4, 6))
    assert macs == 2 * 4 * 4 * 6 * 6 + 2 * 2 * 4 * 4 * 6


def test_the_counter_of_backward_by_hand() -> None:
    """Without a gradient of the input only the first layer's weight is differentiated, of later layers both."""
    chain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert step_products(chain, (3, 4)) == (3 * 4 * 8 + 3 * 8 * 2, 3 * 4 * 8 + 2 * 3 * 8 * 2)
    convs = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2))
    first, second = 4 * 16 * 2 * 9, 4 * 4 * 2 * 9
    assert step_products(convs, (1, 2, 6, 6)) == (first + second, first + 2 * second)


def test_the_counter_names_what_has_no_rule() -> None:
    counter = Products()
    with counter:
        torch.linalg.inv(torch.eye(3)) @ torch.ones(3, 2)
    assert (counter.macs, counter.no_rule) == (3 * 3 * 2, {"linalg_inv_ex"})


def test_a_wrong_formula_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: archcalc with a formula that counts one product more."""
    program = one("mlp", "0", 2, 4)
    assert differences(program, "step") == []

    def one_more(trace: Trace, call: Call) -> int | None:
        macs = macs_of(trace, call)
        return macs if macs is None else macs + 1

    monkeypatch.setattr(conventions, "macs_of", one_more)
    assert [line.partition(":")[0] for line in differences(program, "step")] == ["macs", "backward_macs"]


@pytest.mark.parametrize(
    "changed",
    [
        {"stages": {"stages.0": ((2, 5), "float32")}},
        {"outputs": [((2, 3), "float64")]},
        {"params": 0},
        {"trainable_params": 0},
        {"macs": 0},
        {"backward_macs": 0},
        {"uncounted": {"linalg_qr"}},
        {"kept_bytes": 0},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_difference_is_told(changed: dict[str, Any]) -> None:
    program = one("mlp", "0", 2, 4)
    real = measured(program, "step")
    assert compared(program, real, real) == []
    assert len(compared(program, real, replace(real, **changed))) == 1
