"""Formulas: hand-derived MACs of small models, torch's own counter, and completeness over ATen."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from archcalc.ops import contraction, elementwise
from archcalc.ops.names import base_name
from archcalc.ops.registry import FREE, OPS, Op, counted_as, known
from tests.helpers import report


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


ATTENTION = nn.MultiheadAttention(8, 2, device="meta")
# name, function or module, input shapes, MACs by hand
# fmt: off
CASES: list[tuple[str, Any, list[tuple[int, ...]], int]] = [
    ("linear", nn.Linear(5, 7), [(3, 5)], 3 * 5 * 7),
    ("linear without bias", nn.Linear(5, 7, bias=False), [(2, 3, 5)], 2 * 3 * 5 * 7),
    ("conv1d", nn.Conv1d(4, 6, 3), [(2, 4, 10)], 2 * 6 * 8 * 4 * 3),
    ("conv2d", nn.Conv2d(4, 6, 3, padding=1), [(2, 4, 8, 8)], 2 * 6 * 64 * 4 * 9),
    ("conv2d stride", nn.Conv2d(4, 6, 3, stride=2), [(1, 4, 9, 9)], 6 * 16 * 4 * 9),
    ("conv2d dilation", nn.Conv2d(4, 6, 3, dilation=2), [(1, 4, 9, 9)], 6 * 25 * 4 * 9),
    ("conv2d groups", nn.Conv2d(4, 6, 3, groups=2), [(1, 4, 5, 5)], 6 * 9 * 2 * 9),
    ("conv2d depthwise", nn.Conv2d(4, 4, 3, groups=4), [(1, 4, 5, 5)], 4 * 9 * 9),
    ("conv2d same padding", nn.Conv2d(4, 6, 3, padding="same"), [(1, 4, 5, 5)], 6 * 25 * 4 * 9),
    ("conv2d without batch", nn.Conv2d(4, 6, 3), [(4, 5, 5)], 6 * 9 * 4 * 9),
    ("conv3d", nn.Conv3d(2, 3, 3), [(1, 2, 5, 5, 5)], 3 * 27 * 2 * 27),
    ("transposed conv1d", nn.ConvTranspose1d(4, 6, 3, stride=2), [(1, 4, 5)], 4 * 5 * 6 * 3),
    ("transposed conv2d", nn.ConvTranspose2d(4, 6, 3, stride=2), [(1, 4, 5, 5)], 4 * 25 * 6 * 9),
    ("transposed conv2d groups", nn.ConvTranspose2d(4, 6, 3, groups=2), [(1, 4, 5, 5)], 4 * 25 * 3 * 9),
    ("transposed conv3d", nn.ConvTranspose3d(2, 3, 2, stride=2), [(1, 2, 3, 3, 3)], 2 * 27 * 3 * 8),
    ("mm", Function(torch.mm), [(3, 4), (4, 5)], 3 * 4 * 5),
    ("mat @ vec", Function(torch.matmul), [(3, 4), (4,)], 3 * 4),
    ("vec @ mat", Function(torch.matmul), [(4,), (4, 3)], 3 * 4),
    ("dot", Function(torch.dot), [(9,), (9,)], 9),
    ("batched matmul, broadcast", Function(torch.matmul), [(2, 1, 3, 4), (5, 4, 6)], 2 * 5 * 3 * 4 * 6),
    ("addmv", Function(torch.addmv), [(3,), (3, 4), (4,)], 3 * 4),
    ("addbmm", Function(torch.addbmm), [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    ("baddbmm", Function(torch.baddbmm), [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    ("einsum", Function(lambda a, b: torch.einsum("bij,bjk->bik", a, b)), [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    ("einsum over heads", Function(lambda q, k: torch.einsum("bqhd,bkhd->bhqk", q, k)), [(2, 5, 3, 4), (2, 6, 3, 4)], 2 * 3 * 5 * 6 * 4),
    ("tensordot", Function(lambda a, b: torch.tensordot(a, b, 2)), [(2, 3, 4), (3, 4, 5)], 2 * 3 * 4 * 5),
    ("bilinear", nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], 2 * 5 * 3 * 4),
    ("attention", Function(F.scaled_dot_product_attention), [(1, 2, 5, 8)] * 3, 2 * 5 * 5 * (8 + 8)),
    ("attention, unequal lengths and widths", Function(F.scaled_dot_product_attention), [(1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 6)], 2 * 5 * 7 * (8 + 6)),
    ("attention, grouped queries", Function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)), [(1, 4, 5, 8), (1, 2, 5, 8), (1, 2, 5, 8)], 4 * 5 * 5 * 16),
    ("attention, causal", Function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)), [(1, 2, 5, 8)] * 3, 2 * 5 * 5 * 16),
    ("multi-head attention", Function(lambda x: ATTENTION(x, x, x)[0]), [(5, 3, 8)], 3 * 5 * 4 * 64 + 3 * 2 * 5 * 5 * 8),
    ("RNN", nn.RNN(3, 4), [(5, 2, 3)], 5 * 2 * 4 * (3 + 4)),
    ("LSTM", nn.LSTM(3, 4), [(5, 2, 3)], 5 * 2 * 4 * 4 * (3 + 4)),
    ("GRU", nn.GRU(3, 4), [(5, 2, 3)], 5 * 2 * 3 * 4 * (3 + 4)),
    ("LSTM, two layers, both directions", nn.LSTM(3, 4, 2, bidirectional=True), [(5, 2, 3)], 5 * 2 * 2 * 4 * 4 * (3 + 4 + 8 + 4)),
    ("LSTM with projection", nn.LSTM(3, 4, proj_size=2), [(5, 1, 3)], 5 * (4 * 4 * (3 + 2) + 4 * 2)),
    ("LSTM cell", nn.LSTMCell(3, 4), [(2, 3)], 2 * 4 * 4 * (3 + 4)),
    ("encoder layer", nn.TransformerEncoderLayer(8, 2, 16), [(5, 3, 8)], 3 * 5 * (4 * 64 + 2 * 8 * 16) + 3 * 2 * 5 * 5 * 8),
    ("no contraction", nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3)), [(1, 3, 4, 4)], 0),
]
# fmt: on


@pytest.mark.parametrize(("name", "module", "shapes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_macs_by_hand(name: str, module: nn.Module, shapes: list[tuple[int, ...]], expected: int) -> None:
    made = report(module, list(shapes))
    assert made.macs == expected
    assert made.totals["uncounted"] == []


TORCH_MISSES = {
    "mat @ vec": "aten.mv",
    "dot": "aten.dot",
    "addmv": "aten.addmv",
    "bilinear": "aten._trilinear",
    "addbmm": "aten.addbmm",
}


@pytest.mark.parametrize(("name", "module", "shapes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_torch_counts_the_same_or_misses_the_op(
    name: str, module: nn.Module, shapes: list[tuple[int, ...]], expected: int
) -> None:
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module.to("meta").eval()(*inputs)
    theirs = counter.get_total_flops() // 2
    assert theirs == expected or name in TORCH_MISSES, f"torch says {theirs}"
    assert theirs == 0 or name not in TORCH_MISSES, f"torch has learnt {TORCH_MISSES.get(name)}"


def test_an_op_without_a_rule_is_named_and_never_zero() -> None:
    """An inverse is no contraction we have a formula for: the total is a lower bound and says so."""
    made = report(Function(lambda x: torch.linalg.inv(x) @ x), (4, 4))
    assert made.macs == 64
    assert made.totals["uncounted"] == ["aten.linalg_inv_ex"]
    assert any("aten.linalg_inv_ex" in note and "1 call not counted" in note for note in made.notes)


def test_an_op_of_another_library_is_named() -> None:
    with torch.library._scoped_library("archcalc_test", "DEF") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", torch.empty_like, "Meta")
        made = report(Function(torch.ops.archcalc_test.mystery), (2, 2))
    assert made.totals["uncounted"] == ["archcalc_test.mystery"]


def test_a_second_formula_for_an_op_is_refused() -> None:
    with pytest.raises(ValueError, match=r"aten\.mm has the formula mm already"):
        contraction("aten.mm")(lambda self: 0)


def test_every_formula_names_arguments_of_its_op() -> None:
    """A misspelt argument would never be filled in: every name is in the schema of every op the formula serves."""
    import inspect

    for name, entry in OPS.items():
        if entry.formula is None:
            continue
        namespace, op = name.split(".")
        packet = getattr(getattr(torch.ops, namespace), op, None)
        if packet is None or not hasattr(packet, "overloads"):
            assert namespace == "torchvision"
            continue
        known = {a.name for o in packet.overloads() for a in getattr(packet, o)._schema.arguments}
        required = {p.name for p in inspect.signature(entry.formula).parameters.values() if p.default is p.empty}
        assert required <= known | {"output"}, name


def test_sabotage_turns_the_suite_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """A formula that is wrong by one is seen by the comparison with published integers."""
    entry = OPS["aten.convolution"]
    honest = entry.formula
    assert honest is not None
    monkeypatch.setattr(entry, "formula", lambda **k: 0)
    assert report("resnet-20").macs != 40_551_040

    def off_by_one(output: tuple[int, ...], weight: tuple[int, ...]) -> int:
        counted = honest(output, weight)
        assert counted is not None
        return counted + 1

    monkeypatch.setattr(entry, "formula", off_by_one)
    assert report("resnet-20").macs == 40_551_040 + 19  # one for each of 19 convolutions


# ---- elementwise ---------------------------------------------------------------------------------


def aten() -> dict[str, set[str]]:
    """Every ATen op by base name with the tags of its overloads."""
    found: dict[str, set[str]] = {}
    for qualified in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = qualified.partition("::")
        if namespace != "aten":
            continue
        name, _, overload = rest.partition(".")
        op = getattr(getattr(torch.ops.aten, name), overload or "default", None)
        if op is not None:
            base = base_name(f"aten.{name}")
            found.setdefault(base or name, set()).update(str(tag).rpartition(".")[2] for tag in op.tags)
    return found


def test_every_pointwise_and_reducing_op_of_aten_has_a_rule() -> None:
    rules = dict(counted_as())
    missing = {name for name, tags in aten().items() if tags & {"pointwise", "reduction"} and name not in rules}
    assert missing == set()


def test_pointwise_ops_are_not_called_movement() -> None:
    """The exception is clone: torch tags it pointwise, and it computes nothing."""
    free = {name for name, words in counted_as() if words == FREE.words}
    movement = {name for name, tags in aten().items() if "pointwise" in tags and name in free}
    assert movement == {"clone"}


def test_an_op_has_one_entry() -> None:
    with pytest.raises(ValueError, match=r"aten\.relu has an entry already"):
        Op("relu", work=FREE)


def test_a_package_declares_the_work_of_its_ops() -> None:
    elementwise("somelib.gate", an_element=3)
    elementwise("somelib.copy", an_element=0)
    gate, copy = known("somelib.gate.default"), known("somelib.copy")
    assert gate is not None
    assert gate.work is not None
    assert gate.work.words == "3 an output element"
    assert copy is not None
    assert copy.work is FREE


def test_former_places_of_what_packages_import() -> None:
    """For one release the modules that extend.md named before the rooms moved give what stands in its new place."""
    from archcalc.analyses.elementwise import elementwise as former_elementwise
    from archcalc.analyses.formulas import contraction as former_contraction

    assert former_elementwise is elementwise
    assert former_contraction is contraction
    from archcalc.networks import network, spec

    for name in network.__all__:
        assert getattr(network, name) is getattr(spec, name)


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (F.relu, (2, 3), 6),
        (lambda x: x + x, (2, 3), 6),
        (lambda x: x.sum(1), (2, 3), 6),
        (lambda x: F.max_pool2d(x, 2), (1, 1, 4, 4), 4 * 4),  # 2x2 outputs, a window of 4 each
        (lambda x: F.softmax(x, -1), (2, 3), 5 * 6),
        (lambda x: F.layer_norm(x, (3,)), (2, 3), 5 * 6),
        (lambda x: x.reshape(3, 2).t().contiguous(), (2, 3), 0),
        (lambda x: F.conv2d(x, torch.zeros(2, 1, 1, 1), torch.zeros(2)), (1, 1, 3, 3), 2 * 9),  # the bias
        (lambda x: torch.cdist(x, x, p=1.0), (4, 3), 3 * 3 * 16),
    ],
)
def test_elementwise_by_hand(function: Callable[..., Any], shape: tuple[int, ...], expected: int) -> None:
    made = report(Function(function), shape)
    assert made.totals["uncounted"] == []
    assert made.totals["elementwise_flops"] == expected


def test_batch_norm_counts_its_statistics_in_training_only() -> None:
    """Scale and shift: 2 an element; mean and variance: 3 more."""
    evaluated = report(nn.BatchNorm2d(3), (2, 3, 4, 4))
    instance = report(nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 4))
    assert evaluated.totals["elementwise_flops"] == 2 * 96
    assert instance.totals["elementwise_flops"] == 5 * 96


def test_formula_names_are_words_of_their_room() -> None:
    """Every formula has a worked line that runs as a doctest; docs/add-a-formula.md shows one."""
    for formula in {entry.formula for entry in OPS.values() if entry.formula is not None}:
        assert ">>>" in (formula.__doc__ or ""), f"{formula.__name__}: see docs/add-a-formula.md"
