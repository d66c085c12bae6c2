"""What people write: models of every habit, each with its MACs worked out by hand."""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import archcalc
from archcalc.errors import ForwardFailed, NeedsData
from tests.helpers import report


class OuterProduct(nn.Module):
    """An einsum that sums over nothing multiplies each pair once, and adds nothing up."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("i,j->ij", a, b)


class Einsum(nn.Module):
    """B·Q·K·D for the scores, and a permutation on the way."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return torch.einsum("bqhd,bkhd->bhqk", q, k)


class Square(torch.autograd.Function):
    """A function with its own backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad @ x.T + x.T @ grad


class CustomFunction(nn.Module):
    """Calls it."""

    def forward(self, x: Tensor) -> Any:
        return Square.apply(x)  # type: ignore[no-untyped-call]


class Checkpointed(nn.Module):
    """Activation checkpointing of either kind."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = nn.Linear(8, 4), reentrant

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class LayerInForward(nn.Module):
    """A layer that is new in every call belongs to no tree; its work is the caller's."""

    def forward(self, x: Tensor) -> Any:
        return nn.Linear(8, 4)(x)


class ByItsNameAndByAList(nn.Module):
    """One module under two names, in a list too: each call under the name it is called by."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.layers = nn.ModuleList([self.first, nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.first(x)


class Strided(nn.Module):
    """Slices, a transposition and a view of overlapping windows."""

    def forward(self, x: Tensor) -> Tensor:
        every_other = x[:, ::2].T  # 4, 3
        return every_other @ x.as_strided((3, 2), (1, 3))


@dataclass
class Answer:
    """An output with names."""

    logits: Tensor
    states: list[Tensor]


class DataclassOutput(nn.Module):
    """Gives an object."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Answer:
        return Answer(self.fc(x), [x])


class DictOutput(nn.Module):
    """Gives a dict with a dict inside."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"logits": self.fc(x), "more": {"states": (x, x)}}


class NewTensors(nn.Module):
    """Positions, masks and noise made in forward."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        positions = torch.arange(n, device=x.device)[None, :, None] / n
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        scores = (x + positions + torch.randn_like(x)) @ x.transpose(1, 2)
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


CASES: list[tuple[nn.Module, Any, int]] = [
    (Einsum(), [(2, 5, 3, 4), (2, 7, 3, 4)], 2 * 3 * 5 * 7 * 4),
    (CustomFunction(), (6, 6), 6 * 6 * 6),
    (Checkpointed(False), (2, 8), 2 * 8 * 4),
    (Checkpointed(True), (2, 8), 2 * 8 * 4),
    (LayerInForward(), (2, 8), 2 * 8 * 4),
    (ByItsNameAndByAList(), (2, 8), 3 * 2 * 8 * 8),
    (Strided(), (3, 8), 4 * 3 * 2),
    (DataclassOutput(), (2, 8), 2 * 8 * 4),
    (DictOutput(), (2, 8), 2 * 8 * 4),
    (NewTensors(), (2, 5, 8), 2 * 5 * 5 * 8),
    (nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), (2, 8), 2 * 8 * 4),
    (nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4)), (2, 8), 2 * 8 * 4),
    (nn.Sequential(OrderedDict(a=nn.Linear(8, 8), b=nn.Linear(8, 4))), (2, 8), 2 * 8 * 12),
    (nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], 2 * 5 * 3 * 4),
    (nn.Transformer(16, 2, 1, 1, 32, batch_first=True), [(1, 5, 16), (1, 3, 16)], 0),
]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(("module", "inputs", "macs"), CASES, ids=lambda case: type(case).__name__)
def test_macs_by_hand(module: nn.Module, inputs: Any, macs: int) -> None:
    if isinstance(module, nn.Transformer):
        d, ff, source, target = 16, 32, 5, 3
        encoder = source * 4 * d * d + 2 * source * source * d + 2 * source * d * ff
        decoder = target * 4 * d * d + 2 * target * target * d  # of the target itself
        decoder += 2 * target * d * d + 2 * source * d * d + 2 * target * source * d + 2 * target * d * ff
        macs = encoder + decoder
    made = report(module.eval(), inputs)
    made_in_training = report(module, inputs, mode="train")
    assert not made.totals["uncounted"]
    if "Spectral" not in str(module):
        assert made.macs == made_in_training.macs == macs
    assert made.totals["buffers"] == sum(b.numel() for b in module.buffers())
    assert made.params == sum(p.numel() for p in module.parameters())


def test_an_outer_product_is_elementwise() -> None:
    """No sum over an index: 3·4 products, which are elementwise work."""
    made = report(OuterProduct(), [(3,), (4,)])
    assert (made.macs, made.totals["elementwise_flops"]) == (0, 12)


class Fourier(nn.Module):
    """To the spectrum of a real image and back."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x))


class Substitution(nn.Module):
    """Two right-hand sides with a lower triangle."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(a, b, upper=False)


def test_transforms_are_estimated_and_substitution_is_exact() -> None:
    """2.5·n·log2(n) each way over 64 points of 3 channels; 4·3/2 products for each of 2 columns."""
    made = report(Fourier(), (3, 8, 8))
    assert made.totals["uncounted"] == []
    assert (made.macs, made.totals["elementwise_flops"]) == (0, 2 * 3 * 2.5 * 64 * 6)
    solved = report(Substitution(), [(4, 4), (4, 2)])
    assert solved.macs == 4 * 3 // 2 * 2
    assert solved.totals["uncounted"] == []


def test_each_call_of_a_shared_module_is_its_own_paths() -> None:
    made = report(ByItsNameAndByAList(), (2, 8))
    assert made.params == 2 * (8 * 8 + 8)
    assert made.layers["first"].macs + made.layers["layers"].macs == made.macs


def test_outputs_of_every_kind_have_shapes() -> None:
    assert report(DataclassOutput(), (2, 8)).output_shape == ((2, 4), (2, 8))
    assert report(DictOutput(), (2, 8)).output_shape == ((2, 4), (2, 8), (2, 8))


class Asks(nn.Module):
    """Branches on a value."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Raises(nn.Module):
    """Changes what it can reach, then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.manual_seed(7)
        random.seed(7)
        self.fc.bias.data.zero_()
        raise KeyError("the user's own")


def test_a_branch_on_values_names_its_line() -> None:
    with pytest.raises(NeedsData, match=r"test_user_models.py:\d+ in forward"):
        archcalc.trace(Asks(), (2, 8))


def test_everything_is_as_it_was_when_forward_raises() -> None:
    module = Raises()
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
    forward, linear = module.forward, functional.linear
    with pytest.raises(ForwardFailed, match="the user's own") as caught:
        archcalc.trace(module, (2, 8))
    assert "archcalc/engine" not in str(caught.value)
    assert module.calls == 0
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert hooks == len(module._forward_hooks) + len(module._forward_pre_hooks) == 0
    assert (module.forward, functional.linear) == (forward, linear)


def test_deep_nesting_of_one_module_is_linear_in_its_calls() -> None:
    """Twice in itself, eight times over: 256 calls of one layer."""
    net: nn.Module = nn.Linear(4, 4)
    for _ in range(8):
        net = nn.Sequential(net, net)
    made = report(net, (1, 4))
    assert made.params == 4 * 4 + 4
    assert made.macs == 256 * 4 * 4
