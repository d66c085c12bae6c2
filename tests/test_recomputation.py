"""The price of DenseNet's memory: activations and gradients that are held, and work that backward does again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc.analyses import Backward, Flops, Memory, Params, Traffic, analyze
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.recomputation import recomputed
from archcalc.engine import Setup, Training, trace
from archcalc.tracing import Trace
from tests.helpers import run

HELD = "activation gradient"


def stepped(model: Any, inputs: Any = None, knobs: Any = None, batch: int | None = None, **training: Any) -> Trace:
    """The trace of two steps of SGD."""
    setup = Setup(knobs or {}, batch=batch, training=Training(**{"optimizer": "sgd", **training}))
    return trace(model, setup, inputs)


def held_bytes(traced: Trace) -> int:
    """Bytes of the gradients that the last step holds."""
    start = traced.steps[-1].start
    return sum(storage.bytes for storage in traced.storages if storage.role == HELD and storage.birth >= start)


def chain(layers: int, width: int) -> nn.Sequential:
    """Linear layers, each with a tanh behind it."""
    pairs = [(nn.Linear(width, width), nn.Tanh()) for _ in range(layers)]
    return nn.Sequential(*[module for pair in pairs for module in pair])


def test_the_gradients_held_are_those_that_a_real_run_gives_every_activation() -> None:
    """Each of 2 · 5 results of 3x8 floats has a gradient of 96 bytes; torch's retain_grad finds the same."""
    module = chain(5, 8)
    results: list[Tensor] = []

    def retain(_: nn.Module, __: Any, result: Tensor) -> None:
        result.retain_grad()
        results.append(result)

    for layer in module:
        layer.register_forward_hook(retain)
    functional.mse_loss(module(torch.randn(3, 8)), torch.zeros(3, 8)).backward()
    real = sum(result.grad.nbytes for result in results if result.grad is not None)
    assert real == 2 * 5 * 3 * 8 * 4
    scalar = 4  # the gradient of the loss itself
    assert held_bytes(stepped(chain(5, 8), (3, 8), loss="mse", keep_gradients=True)) == real + scalar
    assert held_bytes(stepped(chain(5, 8), (3, 8), loss="mse")) == 0


def test_at_the_end_of_backward_all_is_there() -> None:
    """The peak: weights and their gradients, the input, 5 results of tanh, 9 gradients, the loss and its gradient.

    The gradient of the last result is an expanded 1: 4 bytes.
    """
    made = analyze(stepped(chain(5, 8), (3, 8), keep_gradients=True), (Params(), Memory()))
    weights, one = 5 * (8 * 8 + 8) * 4, 3 * 8 * 4
    assert made.totals["saved_total_bytes"] == 5 * one
    assert made.totals["peak_bytes"] == 2 * weights + one + 5 * one + 9 * one + 4 + 4
    holders = {holder.by: holder.bytes for holder in made.record(LiveBytes).holders}
    assert holders["gradients of activations"] == 9 * one + 4


def test_views_and_copies_of_parameters_are_no_activations() -> None:
    """Linear multiplies by a view of its weight: the gradient of that view is the weight's own, counted once."""
    kept, plain = (stepped(nn.Linear(8, 8), (3, 8), keep_gradients=flag) for flag in (True, False))
    memory = [analyze(traced, (Memory(),)).totals for traced in (kept, plain)]
    assert memory[0]["gradients_bytes"] == memory[1]["gradients_bytes"] == (8 * 8 + 8) * 4


@pytest.mark.parametrize(("depth", "printed", "within"), [(34, 1.35, 0.21), (64, 2.89, 0.05)])
def test_densenet_with_gradients_held_needs_what_its_authors_printed(depth: int, printed: float, within: float) -> None:
    """Their LuaTorch curve, tests/data/densenet_memory_figure.csv, without any constant for a GPU's context."""
    knobs = {"depth": depth}
    held, freed = (
        analyze(
            stepped("densenet-bc-cifar", None, knobs, 64, optimizer="momentum", keep_gradients=flag), (Memory(),)
        ).totals["peak_bytes"]
        for flag in (True, False)
    )
    assert abs(held / 1e9 - printed) < within * printed
    assert freed / 1e9 < 0.4 * printed


def test_held_gradients_need_a_training_step() -> None:
    """--keep-gradients without --train is wrong use, as every option of a step is."""
    ran = run("memory", "conv", "--keep-gradients")
    assert ran.code == 2
    assert "--keep-gradients is an option of a training step" in ran.err


WIDTHS = {32: (24, 36, 48), 16: (30, 42, 54), 8: (33, 45, 57)}
"""Input channels of the layers of densenet-bc-cifar at depth 22, by the size of their maps."""


def test_the_price_of_recomputing_concatenations_by_hand() -> None:
    """cat, batch norm and ReLU of each layer again: no MAC, 5 + 1 operations an element and one count a norm.

    Bytes: each of the three reads and writes the maps, 6 · 4 a float; a norm also reads 4 numbers a channel and writes
    4, and reads and writes its counter of 8 bytes.
    """
    elements = sum(size * size * channels for size, widths in WIDTHS.items() for channels in widths)
    channels, layers = sum(map(sum, WIDTHS.values())), 9
    naive, shared = (
        analyze(stepped("densenet-bc-cifar", None, {"depth": 22, "memory_efficient": flag}), (Traffic(), Backward()))
        for flag in (False, True)
    )
    assert shared.totals["recomputed_macs"] == naive.totals["recomputed_elementwise_flops"] == 0
    assert shared.totals["recomputed_elementwise_flops"] == 6 * elements + layers
    assert shared.totals["recomputed_bytes"] == 24 * elements + 32 * channels + 16 * layers
    for total, part in (("backward_elementwise_flops", "recomputed_elementwise_flops"), ("traffic_bytes",) * 2):
        more = shared.totals[total] - naive.totals[total]
        assert more == shared.totals["recomputed_bytes" if part == total else part]


@pytest.mark.parametrize(("model", "pattern"), [("resnet-20", "layer[12]"), ("encoder-layer", "*")])
def test_what_is_computed_again_is_what_a_checkpoint_adds(model: str, pattern: str) -> None:
    """The difference of two whole backward passes, with and without the checkpoint; dropout draws masks again."""
    plain, again = (
        analyze(stepped(model, checkpoint=checkpoint), (Flops(), Backward())).totals for checkpoint in ((), (pattern,))
    )
    assert plain["recomputed_macs"] == plain["recomputed_elementwise_flops"] == 0
    assert again["recomputed_macs"] == again["backward_macs"] - plain["backward_macs"] > 0


class Cube(torch.autograd.Function):
    """x³, which computes x² again in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Keep the input alone."""
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """3 x²: the square once more, and two products that forward did not make."""
        (x,) = ctx.saved_tensors
        return (x * x) * 3 * gradients[0]


class Cubes(nn.Module):
    """A Linear and its cube."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        cube: Tensor = Cube.apply(self.linear(x))
        return cube


def test_a_function_that_computes_its_forward_again_is_found() -> None:
    """One of the three products of Cube's backward is forward's own: 2x4 operations."""
    traced = stepped(Cubes(), (2, 4))
    step = traced.steps[0]
    products = [n for n in range(step.backward, step.optimizer) if traced.calls[n].op == "aten.mul.Tensor"]
    assert [n in recomputed(traced, step) for n in products] == [True, False, False]
    assert analyze(traced, (Backward(),)).totals["recomputed_elementwise_flops"] == 2 * 4


def test_the_phases_of_a_step_add_up() -> None:
    """With --train, traffic tells what each phase moves, and flops --backward what backward computes again."""
    ran = run("traffic", "densenet-bc-cifar", "--set", "depth=22", "--set", "memory_efficient=true", "--train")
    assert "by phase: forward " in ran.out
    assert "; in backward 3.479 MiB to compute forward's results again" in ran.out
    flops = run("flops", "densenet-bc-cifar", "--set", "depth=22", "--set", "memory_efficient=true", "--backward").out
    assert "recomputed in backward: 0 MACs and 908,937 of its 4,924,627 elementwise operations" in flops
    assert "recomputed" not in run("flops", "densenet-bc-cifar", "--set", "depth=22", "--backward").out


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("law rnn --over output_size", "output_size is 0", "--set output_size=2"),
        ("flops conv --backward --mode train", "--backward and --mode do not go together", "choose one"),
        ("traffic conv --train --keep-gradients", "--keep-gradients moves no bytes", "archcalc memory"),
    ],
)
def test_wrong_use_names_what_was_typed(command: str, message: str, hint: str) -> None:
    """The sentence names the option that was given, and the hint what to type next."""
    ran = run(*command.split())
    assert ran.code == 2
    assert message in ran.err
    assert hint in ran.err
