"""Who holds the bytes at a moment, and why: rows that add up, causes by hand, and those of torch's own autograd."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc import Setup, Training, engine
from archcalc.analyses import Memory, Params, analyze
from archcalc.analyses.holders import HeldByModule, held_by_module
from archcalc.analyses.memory import live_bytes
from archcalc.tracing import Trace
from tests.helpers import report, run

pytestmark = pytest.mark.usefixtures("shared_traces")

STEP = Training("momentum")


def at_end_of_forward(model: nn.Module, *shape: int, **setup: Any) -> dict[str, HeldByModule]:
    """What is held while the loss of the second step runs, by its words."""
    trace = engine.trace(model, Setup(training=STEP, **setup), shape)
    rows = held_by_module(trace, trace.steps[-1].loss)
    assert len({row.why for row in rows}) == len(rows)
    return {row.why: row for row in rows}


CASES: tuple[tuple[str, Setup], ...] = (
    ("resnet-20", Setup(batch=2)),
    ("encoder-layer", Setup(device="cpu")),
    ("resnet-20", Setup(batch=2, training=STEP)),
    ("resnet-20", Setup(batch=2, training=STEP, device="cpu", amp="bf16")),
    ("encoder-layer", Setup(training=Training("adam"), device="cuda")),
    ("encoder-layer", Setup(training=Training(checkpoint=("feed_forward",)))),
    ("encoder-layer", Setup(training=Training(recipe="bf16-fp32-master"), device="cuda")),
    ("resnet-20", Setup(training=Training("sgd", accumulation=2, frozen=("layer1",), loss="cross-entropy"))),
    ("lstm", Setup(training=Training("lion"))),
)


@pytest.mark.parametrize(("name", "setup"), CASES)
def test_the_rows_add_up_at_any_moment(name: str, setup: Setup) -> None:
    trace = engine.trace(name, setup)
    live = live_bytes(trace)
    assert live.peak
    first, last = live.span
    moments = {live.peak.call, first, last - 1, *range(first, last, max(1, (last - first) // 5))}
    for moment in sorted(moments):
        rows = held_by_module(trace, moment)
        assert sum(row.bytes for row in rows) == live.timeline[moment], (moment, trace.calls[moment])
        assert all(row.bytes > 0 and row.tensors > 0 for row in rows)


def test_an_activation_in_place_keeps_a_copy() -> None:
    """4x8x6x6 floats are 4,608 bytes. ReLU6's backward needs the input that it overwrites, ReLU's the output."""

    def rows(activation: nn.Module) -> dict[str, HeldByModule]:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), activation, nn.Conv2d(8, 2, 3))
        return at_end_of_forward(net, 4, 3, 8, 8)

    in_place = rows(nn.ReLU6(inplace=True))
    copy = in_place["ReLU6(inplace=True) keeps a copy of its input, which it overwrites"]
    assert (copy.tensors, copy.bytes, copy.example, copy.ops) == (1, 4608, "1", ("aten.hardtanh_backward",))
    assert in_place["Conv2d keeps its input"].bytes == 4608
    fresh = rows(nn.ReLU6())
    assert fresh["ReLU6 keeps its input"].bytes == fresh["Conv2d keeps its input"].bytes == 4608
    both = rows(nn.ReLU(inplace=True))["ReLU(inplace=True) keeps its output, Conv2d its input"]
    assert (both.tensors, both.bytes, both.modules) == (1, 4608, ("ReLU(inplace=True)", "Conv2d"))


def test_a_class_of_the_user_that_is_called_relu_is_told_by_its_ops() -> None:
    """The name of a class decides nothing: this one computes a softmax."""

    class ReLU(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.softmax(x, -1) * 2

    rows = at_end_of_forward(nn.Sequential(nn.Linear(4, 6), ReLU()), 5, 4)
    assert rows["ReLU keeps the result of softmax"].bytes == 5 * 6 * 4


def test_what_dropout_attention_and_norms_keep() -> None:
    """Tensors of 2x5x8 floats have 320 bytes; scores of 2 heads, 5x2x2x2, have 160; CUDA's mask has a byte each."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention, self.dropout = nn.LayerNorm(8), nn.MultiheadAttention(8, 2), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            return self.dropout(self.attention(x, x, x, need_weights=False)[0])

    rows = at_end_of_forward(Net(), 2, 5, 8, attention="math")
    assert rows["Dropout keeps its mask"].bytes == 320
    assert rows["MultiheadAttention keeps the result of safe_softmax"].bytes == 160
    assert rows["LayerNorm keeps its statistics"].bytes == 2 * (2 * 5 * 4)
    assert rows["inputs of the model"].bytes == 320
    on_cuda = at_end_of_forward(Net(), 2, 5, 8, attention="math", device="cuda")
    assert on_cuda["Dropout keeps its mask"].bytes == 512  # 80 bytes in a block


def test_states_stand_at_their_module_and_optimizer() -> None:
    """Linear(4, 6) has 30 parameters, Linear(6, 2) has 14; momentum keeps one tensor of each."""
    trace = engine.trace(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), Setup(training=STEP), (5, 4))
    rows = {row.why: row for row in held_by_module(trace, trace.steps[-1].optimizer)}
    for why in ("Linear: parameters", "Linear: gradients of its parameters", "momentum: momentum_buffer"):
        assert (rows[why].tensors, rows[why].bytes) == (4, 176), why
    assert rows["Linear: parameters"].example == "0"


def test_autocast_keeps_copies_in_the_lower_precision() -> None:
    rows = at_end_of_forward(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), 5, 4, amp="bf16")
    assert rows["Linear keeps a bfloat16 copy of its weights"].bytes == 6 * 2 * 2
    assert rows["Linear keeps a bfloat16 copy of its input"].bytes == 5 * 4 * 2


def test_a_checkpointed_layer_is_made_again() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 6), nn.GELU()), nn.Linear(6, 2))
    trace = engine.trace(net, Setup(training=Training("sgd", checkpoint=("1",))), (5, 4))
    step = trace.steps[-1]
    before = {row.why for row in held_by_module(trace, step.loss)}
    assert "GELU keeps its input" not in before
    moment = next(n for n in range(step.backward, step.end) if trace.calls[n].op == "aten.gelu_backward")
    again = {row.why: row for row in held_by_module(trace, moment)}
    assert again["GELU keeps its input, made again in backward"].bytes == 5 * 6 * 4


class Small(nn.Module):
    """Two convolutions with a shortcut, as in a residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.second, self.gelu, self.pool = nn.Conv2d(8, 8, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)
        self.head = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.pool(x + self.gelu(self.second(x)))
        return self.head(torch.sigmoid(x).flatten(1))


NODES = {
    "ConvolutionBackward0": "aten.convolution_backward",
    "NativeBatchNormBackward0": "aten.native_batch_norm_backward",
    "ReluBackward0": "aten.threshold_backward",
    "GeluBackward0": "aten.gelu_backward",
    "MaxPool2DWithIndicesBackward0": "aten.max_pool2d_with_indices_backward",
    "SigmoidBackward0": "aten.sigmoid_backward",
    "AddmmBackward0": "aten.mm",
}
"""Nodes of autograd, and the op that each runs on what it saved."""


def saved_by_node(out: Tensor, apart: set[int]) -> Counter[frozenset[str]]:
    """Bytes of the storages that torch's graph saves, by the ops of the nodes that save them."""
    keepers: dict[int, set[str]] = {}
    sizes: dict[int, int] = {}
    nodes: list[Any] = [out.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [below for below, _ in node.next_functions]
        for name in dir(node):
            tensor = getattr(node, name) if name.startswith("_saved_") else None
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in apart and tensor.numel():
                key = tensor.untyped_storage().data_ptr()
                keepers.setdefault(key, set()).add(NODES[node.name()])
                sizes[key] = tensor.untyped_storage().nbytes()
    by_ops: Counter[frozenset[str]] = Counter()
    for key, ops in keepers.items():
        by_ops[frozenset(ops)] += sizes[key]
    return by_ops


def test_the_same_ops_keep_the_same_bytes_in_a_real_graph() -> None:
    """Second derivation: what each node of torch's own autograd graph saves in a real forward pass."""
    net, x = Small().train(), torch.randn(2, 3, 8, 8)
    given = {t.untyped_storage().data_ptr() for t in (x, *net.parameters(), *net.buffers())}
    real = saved_by_node(net(x), given)
    ours: Counter[frozenset[str]] = Counter()
    for row in at_end_of_forward(Small(), 2, 3, 8, 8).values():
        if " keeps " in row.why:
            ours[frozenset(row.ops)] += row.bytes
    assert ours == real
    assert len(real) == 5


def kept(trace: Trace) -> int:
    return sum(row.bytes for row in held_by_module(trace, trace.steps[-1].loss) if " keeps " in row.why)


@pytest.mark.parametrize("name", ["resnet-20", "encoder-layer"])
def test_what_modules_keep_at_the_end_of_forward_is_what_autograd_saved(name: str) -> None:
    """The readers of backward find what the hooks of autograd counted: `saved_total_bytes`, derived another way."""
    made = analyze(engine.trace(name, Setup(training=STEP)), (Params(), Memory()))
    assert kept(made.trace) == made.totals["saved_total_bytes"]


def test_the_page_names_modules_first_and_ops_second() -> None:
    ran = run("memory", "resnet-20", "--train", "--batch", "2")
    head = next(line for line in ran.out.splitlines() if line.startswith("held at the peak"))
    assert head.split("   ")[0] == "held at the peak, and why"
    assert head.index("for the op") < head.index("the largest in")
    row = next(line for line in ran.out.splitlines() if line.startswith("BatchNorm2d keeps its input"))
    assert "native_batch_norm_backward" in row


def test_the_second_columns_give_way_in_a_narrow_terminal() -> None:
    from archcalc.render.formats.as_table import as_table
    from archcalc.render.layers import Selection
    from archcalc.render.pages.memory import memory

    document = memory(report("resnet-20", batch=2, train=True), Selection())
    for width, kept_columns in ((140, 2), (80, 0), (None, 2)):
        head = next(line for line in as_table([document], width, False).splitlines() if line.startswith("held at"))
        assert ("for the op" in head) + ("the largest in" in head) == kept_columns, width
        assert width is None or len(head) <= width
