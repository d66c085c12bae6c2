"""Memory of a forward pass: the peak by hand, the bill that adds up, the layers that hold it."""

import pytest
import torch
from torch import Tensor, nn

from archcalc.analyses.memory import LiveBytes, Moment
from tests.helpers import report, totals


def test_a_chain_of_linears_by_hand() -> None:
    """Widths 4 -> 8 -> 2, batch 3: input 48, weights (32+8+16+2)·4 = 232, at the ReLU two tensors of 96."""
    made = report(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (3, 4))
    assert made.totals["params_bytes"] == 232
    assert made.totals["inputs_bytes"] == 48
    assert made.peak_bytes == 232 + 48 + 96 + 96
    assert made.record(LiveBytes).peak == Moment(call=2, op="aten.relu", path="1", phase="forward")
    assert made.totals["output_bytes"] == 3 * 2 * 4


def test_an_in_place_op_needs_no_second_tensor() -> None:
    made = report(nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)), (3, 4))
    assert made.peak_bytes == 232 + 48 + 96 + 24


def test_a_shortcut_keeps_its_input_alive() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return x + self.b(x)

    made = report(Residual(), (1, 8))
    assert made.peak_bytes == 2 * 256 + 32 + 3 * 32


def test_constants_and_buffers_are_on_the_bill() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(6))
            self.constant = torch.ones(6)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.mask + self.constant

    made = report(Masked(), (6,))
    assert made.record(LiveBytes).bill["buffers"] == 2 * 24
    assert made.totals["buffers_bytes"] == 24  # those that are registered
    assert made.peak_bytes == 2 * 24 + 24 + 2 * 24


@pytest.mark.parametrize("name", ["resnet-18", "densenet-121", "shufflenet-v2-1.0x"])
def test_activations_grow_with_the_batch_and_weights_do_not(name: str) -> None:
    one, two, four = (report(name, batch=batch).totals for batch in (1, 2, 4))
    assert one["params_bytes"] == four["params_bytes"]
    assert two["peak_bytes"] - one["peak_bytes"] > 0
    assert four["peak_bytes"] - two["peak_bytes"] == 2 * (two["peak_bytes"] - one["peak_bytes"])


def test_nothing_is_kept_without_gradients() -> None:
    found = totals("memory", "resnet-18")
    kept = ("saved_bytes", "gradients_bytes", "optimizer_bytes", "saved_total_bytes")
    assert [found[key] for key in kept] == [0, 0, 0, 0]


def test_memory_efficient_densenet_is_the_same_without_gradients() -> None:
    """Recomputing pays in the backward pass only."""
    naive, efficient = (
        totals("memory", "densenet-bc-cifar", "--set", f"memory_efficient={w}") for w in ("false", "true")
    )
    assert naive == efficient


class Gathered(nn.Module):
    """Adds a bias that is gathered from a table, in the first pass alone if it is kept."""

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(9))
        self.register_buffer("places", torch.arange(1024) % 9)
        self.keeps = keeps
        self.kept: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((x, x)).sum(0)
        bias = self.kept["bias"] if self.kept else self.table[self.places]
        if self.keeps:
            self.kept["bias"] = bias
        return y + bias


def test_what_a_model_keeps_for_its_next_pass_is_there_from_the_start() -> None:
    """A table of 9, 1,024 places, input 64·1024·4, twice that and its sum; 1,024 biases more if they are kept."""
    alone = 9 * 4 + 1024 * 8 + 3 * 64 * 1024 * 4 + 1024 * 4
    assert report(Gathered(keeps=False), (64, 1024)).peak_bytes == alone
    kept = report(Gathered(keeps=True), (64, 1024))
    assert kept.peak_bytes == alone + 1024 * 4
    assert kept.record(LiveBytes).bill["buffers"] == 1024 * 8 + 1024 * 4
