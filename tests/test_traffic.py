"""Bytes that ops read and write, against closed forms, ShuffleNet v2's tables and real tensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations
from math import sqrt

import pytest
import torch
from torch import nn

import archcalc
from archcalc.analyses import Traffic, analyze
from archcalc.analyses.fusion import chained
from archcalc.analyses.kernels import Span, kernels
from archcalc.analyses.traffic import Kernels
from archcalc.engine.setup import Training
from archcalc.ops.registry import known, traffic_of
from archcalc.tracing import Trace
from bench.traffic_order import TABLE_3, figures, fragmented, right
from tests.helpers import in_rows

pytestmark = pytest.mark.usefixtures("shared_traces")

FLOAT = 4


@pytest.mark.parametrize(
    ("optimizer", "numbers"), [("sgd", 2 + 1), ("momentum", 3 + 2), ("adam", 4 + 3), ("adamw", 4 + 3)]
)
def test_a_compiled_optimizer_moves_each_number_once(optimizer: str, numbers: int) -> None:
    """Weights, gradients and state are read once, weights and state written once; the rest are the counts of steps."""
    network = nn.Linear(64, 64, bias=False)
    trace = archcalc.trace(network, "4x64", train=Training(optimizer))
    phases = analyze(trace, [Traffic(fused=True)]).record(Kernels).bytes_by_phase
    assert phases["optimizer"] == pytest.approx(numbers * 64 * 64 * FLOAT, abs=4 * FLOAT)


def test_a_compiled_split_writes_the_part_that_others_read() -> None:
    """A product reads one half of a sigmoid of 4 rows of 8 numbers, and the end reads the other or none.

    128 B are read in any case; written are both halves, or the 64 B of one.
    """

    class Gated(nn.Module):
        def __init__(self, second: bool) -> None:
            super().__init__()
            self.product, self.second = nn.Linear(4, 4, bias=False), second

        def forward(self, x):
            left, right = x.sigmoid().chunk(2, dim=-1)
            return self.product(left) + (right if self.second else 0.0)

    for second, written in ((True, 128), (False, 64)):
        trace = archcalc.trace(Gated(second), "4x8")
        kernel = analyze(trace, [Traffic(fused=True)]).record(Kernels).kernels[0]
        assert (kernel.read, kernel.total - kernel.read) == (128, written), second


def moved(module, *shapes, **how):
    """Bytes read and written by the forward pass of a module."""
    report = archcalc.analyze(module, list(shapes), **how)
    return report.totals["read_bytes"], report.totals["written_bytes"]


class Of(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function, **tensors):
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, *args):
        return self.function(self, *args)


@pytest.mark.parametrize(("c1", "c2", "groups", "size", "batch"), [(128, 128, 1, 56, 1), (90, 180, 2, 14, 3)])
def test_a_1x1_convolution_moves_what_the_paper_says(c1, c2, groups, size, batch):
    """Ma et al. 2018, section 2: hw(c1 + c2) + c1·c2/g elements; a batch of N has N·hw positions."""
    hw = batch * size * size
    convolution = nn.Conv2d(c1, c2, 1, groups=groups, bias=False)
    read, written = moved(convolution, (batch, c1, size, size))
    assert read == FLOAT * (hw * c1 + c1 * c2 // groups)
    assert written == FLOAT * hw * c2


CASES = [
    ("in place reads and writes", lambda m, x: x.add_(1), 100 * 4, 100 * 4),
    ("a square reads once", lambda m, x: x * x, 100 * 4, 100 * 4),
    ("a view moves nothing", lambda m, x: x.view(100).t(), 0, 0),
    ("a slice moves nothing, its sum the slice", lambda m, x: x[:, :5] + 1, 50 * 4, 50 * 4),
    ("expanded tensors are read as they lie", lambda m, x: x[:1].expand(10, 10) + 1, 10 * 4, 100 * 4),
    ("a copy reads its source alone", lambda m, x: torch.empty(10, 10).copy_(x), 100 * 4, 100 * 4),
    ("reserving is free", lambda m, x: torch.empty(10, 10), 0, 0),
    ("zeros are written", lambda m, x: torch.zeros_like(x), 0, 100 * 4),
    ("fill_ does not read", lambda m, x: x.fill_(2), 0, 100 * 4),
    ("a lookup reads its rows", lambda m, x: m.table[m.rows], 3 * 7 * 4 + 3 * 8, 3 * 7 * 4),
    ("index_select too", lambda m, x: m.table.index_select(0, m.rows), 3 * 7 * 4 + 3 * 8, 3 * 7 * 4),
    ("a gather reads its elements", lambda m, x: x.gather(1, m.places), 20 * 4 + 20 * 8, 20 * 4),
    ("index_add_ reads and writes its rows", lambda m, x: m.table.index_add_(0, m.rows, m.three), 2 * 84 + 24, 84),
    ("index_copy_ writes its rows", lambda m, x: m.table.index_copy_(0, m.rows, m.three), 84 + 24, 84),
    ("scatter_ writes its elements", lambda m, x: x.scatter_(1, m.places, m.twenty), 20 * 4 + 20 * 8, 20 * 4),
    ("index_put_ writes its rows", lambda m, x: m.table.index_put_((m.rows,), m.three), 84 + 24, 84),
    ("beta 0 leaves the addend unread", lambda m, x: torch.addmm(x, x, x, beta=0), 100 * 4, 100 * 4),
    ("windows of a line read the line once", lambda m, x: x.view(100).unfold(0, 10, 5) + 1, 100 * 4, 190 * 4),
    ("half precision is half the bytes", lambda m, x: x.half() + 1, 400 + 200, 200 + 200),
]


@pytest.mark.parametrize(("words", "function", "read", "written"), CASES, ids=[case[0] for case in CASES])
def test_each_kind_of_op(words, function, read, written):
    """One op reads each of its inputs once and writes each output once; what differs is listed above."""
    tensors = {
        "table": torch.zeros(1000, 7), "rows": torch.tensor([1, 5, 3]), "three": torch.zeros(3, 7),
        "places": torch.zeros(10, 2, dtype=torch.int64), "twenty": torch.zeros(10, 2),
    }  # fmt: skip
    assert moved(Of(function, **tensors), (10, 10)) == (read, written)


def test_batch_norm_in_training_writes_its_statistics():
    """X is read, y, mean and inverse deviation are written, and the running ones are read and written."""
    norm = nn.BatchNorm2d(8)
    trace = archcalc.trace(norm, [(2, 8, 4, 4)], mode="train")
    norms = [traffic_of(trace, call) for call in trace.calls if "batch_norm" in call.op]
    x, c = 2 * 8 * 16 * FLOAT, 8 * FLOAT
    assert [(found.read, found.written) for found in norms] == [(x + 4 * c, x + 2 * c + 2 * c)]


def test_the_gradients_of_a_convolution_read_what_they_need():
    """The input's gradient needs the weight, the weight's gradient the input; the first layer has the second alone."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 5, 1, bias=False))
    trace = archcalc.trace(net, [(1, 3, 8, 8)], train=True)
    step = trace.steps[-1]
    backward = [
        traffic_of(trace, call)
        for call in trace.calls[step.backward : step.optimizer]
        if call.op == "aten.convolution_backward"
    ]
    second, first = backward
    x, y = (FLOAT * channels * 64 for channels in (3, 4))
    one = FLOAT  # the gradient of a sum is a single number, expanded
    assert (second.read, second.written) == (one + FLOAT * 20 + y, y + FLOAT * 20)
    assert (first.read, first.written) == (y + x, FLOAT * 12)


TABLE_1 = {
    (128, 128): (1480, 723, 232),
    (90, 180): (1296, 586, 206),
    (52, 312): (876, 489, 189),
    (36, 432): (748, 392, 163),
}
"""ShuffleNet v2 (arXiv 1807.11164), table 1: c1, c2 of ten blocks c1 -> c2 -> c1 at 56x56, batches a second on a GPU
with 1, 2 and 4 images."""
TABLE_2 = {
    (1, 128): (2451, 1289, 437),
    (2, 180): (1725, 873, 341),
    (4, 256): (1026, 644, 338),
    (8, 360): (634, 445, 230),
}
"""Table 2: groups and channels of ten 1x1 convolutions."""


def _blocks(layers):
    return nn.Sequential(*layers)


def _pairs(traffic, speeds):
    """How many pairs of networks the traffic puts in the order of the published speeds, of how many."""
    right = total = 0
    for one, two in combinations(speeds, 2):
        for column in range(3):
            total += 1
            right += (traffic[one, column] < traffic[two, column]) == (speeds[one][column] > speeds[two][column])
    return right, total


def test_traffic_orders_the_speeds_of_the_papers_tables():
    """In 36 of 36 pairs of the GPU columns of tables 1 and 2, at equal multiply-adds."""

    def of(layers, channels, batch):
        return sum(moved(_blocks(layers), (batch, channels, 56, 56)))

    unequal = {
        (pair, column): of(
            [nn.Conv2d(a, b, 1, bias=False) for _ in range(10) for a, b in (pair, pair[::-1])], pair[0], batch
        )
        for pair in TABLE_1
        for column, batch in enumerate((1, 2, 4))
    }
    grouped = {
        ((g, c), column): of([nn.Conv2d(c, c, 1, groups=g, bias=False) for _ in range(10)], c, batch)
        for g, c in TABLE_2
        for column, batch in enumerate((1, 2, 4))
    }
    assert _pairs(unequal, TABLE_1) == (18, 18)
    assert _pairs(grouped, TABLE_2) == (18, 18)
    # equal bounds: G1's ratios as the tables' channels give them, 1.000, 1.059, 1.420, 1.859 over table 1
    ratios = []
    for c1, c2 in TABLE_1:
        hw, b = 56 * 56, 56 * 56 * c1 * c2
        one = unequal[(c1, c2), 0] / FLOAT / 20  # two convolutions a block
        ratios.append(round(one / (2 * sqrt(hw * b) + b / hw), 3))
    assert ratios == [1.0, 1.059, 1.42, 1.859]


def test_traffic_orders_the_fragments_of_table_3():
    """At a batch of 1, elements of a fragment as 2hwc + c², of a sum 3hwc: in 27 of 30 pairs on the GPU.

    Multiply-adds differ by the rounding of c / sqrt(n) alone.
    """

    def elements(fragments, way, whole):
        c, hw = round(whole / fragments**0.5), 56 * 56
        return 10 * (fragments * (2 * hw * c + c * c) + (fragments - 1) * 3 * hw * c * (way == "parallel"))

    right_ = 0
    for whole, speeds in TABLE_3["GTX 1080 Ti"].items():
        ours = {key: figures(*fragmented(*key, whole), 1) for key in speeds}
        assert {key: traffic for key, (_, traffic) in ours.items()} == {
            key: FLOAT * elements(*key, whole) for key in speeds
        }
        right_ += right({key: traffic for key, (_, traffic) in ours.items()}, speeds)[0]
    assert right_ == 27


def test_the_shufflenets_as_their_papers_compare_them():
    """Elements read and written: 26.04 M of v1, 16.94 M of v2, an index of max pooling as one element."""

    def elements(name):
        trace = archcalc.trace(name)
        indices = sum(
            trace.tensors[call.outputs[1]].distinct_bytes // 8
            for call in trace.calls
            if call.op == "aten.max_pool2d_with_indices"
        )
        return analyze(trace, (Traffic(),)).totals["traffic_bytes"] // FLOAT - indices

    assert round(elements("shufflenet-v1") / 1e6, 2) == 26.04
    assert round(elements("shufflenet-v2") / 1e6, 2) == 16.94


def test_the_law_of_a_convolution():
    """4 bytes · (hw(c1 + c2) + k²·c1·c2/g), found from traces."""
    laws = archcalc.law("conv", "in_channels,out_channels,groups,size".split(","), "traffic_bytes")
    assert "4·Cin·S² + 4·Cout·S² + 36·Cin·Cout/g" in laws.to_markdown().replace("\\", "")


def test_fused_chains_read_and_write_once():
    """conv, norm, relu, add: the chain behind the convolution reads its two inputs and writes one result."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)) + x)

    trace = archcalc.trace(Residual(), [(1, 8, 10, 10)])
    x, weight, channels = FLOAT * 800, FLOAT * 64, FLOAT * 8
    apart, fused = (analyze(trace, (Traffic(fused),)).totals["traffic_bytes"] for fused in (False, True))
    convolution = 2 * x + weight
    assert apart == convolution + (2 * x + 4 * channels) + 3 * x + 2 * x  # norm, add, relu
    assert fused == convolution + (3 * x + 4 * channels)  # the convolution's result, x and the statistics in, one out


def test_a_chain_does_not_reach_round_another_kernel():
    """A = relu(x); y = a @ w; y + a: the sum waits for the product, so it cannot be in one kernel with the relu."""

    def forward(module, x):
        a = torch.relu(x)
        return a @ module.w + a

    trace = archcalc.trace(Of(forward, w=torch.zeros(10, 10)), [(10, 10)])
    calls = Span(trace, range(len(trace.calls)))
    found = chained(calls, kernels(calls))
    assert len(found) == 3
    assert [kernel.total for kernel in found] == [800, 1200, 1200]


def test_fused_never_moves_more():
    """Over networks of several kinds, in a forward pass and in a training step."""
    for name, how in (("resnet-18", {}), ("gpt2", {"seq_len": 16}), ("lstm", {"train": True}), ("se-resnet-50", {})):
        trace = archcalc.trace(name, **how)
        apart, fused = (analyze(trace, (Traffic(fused),)).totals["traffic_bytes"] for fused in (False, True))
        assert 0 < fused < apart, name


def test_every_op_of_a_training_step_is_known():
    """Backward, loss and optimizers have rules, one tensor at a time and in lists."""
    for name, how in (
        ("resnet-18", {"train": Training("adamw")}),
        ("gpt2", {"train": Training("adam"), "seq_len": 16, "device": "cuda"}),
        ("inception", {"train": Training("sgd", "cross-entropy")}),
    ):
        report = analyze(archcalc.trace(name, **how), (Traffic(),))
        assert report.totals["traffic_unknown"] == [], name


def test_an_unknown_op_is_named_and_the_total_marked():
    """Nothing is counted for it, and the answer says so."""
    library = torch.library.Library("traffictest", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x + 1, "CompositeExplicitAutograd")
    try:
        report = archcalc.analyze(Of(lambda m, x: torch.ops.traffictest.mystery(x) + 1), [(10,)])
    finally:
        library._destroy()
    assert report.totals["traffic_unknown"] in ([], ["traffictest.mystery"])
    if known("traffictest.mystery") is None and report.totals["traffic_unknown"]:
        assert report.totals["traffic_bytes"] == 80


def test_batches_move_more_and_weights_once():
    """Traffic is a + b·N: the weights do not depend on the batch."""
    one, two, four = (archcalc.analyze("resnet-18", batch=n).totals["traffic_bytes"] for n in (1, 2, 4))
    assert four - two == 2 * (two - one)
    assert 2 * one - two > archcalc.params("resnet-18").totals["params_bytes"]


def test_a_trace_of_schema_version_1_is_read_and_says_what_it_lacks():
    """Without strides and written inputs: expanded tensors count in full, and names tell what is in place."""
    trace = archcalc.trace(Of(lambda m, x: (x[:1].expand(10, 10) + 1).add_(1)), [(10, 10)])
    document = json.loads(in_rows(trace))
    document["schema_version"] = 1
    for tensor in document["trace"]["tensors"]:
        del tensor["strides"], tensor["offset"]
    for call in document["trace"]["calls"]:
        del call["writes"]
    former = Trace.from_json(json.dumps(document))
    now, then = (analyze(t, (Traffic(),)) for t in (trace, former))
    assert now.totals["traffic_bytes"] == 40 + 400 + 800
    assert then.totals["traffic_bytes"] == 400 + 400 + 800
    assert any("schema_version 1" in note for note in then.notes)
    assert not now.notes
    assert asdict(Trace.from_json(trace.to_json())) == asdict(trace)


@pytest.mark.parametrize("kind", [1, "x", [1]])
def test_a_stored_trace_with_wrong_strides_is_refused(kind):
    """A damaged file is one sentence."""
    document = json.loads(in_rows(archcalc.trace("conv")))
    document["trace"]["tensors"][0]["strides"] = kind
    with pytest.raises(archcalc.ArchcalcError, match="stride"):
        Trace.from_json(json.dumps(document))
