"""A traced call costs the same in a small run and in a large one, and what makes it cheap changes no trace."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.load.references import parse
from archcalc.engine.meta import shape_rules
from archcalc.engine.meta.call_arguments import op_of
from archcalc.engine.meta.uniform_values import LARGE, Uniform, filled, scaled
from archcalc.engine.record.run import run
from archcalc.engine.record.training_recorder import TrainingRecorder
from archcalc.engine.setup import Setup, Training
from archcalc.tracing import Trace
from tests.test_engine import OF_DEVICES, alike

ENGINE = str(Path(archcalc.__file__).parent / "engine")
aten = torch.ops.aten


def chain(layers: int) -> nn.Module:
    """Layers of three parameters each, of one width."""
    parts = [nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()) for _ in range(layers)]
    return nn.Sequential(*parts)


def lines_of(module: nn.Module) -> tuple[int, int]:
    """The lines of the engine that run during the training step of a module, and its op calls."""
    lines = 0

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(ENGINE):
            return None
        lines += event == "line"
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        trace = archcalc.trace(module, (4, 8), train=Training("momentum"))
    finally:
        sys.settrace(before)
    return lines, len(trace.calls)


def test_a_call_costs_the_same_in_a_long_run() -> None:
    """Lines of Python for each call: three times the layers run three times the lines, less what happens once."""
    (few, calls), (many, more) = lines_of(chain(2)), lines_of(chain(8))
    assert more > 3 * calls
    assert many / more < 1.02 * few / calls


def test_the_module_of_a_node_is_that_of_a_search_through_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's number lies behind that of the last module call that began, or ended, before it was made."""
    asked: list[bool] = []
    quick = TrainingRecorder._of_node

    def slow(recorder: Any, node: Any) -> int:
        answer = quick(recorder, node)
        if node is not None and getattr(node, "variable", None) is None:
            pairs = zip(recorder._sequence, recorder._sequence_calls, strict=True)
            found = [call for first, call in pairs if first <= node._sequence_nr()]
            asked.append(answer == (found[-1] if found else 0))
        return answer

    monkeypatch.setattr(TrainingRecorder, "_of_node", slow)
    archcalc.trace("dense-block", train=Training("sgd", accumulation=2))
    assert len(asked) > 50
    assert all(asked)


STEPS: list[tuple[str, Setup]] = [
    *(("encoder-layer", Setup(training=Training(name))) for name in ("sgd", "momentum", "adam", "adamw", "lion")),
    ("encoder-layer", Setup(training=Training("adafactor"))),
    ("dense-block", Setup(training=Training("adamw", accumulation=2))),
    ("bottleneck-block", Setup(training=Training("adafactor"), device="cpu")),
    ("inception-module", Setup(training=Training("lion"))),
    ("transition", Setup(training=Training("adam"), device="cuda")),
    ("encoder-layer", Setup(training=Training("adamw", frozen=("norm1",)), device="cuda", amp="bf16")),
]


@pytest.mark.parametrize(("name", "setup"), STEPS)
def test_shape_rules_change_no_trace(name: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Births, deaths, shapes, attributes: all as with torch's own kernels without data."""

    def traced() -> Trace:
        return run(parse(name), setup)

    ours = traced()
    needed = {id(op): rule for op, rule in shape_rules.RULES.items() if op._opname in OF_DEVICES}
    monkeypatch.setattr("archcalc.engine.record.recorder.BY_ID", needed)
    assert traced() == ours


@pytest.mark.parametrize(
    ("op", "strides"),
    [
        (aten.sum.dim_IntList, [(48, 0, 0, 0), (0, 0, 0, 0), (0, 4, 0, 1), (16, 4, 4, 0)]),
        (aten.div.Scalar, [(48, 0, 0, 0), (0, 0, 0, 0), (0, 4, 0, 1), (16, 4, 4, 0), (0, 1, 2, 6)]),
    ],
)
def test_rules_of_expanded_gradients_equal_torch(op: Any, strides: list[tuple[int, ...]]) -> None:
    """A mean's or a sum's gradient is one number, expanded: strides are 0."""
    for stride in strides:
        x = torch.empty_strided((2, 3, 4, 4), stride, device="meta")
        argument = [0, 2] if op is aten.sum.dim_IntList else 4
        ours = shape_rules.RULES[op](x, argument)
        assert ours is NotImplemented or alike(op, ours, op(x, argument)), stride
    answered = shape_rules.RULES[op](torch.empty(1, device="meta").expand(2, 3, 4, 4), argument)
    assert answered is not NotImplemented


def test_uniform_values_are_those_of_the_ops() -> None:
    """A large tensor of one number, scaled: the same elements as computed, and made once."""
    like = torch.zeros(LARGE // 64, 64, dtype=torch.bfloat16)
    made = filled(op_of(aten.full_like.default), (like, 3), {"dtype": torch.float32}, like)
    assert isinstance(made, Uniform)
    third = scaled(op_of(aten.mul_.Tensor), made, (like, 1 / 3), {})
    assert isinstance(third, Uniform)
    assert torch.equal(third.tensor, torch.full_like(like, 3, dtype=torch.float32).mul_(1 / 3))
    assert third.tensor is third.tensor
    assert scaled(op_of(aten.mul.Tensor), third, (like, 2), {}) is None, "its elements may have been changed"
    assert filled(op_of(aten.zeros_like.default), (like[:1],), {}, like[:1]) is None


class Written(nn.Module):
    """Writes into a large tensor through a view, and asks."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.ones_like(x).mul_(3).mul(2)  # 6
        flat = y.view(-1)
        y.mul_(2)  # 12, in the view as well
        flat[0] = 5
        return x[:7] if flat[1] == 12 and y[0, 0] == 5 and y.sum() == 12 * y.numel() - 7 else x


def test_a_uniform_tensor_is_made_where_it_is_written() -> None:
    trace = archcalc.trace(Written(), (80, 80))
    assert trace.tensors[trace.output_tensors[0]].shape == Written()(torch.ones(80, 80)).shape == (7, 80)
