"""Programs that ask whether their numbers are finite are answered: DETR asks in training, BART in half precision."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.meta.known_values import LIMIT
from archcalc.errors import NeedsData

NOTE = "numbers taken to be finite decided what ran"


class Asks(nn.Module):
    """A layer, and a second product if a question about its result is answered by yes."""

    def __init__(self, asks: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.asks = nn.Linear(4, 4), asks

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.linear(x) if self.asks(x) else x


def hidden(x: Tensor) -> Tensor:
    """Scores of which a mask hides the first."""
    return x.masked_fill(torch.arange(4) == 0, -inf)


QUESTIONS: dict[str, tuple[Callable[[Tensor], Any], bool]] = {
    "all finite": (lambda x: torch.isfinite(x).all(), True),
    "method": (lambda x: x.isfinite().all(), True),
    "not all finite": (lambda x: not torch.isfinite(x).all(), False),
    "any overflow": (lambda x: x.isinf().any(), False),
    "any NaN": (lambda x: torch.isnan(x).any(), False),
    "equal to itself": (lambda x: torch.eq(x, x).all(), True),
    "unequal to itself": (lambda x: x.ne(x).any(), False),
    "infinite": (lambda x: (x.abs() == inf).any(), False),
    "overflowed upwards": (lambda x: x.isposinf().any(), False),
    "overflowed downwards": (lambda x: torch.isneginf(x).any(), False),
    "equal to -inf": (lambda x: (x == -inf).any(), False),
    "unequal to -inf": (lambda x: (x != float("-inf")).all(), True),
    "a tensor of infinity": (lambda x: (x == torch.tensor(-inf)).any(), False),
    "that tensor first": (lambda x: (torch.tensor(inf) == x).any(), False),
    "a row of infinities": (lambda x: (x == torch.full((4,), -inf)).any(), False),
    "as many infinities": (lambda x: (x < torch.full_like(x, inf)).all(), True),
    "below": (lambda x: (x.abs() < inf).all(), True),
    "at least": (lambda x: (x >= inf).any(), False),
    "whole numbers": (lambda x: (x.long() == inf).any(), False),
    "of a sum": (lambda x: x.sum().isfinite(), True),
    "after a softmax of hidden scores": (lambda x: hidden(x).softmax(-1).isnan().any(), False),
    "either": (lambda x: (x.isnan() | x.isinf()).any(), False),
    "neither": (lambda x: (~x.isnan() & ~x.isinf()).all(), True),
    "a row": (lambda x: x.isfinite().all(-1)[0], True),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_numbers_are_finite(name: str) -> None:
    """The answer is that for finite numbers, which a run on real ones gives, too; a note says what was assumed."""
    asks, truth = QUESTIONS[name]
    assert bool(asks(torch.randn(2, 4))) is truth
    report = archcalc.analyze(Asks(asks), torch.empty(2, 4))
    assert report.macs == (1 + truth) * 2 * 4 * 4
    assert NOTE in report.notes


@pytest.mark.parametrize("how", [{"train": True}, {"dtype": "float16"}])
def test_in_training_and_in_half_precision(how: dict[str, Any]) -> None:
    def overflows(x: Tensor) -> Any:
        return not torch.isfinite(x).all()

    assert NOTE in archcalc.trace(Asks(overflows), torch.empty(2, 4), **how).notes


def test_large_tensors_are_answered_without_room_for_them() -> None:
    """More elements than are followed by their values: 2^22 rows of 4."""
    assert NOTE in archcalc.trace(Asks(lambda x: torch.isfinite(x).all()), torch.empty(LIMIT, 4, device="meta")).notes


def test_values_that_are_known_are_asked_themselves() -> None:
    """Infinities that a program makes from numbers alone are there."""

    def masked(x: Tensor) -> Any:
        return torch.full((4,), inf).isinf().all()

    report = archcalc.analyze(Asks(masked), torch.empty(2, 4))
    assert report.macs == 2 * 2 * 4 * 4
    assert NOTE not in report.notes


def test_no_question_no_note() -> None:
    """A filter of NaN that nothing depends on is not mentioned."""
    report = archcalc.analyze(Asks(lambda x: torch.where(x.isnan(), 0, x) is None), torch.empty(2, 4))
    assert NOTE not in report.notes


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: (x == 0).any(),
        lambda x: (x > 0).all(),
        lambda x: (x == x.nan_to_num()).all(),
        lambda x: (x == torch.tensor([inf, 0.0, 0.0, 0.0])).any(),
    ],
)
def test_other_questions_need_data(asks: Callable[[Tensor], Any]) -> None:
    """Whether a number is 0, or equal to another unknown one, is not known."""
    with pytest.raises(NeedsData):
        archcalc.trace(Asks(asks), torch.empty(2, 4))


WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "a mask": hidden,
    "a mask in place": lambda x: x.clone().masked_fill_(torch.arange(4) == 0, -inf),
    "an assignment": lambda x: _assigned(x.clone()),
    "a sum with a mask of numbers": lambda x: x + torch.tensor([-inf, 0.0, 0.0, 0.0]),
    "a logarithm of a mask": lambda x: x + (torch.arange(4) > 0).float().log(),
    "a choice": lambda x: torch.where(torch.arange(4) == 0, -inf, x),
    "padding": lambda x: nn.functional.pad(x, (1, 0), value=-inf),
    "joined": lambda x: torch.cat([x, torch.full((2, 1), -inf)], -1),
    "passed on": lambda x: (2 * hidden(x).view(4, 2).transpose(0, 1)).neg_().contiguous(),
    "added up": lambda x: hidden(x).sum(-1),
    "more numbers than are followed": lambda x: x.sum() + torch.full((LIMIT + 1,), -inf).neg(),
}


def _assigned(x: Tensor) -> Tensor:
    x[:, 0] = -inf
    return x


@pytest.mark.parametrize("name", WRITTEN)
def test_infinities_that_a_program_writes_are_not_taken_to_be_finite(name: str) -> None:
    """A masked score is -inf on purpose: whether one is finite is asked of `--data`, which answers as a real run."""

    def asks(x: Tensor) -> Any:
        return WRITTEN[name](x).isfinite().all()

    assert not asks(torch.randn(2, 4))
    with pytest.raises(NeedsData):
        archcalc.trace(Asks(asks), torch.empty(2, 4))
    assert archcalc.analyze(Asks(asks), torch.empty(2, 4), data=True).macs == 2 * 4 * 4


def test_empty_tensors_are_all_and_not_any() -> None:
    """Of no elements all are finite, and all are infinite, too."""
    both = Asks(lambda x: x[:0].isinf().all() and not x[:0].isfinite().any())
    assert archcalc.analyze(both, torch.empty(2, 4)).macs == 2 * 2 * 4 * 4
