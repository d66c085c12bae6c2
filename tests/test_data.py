"""`--data`: values computed beside the run, for models that ask for them; the record does not depend on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc import Setup
from archcalc.engine.meta.call_arguments import op_of
from archcalc.engine.meta.joined_values import ATTRIBUTE, parts_known
from archcalc.errors import BadInput, DataLimit, ForwardFailed, NeedsData
from archcalc.networks import catalogue
from tests.helpers import report, run

WITH_DATA = Setup(data=True)


class Expert(nn.Module):
    """Two matrices of 32 x 64: 4,096 multiply-adds a token."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(32, 64, bias=False), nn.Linear(64, 32, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).relu())


class Mixture(nn.Module):
    """Each token goes to 2 of 8 experts, which are looped over: 64 tokens cost 64·256 + 64·2·4,096 multiply-adds."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(32, 8, bias=False)
        self.experts = nn.ModuleList([Expert() for _ in range(8)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(-1, 32)
        weights, chosen = self.router(tokens).softmax(-1).topk(2, -1)
        y = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == number)
            y.index_add_(0, token, expert(tokens[token]) * weights[token, slot, None])
        return y.view_as(x)


def test_a_model_that_asks_for_values_needs_data_and_gets_them() -> None:
    with pytest.raises(NeedsData, match="there are no data here"):
        archcalc.trace(Mixture(), (4, 16, 32))
    made = report(Mixture(), (4, 16, 32), setup=WITH_DATA)
    assert made.macs == 64 * 256 + 64 * 2 * 4_096 == 540_672
    assert (made.params, made.output_shape) == (32 * 8 + 8 * 2 * 32 * 64, (4, 16, 32))


def test_an_answer_says_that_values_decided_it() -> None:
    """Which rows an expert gets is in the weights and inputs; a model that asks for no values has no such note."""
    said = "values of --data (others may give other experts, proposals or lengths) decided what ran"
    assert said in report(Mixture(), (4, 16, 32), setup=WITH_DATA).notes
    assert not report(Expert(), (64, 32), setup=WITH_DATA).notes


def test_a_training_step_with_data() -> None:
    """The forward pass of a step costs the same as a forward pass."""
    assert report(Mixture(), (4, 16, 32), setup=WITH_DATA, train=True).macs == 540_672


def fields(trace: archcalc.Trace) -> tuple[Any, ...]:
    """What a trace records of a run; its settings and notes left out."""
    return trace.calls, trace.tensors, trace.storages, trace.module_calls, trace.parameters


SMALL = (
    "resnet-20", "densenet-bc-cifar", "shufflenet-v2-0.5x", "lstm", "gru", "rnn", "encoder-layer", "decoder-layer",
    "multi-head-attention", "attention", "conv", "se-block", "dense-block", "alexnet",
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_figures_with_data_are_those_without(name: str) -> None:
    """The same record, call by call, storage by storage."""
    assert fields(archcalc.trace(name, setup=WITH_DATA)) == fields(archcalc.trace(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.names())
def test_figures_with_data_are_those_without_over_the_catalogue(name: str) -> None:
    setup = Setup(data=True, data_limit="16GiB")
    assert fields(archcalc.trace(name, setup=setup)) == fields(archcalc.trace(name))


def test_a_training_step_has_the_same_record_with_data() -> None:
    assert fields(archcalc.trace("resnet-20", setup=WITH_DATA, train=True)) == fields(
        archcalc.trace("resnet-20", train=True)
    )


class Branch(nn.Module):
    """Takes the branch that the sign of its input chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(4, 2), nn.Linear(4, 200)

    def forward(self, x: Tensor) -> Tensor:
        return self.large(x) if bool((x > 0).all()) else self.small(x)


def test_values_that_are_given_decide() -> None:
    ones, minus = torch.ones(3, 4), -torch.ones(3, 4)
    assert report(Branch(), ones, setup=WITH_DATA).output_shape == (3, 200)
    assert report(Branch(), minus, setup=WITH_DATA).output_shape == (3, 2)


class Gate(nn.Module):
    """Keeps the samples whose score, by its own weights, is above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x[self.score(x)[:, 0] > 0]


def test_the_given_modules_own_weights_are_used() -> None:
    """A score of bias alone keeps all samples or none."""
    gate = Gate()
    for bias, kept in ((1.0, 6), (-1.0, 0)):
        nn.init.zeros_(gate.score.weight)
        nn.init.constant_(gate.score.bias, bias)
        assert report(gate, (6, 4), setup=WITH_DATA).output_shape == (kept, 4)


def test_the_seed_decides_and_the_same_seed_says_the_same() -> None:
    shapes = {seed: {report(Gate, (64, 4), data=True, seed=seed).output_shape for _ in range(2)} for seed in range(4)}
    assert all(len(of_one) == 1 for of_one in shapes.values())
    assert len(set.union(*shapes.values())) > 1


def test_errors_of_values_are_refused_with_data_alone() -> None:
    class Sampler(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.multinomial(x - 10, 1)

    assert report(Sampler(), (2, 4)).output_shape == (2, 1)
    with pytest.raises(ForwardFailed, match="probability"):
        archcalc.trace(Sampler(), torch.zeros(2, 4), setup=WITH_DATA)


def test_the_limit_is_told_before_anything_is_computed() -> None:
    with pytest.raises(DataLimit, match=r"at least .* and .* is 1\.000 MiB"):
        archcalc.trace("resnet-18", setup=Setup(data=True, data_limit="1MiB"))


def test_the_limit_holds_in_the_run() -> None:
    """Weights and input fit into 4 MiB, a product of 2048 x 2048 floats (16 MiB) does not."""

    class Outer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.T @ x

    with pytest.raises(DataLimit):
        archcalc.trace(Outer(), (1, 2048), setup=Setup(data=True, data_limit="4MiB"))


@pytest.mark.parametrize("size", ["much", "0", "-1GiB", "24"])
def test_a_limit_that_is_no_size(size: str) -> None:
    ran = run("summary", "resnet-20", "--data", "--data-limit", size)
    assert ran.code == 2
    with pytest.raises(BadInput):
        archcalc.trace("resnet-20", setup=Setup(data=True, data_limit=size))


@pytest.mark.parametrize("option", [["--seed", "3"], ["--data-limit", "1GiB"]])
def test_options_of_the_values_are_refused_without_them(option: list[str]) -> None:
    ran = run("summary", "resnet-20", *option)
    assert (ran.code, ran.out) == (2, "")
    assert f"{option[0]} is of the values of --data" in ran.err


class Flagged(nn.Module):
    """Asks for the values of a buffer of floats that is not in its state: it keeps 2 of 3 columns."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.tensor([1.0, 0.0, 1.0]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.kept > 0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("data", [False, True])
def test_buffers_outside_of_the_state_are_known_in_every_dtype(dtype: str, data: bool) -> None:
    assert report(Flagged(), (4, 3), dtype=dtype, data=data).output_shape == (4, 2)


def test_the_answer_says_with_data() -> None:
    ran = run("summary", "resnet-20", "--data", "--seed", "3")
    assert "with data (seed 3)" in ran.out.splitlines()[1]
    assert "data" not in run("summary", "resnet-20").out.splitlines()[1]


class Dropping(nn.Sequential):
    """Draws weights when it is built, and masks when it runs."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.Dropout(0.5))


def test_own_draws_of_the_process_are_left_alone() -> None:
    """A run with data neither draws from torch's default generator nor seeds it."""
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    archcalc.trace(Dropping, (2, 4), setup=Setup(data=True, mode="train"))
    assert torch.equal(torch.rand(3), expected)


def test_a_mask_packed_beside_unknown_numbers_is_known_when_it_is_cut_out() -> None:
    """2 of 4 places are kept, of 8 numbers each: 2 x 8 x 3 = 48 multiply-adds."""

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            mask = (torch.arange(4) % 2).to(x.dtype)[:, None]
            numbers, kept = torch.split(torch.cat([x, mask], dim=-1), [8, 1], dim=-1)
            kept = kept.squeeze(-1).bool()
            return self.linear(numbers[kept])

    made = report(Packed(), (4, 8))
    assert (made.macs, made.output_shape) == (48, (2, 3))


@pytest.mark.parametrize(
    "cut", ["x[:, -1]", "x.T[8]", "x.unbind(1)[8]", "torch.cat([x, x], 1)[:, 17]", "x[:, 8:].squeeze(1)"]
)
def test_every_way_to_cut_out_what_is_known(cut: str) -> None:
    """A joined tensor of numbers and a mask of two ones, cut in every way, also after a second join."""

    class Packed(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            x = torch.cat([y, torch.tensor([0.0, 1, 0, 1], device=y.device)[:, None]], dim=1)
            return y[eval(cut, {"x": x, "torch": torch}).bool()]

    assert report(Packed(), (4, 8)).output_shape == (2, 8)


@pytest.mark.parametrize("write", ["x.mul_(2)", "x[:, 8].add_(y[:, 0])", "x[0].copy_(x[1])"])
def test_a_joined_tensor_that_is_written_to_is_unknown(write: str) -> None:
    """Its values may differ from then on, whatever view of it is written."""

    class Packed(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            x = torch.cat([y, torch.arange(4.0, device=y.device)[:, None]], dim=1)
            exec(write, {"x": x, "y": y})
            return y[x[:, 8].bool()]

    with pytest.raises(NeedsData):
        report(Packed(), (4, 8))


def test_a_list_of_numbers_of_tensors_keeps_its_values_in_an_index() -> None:
    """Places (0, 1) and (2, 3) of 4 x 4 are hidden, so 14 are left."""

    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            places = torch.ones(4, 4, dtype=torch.bool, device=x.device)
            rows, columns = zip(*torch.tensor([[0, 1], [2, 3]], device=x.device), strict=True)
            places[rows, columns] = False
            return x[places]

    assert report(Hidden(), (4, 4)).output_shape == (14,)


def test_a_cache_that_begins_empty_tells_nothing_of_what_is_joined_to_it() -> None:
    """No values of the joined tensor's size are made: a model of 32 layers does so 64 times."""
    empty, keys = torch.empty(0, device="meta"), torch.empty(1, 8, device="meta")
    op = op_of(torch.ops.aten.cat.default)
    joined = torch.empty(1, 8, device="meta")
    known = {id(empty): torch.empty(0)}
    assert not list(parts_known(op, ([empty, keys], -1), {}, [joined], lambda tensor: known.get(id(tensor))))
    assert not hasattr(joined, ATTRIBUTE)


def test_what_was_joined_is_kept_as_it_was_then() -> None:
    """The mask of two ones is written to behind the join, and 100 joins and cuts follow one another, as really."""

    class Late(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.tensor([1.0, 0.0, 1.0, 0.0], device=x.device)[:, None]
            y = torch.cat([x, mask], 1)
            mask.zero_()
            for _ in range(100):
                y = torch.cat([y, mask], 1)[:, 1:]
                y = torch.cat([x[:, :1], y], 1)[:, :9]
            return x[y[:, 8].bool()]

    assert report(Late(), (4, 8)).output_shape == Late()(torch.randn(4, 8)).shape == (2, 8)
