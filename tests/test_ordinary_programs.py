"""Programs that people write: geometry changed in place, named devices, packed sequences, transforms, known values."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import archcalc
from archcalc import Setup
from archcalc.errors import BadInput, CannotFollow, CannotImport, ForwardFailed, NeedsData, WrongUse
from tests.helpers import report


class Forward(nn.Module):
    """A module whose forward is a function of the module and its input; it has one Linear(4, 3) and a convolution."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.linear, self.conv = nn.Linear(4, 3), nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, *args: Any) -> Any:
        return self.function(self, *args)


# ---- the geometry of a tensor, changed in place ---------------------------------------------------

GEOMETRY = {
    "t_": lambda m, x: x.clone().t_(),
    "transpose_": lambda m, x: m.linear(x).transpose_(0, 1),
    "swapaxes_": lambda m, x: (x + 1).swapaxes_(0, 1),
    "unsqueeze_": lambda m, x: m.conv(m.linear(x).unsqueeze_(0).unsqueeze_(0)),
    "squeeze_": lambda m, x: x[None].clone().squeeze_(0),
    "resize_ smaller": lambda m, x: x.clone().resize_(2, 3),
    "resize_ larger": lambda m, x: x.clone().resize_(9, 7) + 1,
    "as_strided_": lambda m, x: x.clone().as_strided_((2, 2), (1, 2)),
    "set_": lambda m, x: x.clone().set_(m.linear(x)),
    "vector @ matrix": lambda m, x: x[:, 0] @ m.linear(x),
    "quantile": lambda m, x: torch.quantile(x, 0.5),
    "nanquantile": lambda m, x: torch.nanquantile(x, torch.tensor([0.1, 0.5]), dim=0),
    "stft": lambda m, x: torch.stft(x.reshape(-1), 8, window=torch.hann_window(8), return_complex=True),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_in_place(name: str) -> None:
    """Shapes are those of the real run, whichever op changed them in place."""
    x = torch.randn(6, 4)
    real = Forward(GEOMETRY[name])(x)
    expected = [tuple(t.shape) for t in (real if isinstance(real, tuple) else (real,))]
    trace = archcalc.trace(Forward(GEOMETRY[name]), (6, 4))
    assert [trace.shape(i) for i in trace.output_tensors] == expected


def test_the_inputs_of_an_op_are_recorded_as_they_were() -> None:
    """`t_` gets 6x4 and gives 4x6."""
    call = archcalc.trace(Forward(GEOMETRY["t_"]), (6, 4)).calls[-1]
    trace = archcalc.trace(Forward(GEOMETRY["t_"]), (6, 4))
    assert (trace.shape(next(call.tensors())), trace.shape(call.outputs[0])) == ((6, 4), (4, 6))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_batch_first_recurrent_layers(kind: Any) -> None:
    """N x T x C in, N x T x H out."""
    trace = archcalc.trace(kind(4, 3, batch_first=True), (2, 5, 4))
    assert trace.shape(trace.output_tensors[0]) == (2, 5, 3)


def test_a_resized_tensor_takes_the_larger_storage() -> None:
    """6x4 floats are 96 bytes, 9x7 are 252: the second storage is born when the first dies."""
    made = report(Forward(lambda m, x: x.clone().resize_(9, 7)), (6, 4))
    sizes = [(s.bytes, s.birth, s.death) for s in made.trace.storages if s.birth > -1]
    assert sizes == [(96, 0, 1), (252, 1, None)]


# ---- devices ---------------------------------------------------------------------------------------


class OnCuda(nn.Module):
    """Linear(16, 32) and Linear(32, 4): 544 + 132 parameters; 2·512 + 2·128 multiply-adds on 2x16."""

    def __init__(self, place: Any) -> None:
        super().__init__()
        self.body = place(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 16).cuda()
        mask = torch.arange(16, device="cuda").float().to("cuda:0", non_blocking=True)
        with torch.autocast(device_type=x.device.type, enabled=False):
            return self.body((x.type(h.type()) + h) * mask.type_as(x).cpu())


@pytest.mark.parametrize("place", [lambda m: m.cuda(), lambda m: m.to("cuda"), lambda m: m.to(torch.device("cuda"))])
def test_a_named_device_is_a_device(place: Any) -> None:
    """Code that names cuda is analysed as it is, and a note says so."""
    made = report(lambda_class(place), (2, 16))
    assert (made.params, made.macs, made.output_shape) == (676, 1280, (2, 4))
    assert any("names the device cuda" in note for note in made.trace.notes)


def lambda_class(place: Any) -> type[nn.Module]:
    """A class that can be built without arguments, so that its constructor is seen, too."""

    class Placed(OnCuda):
        def __init__(self) -> None:
            super().__init__(place)

    return Placed


def test_code_that_names_no_device_has_no_note() -> None:
    made = report(Forward(lambda m, x: m.linear(x.to(x.device).cpu())), (2, 4))
    assert made.trace.notes == ()


# ---- packed sequences -------------------------------------------------------------------------------


class Packed(nn.Module):
    """LSTM(20, hidden 32, proj 8), two layers, both directions: 2·(3,840 + 3,328) = 14,336 multiply-adds a step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(20, 32, 2, batch_first=True, bidirectional=True, proj_size=8)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        out, _ = self.rnn(pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(out, batch_first=True)[0]


class PackedConstant(Packed):
    """The lengths are numbers of the program."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, torch.tensor([7, 3, 1]))


class PackedList(Packed):
    """A list of sequences of 7, 3 and 1 steps."""

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(pack_sequence([x[0], x[1, :3], x[2, :1]]))
        return pad_packed_sequence(out, batch_first=True)[0]


PADDED = 3 * 7 * 14_336
BY_LENGTH = (7 + 3 + 1) * 14_336


@pytest.mark.parametrize(
    ("model", "inputs", "lengths", "macs"),
    [
        (PackedConstant, "3x7x20", None, BY_LENGTH),
        (PackedList, "3x7x20", None, BY_LENGTH),
        (Packed, (torch.zeros(3, 7, 20), torch.tensor([7, 3, 1])), None, BY_LENGTH),
        (Packed, ["3x7x20", "int64:3"], (7, 3, 1), BY_LENGTH),
        (Packed, ["3x7x20", "int64:3"], (1, 7, 3), BY_LENGTH),
        (Packed, ["3x7x20", "int64:3"], None, PADDED),
    ],
)
def test_packed_sequences(model: Any, inputs: Any, lengths: Any, macs: int) -> None:
    """Constant, given and typed lengths count their steps; unknown ones the full length, and a note says so."""
    made = report(model(), inputs, setup=Setup(lengths=lengths))
    assert (made.macs, made.output_shape) == (macs, (3, 7, 16))
    assert any("full length" in note for note in made.trace.notes) == (macs == PADDED)


@pytest.mark.parametrize("lengths", [(9, 3, 1), (7, 3)])
def test_lengths_that_do_not_fit(lengths: Any) -> None:
    with pytest.raises(BadInput, match="3 sequences of at most 7"):
        archcalc.trace(Packed(), ["3x7x20", "int64:3"], setup=Setup(lengths=lengths))


@pytest.mark.parametrize("model", [PackedConstant(), nn.Flatten()])
def test_lengths_that_change_nothing(model: nn.Module) -> None:
    """A program that packs nothing, or that gives its lengths itself."""
    with pytest.raises(WrongUse, match="lengths changes nothing"):
        archcalc.trace(model, (3, 7, 20), setup=Setup(lengths=(7, 3, 1)))


def test_what_is_written_by_name_is_unknown() -> None:
    """A constant that an op writes as its result (`out=`) has no known values any more."""

    def forward(m: Forward, x: Tensor) -> Tensor:
        total = torch.tensor([1.0, 2.0, 3.0])
        torch.sum(m.linear(x), 0, out=total)
        return x[: int(total[0])]

    with pytest.raises(NeedsData):
        archcalc.trace(Forward(forward), (6, 4))


# ---- transforms, copies, lazy modules, sparse and nested tensors ------------------------------------


class Ensemble(nn.Module):
    """Five Linear(4, 3), run at once: 5·2·12 multiply-adds on 2x4."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([nn.Linear(4, 3) for _ in range(5)])

    def forward(self, x: Tensor) -> Tensor:
        parameters, buffers = torch.func.stack_module_state(list(self.members))
        base = self.members[0]

        def one(parameters: Any, buffers: Any) -> Any:
            return torch.func.functional_call(base, (parameters, buffers), (x,))

        return torch.vmap(one)(parameters, buffers)


TRANSFORMS = {
    "vmap of a module": (lambda m, x: torch.vmap(m.linear)(x), (5, 2, 4), 5 * 2 * 12),
    # forward of 2 samples, then the row of each of 3 outputs: 2·12 + 3·2·12
    "jacrev": (lambda m, x: torch.vmap(torch.func.jacrev(m.linear))(x), (2, 4), 2 * 12 + 3 * 2 * 12),
    "a copy made in forward": (lambda m, x: copy.deepcopy(m.linear)(x), (2, 4), 2 * 12),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    function, shape, macs = TRANSFORMS[name]
    made = report(Forward(function), shape)
    assert (made.macs, made.output_shape) == (macs, tuple(Forward(function)(torch.randn(shape)).shape))


def test_an_ensemble() -> None:
    assert (report(Ensemble(), (2, 4)).macs, report(Ensemble(), (2, 4)).output_shape) == (5 * 2 * 12, (5, 2, 3))


class Lazy(nn.Module):
    """On 2x3x8x8: a convolution of 8·27 + 8, a batch norm of 16, and Linear(288, 10) parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.LazyLinear(10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(x)).flatten(1))


@pytest.mark.parametrize("model", [Lazy, Lazy()])
@pytest.mark.parametrize("train", [False, True])
def test_lazy_modules_are_shaped_by_the_run(model: Any, train: bool) -> None:
    made = report(model, (2, 3, 8, 8), train=train)
    assert made.params == (8 * 27 + 8) + 16 + (288 * 10 + 10)


def test_a_lazy_module_that_is_not_run() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.LazyLinear(3)

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(CannotImport, match=r"linear\.weight is lazy, and forward does not run it"):
        archcalc.trace(Unused, (2, 3))


NOT_DENSE = {
    "made sparse": lambda m, x: m.linear(x).to_sparse(),
    "sparse product": lambda m, x: torch.sparse.mm(torch.eye(2).to_sparse(), m.linear(x)),
    "compressed rows": lambda m, x: torch.eye(2).to_sparse_csr() @ m.linear(x),
    "jagged": lambda m, x: torch.nested.as_nested_tensor([x, x[:1]], layout=torch.jagged),
}


@pytest.mark.parametrize("name", NOT_DENSE)
def test_sparse_and_nested_tensors_end_in_a_sentence(name: str) -> None:
    with pytest.raises((CannotFollow, NeedsData)) as caught:
        archcalc.trace(Forward(NOT_DENSE[name]), (2, 4))
    assert "sparse" in str(caught.value) or "nested" in str(caught.value)


# ---- values that are known -------------------------------------------------------------------------


class Buffers(nn.Module):
    """Forward asks for numbers that the constructor left in buffers, changed after they were registered."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sizes", torch.tensor([2, 3]))
        self.register_buffer("mask", torch.tril(torch.ones(3, 3)))
        self.mask[0, 2] = 7
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        assert self.mask.sum() == 13  # 6 ones below and on the diagonal, and 7
        return self.linear(x).view(*self.sizes.tolist(), -1)[:, self.mask[0] > 0]


@pytest.mark.parametrize("model", [Buffers, Buffers(), lambda: copy.deepcopy(Buffers())])
def test_numbers_in_buffers_stay_known(model: Any) -> None:
    model = model() if not isinstance(model, type | nn.Module) else model
    assert report(model, (6, 4)).output_shape == (2, 2, 3)


def test_a_mask_decides_the_shape_of_a_selection() -> None:
    """Which elements a known mask picks needs no values of the tensor that they are picked from."""
    made = report(Forward(lambda m, x: m.linear(x)[torch.arange(6) % 2 == 0].masked_select(torch.eye(3) > 0)), (6, 4))
    assert made.output_shape == (3,)


def test_integers_that_are_given_are_known_and_said() -> None:
    made = report(Forward(lambda m, x, n: m.linear(x)[: int(n.max())]), (torch.zeros(6, 4), torch.tensor([2, 5])))
    assert made.output_shape == (5, 3)
    assert any("the values of input" in note for note in made.trace.notes)


OUT_OF_BOUNDS = {
    "gather": lambda m, x: x.gather(1, torch.tensor([[4]])),
    "scatter": lambda m, x: x.clone().scatter_(0, torch.tensor([[-1]]), 1.0),
    "index_select": lambda m, x: x.index_select(0, torch.tensor([6])),
    "index": lambda m, x: x[torch.tensor([-7])],
    "embedding": lambda m, x: nn.functional.embedding(torch.tensor([6]), x),
    "take": lambda m, x: x.take(torch.tensor([24])),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_known_indices_out_of_bounds_are_refused(name: str) -> None:
    """On 6x4, as the real run refuses them."""
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        Forward(OUT_OF_BOUNDS[name])(torch.randn(6, 4))
    with pytest.raises(ForwardFailed, match="out of bounds"):
        archcalc.trace(Forward(OUT_OF_BOUNDS[name]), (6, 4))


# ---- draws -------------------------------------------------------------------------------------------

DRAWS = {
    "Python": lambda: random.random() < 0.5,
    "torch": lambda: torch.rand(1).item() < 0.5,
    "torch, compared": lambda: bool(torch.rand(()) < 0.5),
    "a generator of torch": lambda: int(torch.randint(0, 2, (1,))) == 0,
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_that_decides_is_seeded_and_said(name: str) -> None:
    """Ten layers, each dropped by a draw: the same figures in every run, whatever was drawn before, and a note."""

    def dropping(m: Forward, x: Tensor) -> Tensor:
        for _ in range(10):
            x = x if DRAWS[name]() else m.linear(x) @ torch.ones(3, 4)
        return x

    made = [report(Forward(dropping), (2, 4)) for _ in range(3)]
    assert len({one.macs for one in made}) == 1
    assert any("a draw at random" in note for note in made[0].trace.notes)


def test_draws_that_decide_nothing_have_no_note() -> None:
    made = report(Forward(lambda m, x: m.linear(x) + torch.rand(3)), (2, 4))
    assert made.trace.notes == ()


# ---- writes that real kernels refuse ---------------------------------------------------------------

OVERLAPS = {
    "an expanded tensor": lambda m, x: x[:, :1].expand(6, 4).add_(1),
    "an activation in place": lambda m, x: torch.relu_(x[:, :1].expand(6, 4)),
    "a shifted copy": lambda m, x: x.view(-1)[:-1].copy_(x.view(-1)[1:]),
    "a shifted result": lambda m, x: torch.add(x.view(-1)[:-1], 1, out=x.view(-1)[1:]),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlapping_writes_are_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match="unsupported operation"):
        Forward(OVERLAPS[name])(torch.randn(6, 4))
    with pytest.raises(ForwardFailed, match="unsupported operation"):
        archcalc.trace(Forward(OVERLAPS[name]), (6, 4))


def test_writes_that_may_overlap() -> None:
    made = report(Forward(lambda m, x: x[:, :1].expand(6, 4).fill_(1).add(x).add_(x)), (6, 4))
    assert made.output_shape == (6, 4)
