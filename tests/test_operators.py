"""PyTorch's own operator database: shapes and dtypes of every operator, refused errors, training steps.

The default run takes one float32 sample and all error inputs of every operator, and a training step of every eighth.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from bench import operators
from bench.operators import ACCEPTED, CRASH, REFUSED, WRONG, Case

pytest.importorskip("expecttest")
pytest.importorskip("scipy")
PARTS = 8
"""The operators are taken in so many parts, which run beside one another."""
ASK_FOR_VALUES = {
    "allclose", "cov", "equal", "item", "linalg_lstsq", "linalg_lstsq_grad_oriented", "nn_functional_ctc_loss",
    "nn_functional_gaussian_nll_loss", "nonzero", "argwhere", "sparse_mm_reduce", "sparse_sampled_addmm", "to_sparse",
    "unique", "unique_consecutive", "masked_select", "__getitem__", "combinations",
}  # fmt: skip
"""Operators whose valid samples may be refused: their shapes, or whether they raise, are in the values of floats."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)


def wrong(cases: Iterator[Case]) -> list[Case]:
    """The cases that are not as they should be."""
    bad = []
    for case in cases:
        refused = case.verdict == REFUSED and case.kind != "error" and case.operator not in ASK_FOR_VALUES
        if case.verdict in (WRONG, CRASH, ACCEPTED) or refused:
            bad.append(case)
    return bad


@pytest.mark.parametrize("part", range(PARTS))
def test_samples_and_errors(part: int) -> None:
    """A sample of each operator has the shapes and dtypes of the real run; what the CPU refuses is refused."""
    found: list[Case] = []
    for operator in operators.database()[part::PARTS]:
        found += wrong(operators.samples(operator, 1, [torch.float32]))
        found += wrong(operators.errors(operator))
    assert not found


@pytest.mark.parametrize("part", range(2))
def test_training(part: int) -> None:
    """Outputs, gradients and kept bytes of a training step are those of real autograd."""
    found: list[Case] = []
    for operator in operators.database()[part * 8 :: 16]:
        found += wrong(operators.training(operator, 1))
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(64))
def test_everything(part: int) -> None:
    """Every sample in every dtype, every error input, every training step."""
    found: list[Case] = []
    for operator in operators.database()[part::64]:
        found += wrong(operators.samples(operator, 10_000))
        found += wrong(operators.errors(operator))
        found += wrong(operators.training(operator, 10_000))
    assert not found


def test_a_wrong_shape_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself can fail: an operator that says another shape is wrong."""
    monkeypatch.setattr(operators, "traced", lambda call, setup=None: [((1,), "float32")])
    operator = operators.database(["sigmoid"])[0]
    assert {case.verdict for case in operators.samples(operator, 1, [torch.float32])} == {WRONG}
