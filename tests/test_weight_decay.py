"""Weight decay in a training step: one elementwise operation a parameter more, what it moves, what it holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archcalc.analyses import Traffic, analyze
from archcalc.analyses.traffic import Kernels
from archcalc.engine import choices, trace
from archcalc.engine.record.training_loop import OPTIMIZERS, Lion, optimizer_of
from archcalc.engine.setup import Setup, Training, setup_of
from archcalc.errors import BadInput, WrongUse
from archcalc.tracing import Trace
from tests.helpers import run

WIDTHS = (24, 40, 8)
WEIGHTS = 24 * 40 + 40 + 40 * 8 + 8  # 1,328 with biases
LARGEST = 24 * 40
WITH_AND_WITHOUT = [(name, 0.1, None) if name != "adamw" else (name, None, 0.0) for name in OPTIMIZERS]


def net() -> nn.Sequential:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(*WIDTHS[:2]), nn.ReLU(), nn.Linear(*WIDTHS[1:]))


def stepped(name: str, decay: float | None, device: str = "") -> Trace:
    return trace(net(), Setup(training=Training(name, weight_decay=decay), device=device), (4, 24))


def update(name: str, decay: float | None, device: str = "") -> tuple[int, int]:
    """Elementwise operations and bytes of the optimizer's turn."""
    record = analyze(stepped(name, decay, device), (Traffic(),)).record(Kernels)
    assert record.update_elementwise_flops is not None
    return record.update_elementwise_flops, record.bytes_by_phase["optimizer"]


@pytest.mark.parametrize("device", ["", "cuda"])
@pytest.mark.parametrize(("name", "on", "off"), WITH_AND_WITHOUT)
def test_decay_is_one_operation_a_parameter(name: str, on: float | None, off: float | None, device: str) -> None:
    """In place it reads and writes the weight, 8 bytes; else it reads gradient and weight, and writes a sum: 12."""
    (more, moved_more), (work, moved) = update(name, on, device), update(name, off, device)
    assert more - work == WEIGHTS
    assert moved_more - moved == (8 if name in choices.DECAY_IN_PLACE else 12) * WEIGHTS


class Counting(TorchDispatchMode):
    """Elements of the results of arithmetic on real tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        if func in (torch.ops.aten.add.Tensor, torch.ops.aten.mul_.Tensor):
            self.elements += out.numel()
        return out


def counted(name: str, decay: float | None) -> int:
    """Results of additions and products of one real update."""
    module = net()
    optimizer = optimizer_of(Training(name, weight_decay=decay), list(module.parameters()), foreach=False)
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    with Counting() as mode:
        optimizer.step()
    return mode.elements


@pytest.mark.parametrize(("name", "on", "off"), WITH_AND_WITHOUT)
def test_a_real_update_computes_as_many_more_elements(name: str, on: float | None, off: float | None) -> None:
    assert counted(name, on) - counted(name, off) == WEIGHTS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_shrinks_weights_without_a_gradient(name: str) -> None:
    """One update with gradients of zero, on real tensors: every weight is nearer to zero with decay, none without."""
    for decay, shrinks in ((0.1 if name != "adamw" else None, True), (0.0 if name == "adamw" else None, False)):
        weight = nn.Parameter(torch.full((3, 3), 2.0))
        weight.grad = torch.zeros_like(weight)
        optimizer_of(Training(name, weight_decay=decay), [weight], foreach=False).step()
        assert bool((weight < 2).all()) is shrinks


def test_lion_decays_as_in_its_paper() -> None:
    """Algorithm 2 of Chen et al.: w - lr (sign + decay w) = 2 - 1e-4 (1 + 0.5 · 2)."""
    weight = nn.Parameter(torch.full((2,), 2.0, dtype=torch.float64))
    weight.grad = torch.ones_like(weight)
    Lion([weight], weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((2,), 2 - 1e-4 * (1 + 0.5 * 2), dtype=torch.float64))


def held(traced: Trace) -> int:
    """The most bytes of temporaries that live at once in the optimizer's turn."""
    step = traced.steps[-1]
    turn = range(step.optimizer, step.end)
    born = [s for s in traced.storages if s.birth in turn and s.role not in ("optimizer", "gradient")]
    return max((sum(s.bytes for s in born if s.live_at(call)) for call in turn), default=0)


@pytest.mark.parametrize(("device", "size"), [("", 4 * LARGEST), ("cuda", 4096 + 512 + 1536 + 512)])
def test_what_the_sum_of_gradient_and_decay_holds(device: str, size: int) -> None:
    """SGD: one parameter's sum after the other in a loop; the sums of all, in blocks of 512 bytes, in one kernel."""
    assert held(stepped("sgd", 0.1, device)) == size
    assert held(stepped("sgd", None, device)) == 0


def test_the_decay_that_an_optimizer_has_by_itself_is_that_of_torch() -> None:
    for name, make in OPTIMIZERS.items():
        defaults = make([nn.Parameter(torch.zeros(1))], False).defaults
        assert defaults["weight_decay"] == choices.weight_decay(name, None)


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("traffic conv --train --weight-decay 0.05", "changes no figure: adamw decays", "--weight-decay 0 "),
        ("traffic conv --train --optimizer sgd --weight-decay 0", "sgd does not decay", "--weight-decay 0.01"),
        ("traffic conv --train --optimizer sgd --weight-decay -1", "'--weight-decay -1.0' is not a rate", "0 for none"),
        ("traffic conv --train --optimizer sgd --weight-decay inf", "'--weight-decay inf' is not", "0 for none"),
        ("memory conv --train --weight-decay 0", "changes no bytes that adamw holds", "archcalc traffic"),
        (
            "plan conv --gpus 2 --optimizer lion --weight-decay 1",
            "changes no bytes that lion holds",
            "archcalc traffic",
        ),
        ("traffic conv --weight-decay 0.1", "is an option of a training step", "--train"),
        ("law conv --over groups --figure macs --weight-decay 0", "--weight-decay has no effect", ""),
    ],
)
def test_decay_that_changes_nothing_is_refused(command: str, message: str, hint: str) -> None:
    ran = run(*command.split())
    assert ran.code == 2
    assert message in ran.err
    assert hint in ran.err


def test_answers_state_the_decay() -> None:
    ran = run("traffic", "conv", "--train", "--optimizer", "sgd", "--weight-decay", "5e-4")
    assert "update by sgd with weight decay 0.0005: 73,728 elementwise operations, 2 for each of 36,864" in ran.out
    assert (
        "sgd with weight decay 0.0005, loss sum"
        in run("memory", "conv", "--train", "--optimizer", "sgd", "--weight-decay", "5e-4").out
    )
    made = stepped("adamw", 0.0).assumptions
    assert made["weight_decay"] == 0.0
    assert "weight_decay" not in stepped("adamw", None).assumptions


def test_decay_in_python() -> None:
    assert setup_of({"optimizer": "sgd", "weight_decay": 1}, trains=True).training == Training("sgd", weight_decay=1.0)
    with pytest.raises(WrongUse, match="does not decay"):
        stepped("sgd", 0.0)
    for wrong in (-0.1, float("nan"), "0.1", True):
        with pytest.raises(BadInput, match="is not a rate"):
            stepped("sgd", wrong)  # type: ignore[arg-type]


def test_of_real_tensors_the_gradient_stays_as_it_was() -> None:
    """L2 adds to a copy: the gradient that backward left is not changed."""
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones_like(weight)
    before: Tensor = weight.grad.clone()
    optimizer_of(Training("sgd", weight_decay=0.1), [weight], foreach=False).step()
    assert torch.equal(weight.grad, before)
