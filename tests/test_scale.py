"""Large networks: work that grows with the ops and not faster, deep trees, small files; blocks that look alike."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import NotATrace
from archcalc.tracing import Trace
from bench.scale import Chain
from tests.helpers import in_rows


def nested(depth: int) -> nn.Module:
    """A linear layer inside `depth` containers."""
    module: nn.Module = nn.Linear(4, 4)
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def functions_called(length: int) -> int:
    """How many Python functions a trace of a chain calls: a measure of its work that no other process disturbs."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        archcalc.trace(Chain(length), (1, 4))
    finally:
        sys.setprofile(None)
    return count


def test_the_work_of_a_trace_is_linear_in_its_ops() -> None:
    archcalc.trace(Chain(2), (1, 4))  # what is imported and learned once
    one, two, three = (functions_called(n) for n in (100, 200, 300))
    assert three - two == pytest.approx(two - one, rel=0.02)


class Nested(nn.Module):
    """A class, which is built without a copy: 1,000 levels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nested(1000)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def test_1000_nested_modules_run_and_the_limit_of_recursion_is_put_back() -> None:
    limit = sys.getrecursionlimit()
    trace = archcalc.trace(Nested, (1, 4))
    assert len(trace.module_calls) == 1 + 1000 + 1  # the root, the containers, the layer
    assert [call.op for call in trace.calls] == ["aten.t", "aten.addmm"]
    assert sys.getrecursionlimit() == limit


# ---- stored traces -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["resnet-20", "lstm-cell"])
def test_a_file_of_columns_and_one_of_records_give_the_same_trace(model: str) -> None:
    trace = archcalc.trace(model)
    assert Trace.from_json(trace.to_json()) == Trace.from_json(in_rows(trace)) == trace


def test_a_long_trace_takes_under_100_bytes_an_op_call() -> None:
    """82 were measured at 100,000 calls; the same trace as records takes 337."""
    trace = archcalc.trace(Chain(500), (1, 4))
    assert len(trace.to_json()) < 100 * len(trace.calls) < len(in_rows(trace)) / 3


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("shape", {"table": [[1, 4]], "index": [0, -1]}, "must be whole, from 0"),
        ("shape", {"table": [[1, 4]], "index": [0, True]}, "must be whole, from 0"),
        ("shape", {"table": [[1, 4]], "index": [0, 1]}, "damaged"),
        ("shape", {"index": []}, "damaged"),
        ("shape", [[1, 4]], "differ in length"),
        ("shapes", [], "must have the columns shape, dtype"),
    ],
)
def test_damaged_columns_are_refused(column: str, value: Any, reason: str) -> None:
    document = json.loads(archcalc.trace(Chain(1), (1, 4)).to_json())
    document["trace"]["tensors"][column] = value
    with pytest.raises(NotATrace, match=reason):
        Trace.from_json(json.dumps(document), "trace.json")


# ---- blocks that look alike ----------------------------------------------------------------------


class Counting(nn.Module):
    """A block whose ops depend on how many blocks ran before it; none of its attributes tells."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return x.relu() if next(NUMBERS) % 2 else x


NUMBERS = itertools.count()
KEPT: list[Tensor] = []


class Keeping(nn.Module):
    """A block whose result lives on in the first three calls: in a list that no block owns."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.exp(x)
        if len(KEPT) < 3:
            KEPT.append(x)
        return x


def test_blocks_of_equal_structure_may_run_different_ops() -> None:
    trace = archcalc.trace(nn.Sequential(*(Counting() for _ in range(4))), (1, 4))
    assert sum(call.op == "aten.relu" for call in trace.calls) == 2  # in every second of 4


def test_blocks_of_equal_structure_may_keep_different_tensors() -> None:
    KEPT.clear()
    trace = archcalc.trace(nn.Sequential(*(Keeping() for _ in range(5))), (1, 4))
    made = [storage for storage in trace.storages if storage.birth >= 0]
    assert [storage.death is None for storage in made] == [True, True, True, False, True]  # the last is the output
    KEPT.clear()
