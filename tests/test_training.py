"""Memory of a training step: by hand, against the real allocator, and as the options change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import archcalc
from archcalc import engine
from archcalc.analyses import Memory, analyze
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.errors import ForwardFailed, WrongUse
from archcalc.tracing import Trace
from bench.memory_truth import Case, row
from tests.helpers import check_report, run, totals
from tests.regenerate import DEPTHS, all_networks, densenet_laws, densenet_traced


def trained(model: Any, inputs: Any = None, batch: int | None = None, device: str = "", **training: Any) -> Report:
    setup = Setup(batch=batch, training=Training(**{"optimizer": "sgd", **training}), device=device)
    made = analyze(engine.trace(model, setup, inputs))
    check_report(made)
    return made


class Chain(nn.Sequential):
    """4 -> 8 -> 2 without biases: weights of 128 and 64 bytes."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))


def test_a_chain_of_linears_by_hand() -> None:
    """Batch 3: input 48, hidden 96 (the ReLU's output, kept; its input is not), output 24, loss 4, both gradients.

    The most is live when the first weight's gradient is made, beside the second's and the hidden gradient.
    """
    made = trained(Chain(), (3, 4))
    weights, hidden = 128 + 64, 3 * 8 * 4
    assert made.totals["saved_total_bytes"] == hidden
    assert made.layers["1"].own["kept_bytes"] == hidden
    assert made.totals["params_bytes"] == weights
    assert made.totals["optimizer_bytes"] == 0
    step = made.trace.steps[-1]
    live = made.record(LiveBytes).timeline
    outputs = 24 + 4 + 4  # the output, the loss, and the 1 that backward begins with
    assert live[step.optimizer - 1] == weights + 48 + outputs + weights  # gradients are as large as the weights
    assert made.totals["first_step_peak_bytes"] == made.totals["peak_bytes"]


def test_what_is_kept_is_affine_in_the_batch() -> None:
    """Batch norm keeps statistics that the batch does not change: 3 points on a line that misses zero."""
    kept = [trained("resnet-20", batch=batch).totals["saved_total_bytes"] for batch in (2, 4, 6)]
    assert kept[2] - kept[1] == kept[1] - kept[0] > 0
    assert kept[0] < 2 * (kept[1] - kept[0]) + kept[0]


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ("sgd", 0),
        ("momentum", 192),
        ("adam", 2 * 192 + 2 * 4),  # two averages, and a count of steps for each tensor
        ("adamw", 2 * 192 + 2 * 4),
        ("adafactor", 4 * (8 + 4) + 4 * (2 + 8) + 2 * 4),  # a row and a column of each matrix
        ("lion", 192),
    ],
)
def test_the_state_of_each_optimizer(optimizer: str, state: int) -> None:
    made = trained(Chain(), (3, 4), optimizer=optimizer)
    bill = made.totals
    assert bill["optimizer_bytes"] == state
    assert made.totals["first_step_peak_bytes"] <= made.totals["peak_bytes"] + state


EXACT = (
    Case("lstm", 2),
    Case("gru", 2),
    Case("gru", 2, Training("lion")),
    Case("rnn", 3, Training("momentum")),
    Case("encoder-layer", 2),
    Case("encoder-layer", 2, Training("adam", checkpoint=("feed_forward",))),
    Case("multi-head-attention", 2),
    Case("multi-head-attention", 2, Training("adam", checkpoint=("attention.W_O",))),
)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: f"{case.name}-{case.words}")
def test_the_peaks_are_the_real_allocators(case: Case) -> None:
    """Two steps on real tensors, followed event by event: equal to the byte in both."""
    one = row(case)
    assert one["ours"] == one["truth"], one
    assert one["first"] == 0, one


def test_frozen_layers_have_no_gradients_and_keep_less() -> None:
    whole = trained("vgg-11", batch=1, optimizer="momentum")
    head = trained("vgg-11", batch=1, optimizer="momentum", frozen=("features",))
    features = head.layers["features"]
    assert head.totals["trainable_params"] == whole.totals["params"] - features.params
    assert features.total["kept_bytes"] < whole.layers["features"].total["kept_bytes"] / 100
    assert head.totals["peak_bytes"] < whole.totals["peak_bytes"]


def test_checkpointed_layers_keep_less_and_run_again() -> None:
    plain = trained("resnet-20", batch=8)
    again = trained("resnet-20", batch=8, checkpoint=("layer*.*",))
    assert again.totals["saved_total_bytes"] < plain.totals["saved_total_bytes"] / 2
    assert again.params == plain.params

    def convolutions(report: Report) -> int:
        step = report.trace.steps[-1]
        return sum(call.op == "aten.convolution" for call in report.trace.calls[step.forward : step.optimizer])

    assert convolutions(plain) == 19
    assert convolutions(again) == 19 + 18  # all but the stem's


@pytest.mark.parametrize("depth", [22, 40])
def test_densenet_keeps_the_square_of_its_depth_or_not(depth: int) -> None:
    """DenseNet-BC, three blocks of n layers: concatenations and BN outputs grow with n², and with n where shared."""
    sizes = [depth, depth + 18, depth + 36]
    kept, shared = (
        [engine_kept("densenet-bc-cifar", depth=size, growth_rate=12, memory_efficient=efficient) for size in sizes]
        for efficient in (False, True)
    )
    assert (kept[2] - kept[1]) - (kept[1] - kept[0]) > 0
    assert (shared[2] - shared[1]) - (shared[1] - shared[0]) < ((kept[2] - kept[1]) - (kept[1] - kept[0])) / 10


def engine_kept(name: str, **knobs: Any) -> int:
    setup = Setup(knobs, batch=2, training=Training("sgd"))
    kept: int = analyze(engine.trace(name, setup), (Memory(),)).totals["saved_total_bytes"]
    return kept


def test_work_in_backward_belongs_to_the_module_of_its_node() -> None:
    made = trained(Chain(), (3, 4))
    trace = made.trace
    step = trace.steps[0]
    products = [call for call in trace.calls[step.backward : step.optimizer] if call.op == "aten.mm"]
    assert [trace.path(call) for call in products] == ["2", "2", "0"]
    assert all(call.phase == "backward" for call in products)


@pytest.mark.parametrize("name", ["resnet-20", "resnet-18", "densenet-cifar", "lstm", "encoder-layer", "gpt2"])
def test_backward_macs_are_torchs(name: str) -> None:
    """FlopCounterMode over forward and backward of the definition on meta; no groups, where it is wrong."""
    network = all_networks()[name]
    with torch.device("meta"):
        module = network.build(**network.config).train()
        wanted = network.inputs_for(network.config)
        batch = [(2, *one.shape[1:]) if one.axes[0] == "batch" else one.shape for one in wanted]
        dtypes = [getattr(torch, one.dtype) for one in wanted]
        inputs = [torch.empty(shape, dtype=dtype) for shape, dtype in zip(batch, dtypes, strict=True)]
    counter = FlopCounterMode(display=False)
    with counter:
        out = module(*inputs)
        (out[0] if isinstance(out, tuple) else out).sum().backward()
    made = trained(name, batch=2)
    assert 2 * (made.macs + made.totals["backward_macs"]) == counter.get_total_flops()


def test_backward_macs_by_hand() -> None:
    """Chain 4 -> 8 -> 2, batch 3: both gradients of the second matrix, the weight's alone of the first."""
    made = trained(Chain(), (3, 4))
    assert made.layers["2"].own["backward_macs"] == 2 * 3 * 8 * 2
    assert made.layers["0"].own["backward_macs"] == 3 * 4 * 8
    frozen = trained(Chain(), (3, 4), frozen=("0",))
    assert frozen.totals["backward_macs"] == 3 * 8 * 2  # the hidden layer has nothing to learn from its gradient
    again = trained(Chain(), (3, 4), checkpoint=("2",))
    assert again.totals["backward_macs"] >= made.totals["backward_macs"]


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_grouped_convolution_costs_its_forward_twice_in_backward(groups: int) -> None:
    """Each gradient multiplies what forward did: 8·8/g·9·36. torch 2.13 counts the weight's g times."""
    net = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=groups))
    made = trained(net, (1, 8, 6, 6))
    grouped = made.layers["1"]
    assert grouped.own["macs"] == 8 * (8 // groups) * 9 * 36
    assert grouped.own["backward_macs"] == 2 * grouped.own["macs"]
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter:
        net.to("meta")(torch.empty(1, 8, 6, 6)).sum().backward()
    extra = (groups - 1) * grouped.own["macs"]
    assert counter.get_total_flops() == 2 * (made.macs + made.totals["backward_macs"] + extra)


def test_flops_of_backward_on_the_command_line() -> None:
    answer = totals("flops", "resnet-20", "--backward", "--batch", "2")
    assert answer["backward_macs"] > answer["macs"] == 2 * 40_551_040
    assert answer["uncounted"] == []
    assert "backward_macs" not in totals("flops", "resnet-20")
    assert "times the forward pass's" in run("flops", "resnet-20", "--backward").out
    assert run("flops", "resnet-20", "--frozen", "conv1").code == 2


def test_figures_of_forward_are_those_of_a_forward_pass() -> None:
    """A training trace gives the parameters, MACs and shapes of one forward pass in train mode."""
    step = trained("resnet-20", batch=2)
    forward = analyze(engine.trace("resnet-20", Setup(batch=2, mode="train")))
    for key in ("params", "macs", "elementwise_flops", "output_shape"):
        assert step.totals[key] == forward.totals[key], key
    assert step.layers["layer1"].output_shape == forward.layers["layer1"].output_shape


def test_a_training_trace_survives_json() -> None:
    trace = engine.trace("lstm", Setup(training=Training()))
    assert Trace.from_json(trace.to_json()) == trace


def test_the_command_states_what_it_assumes() -> None:
    options = "--train --batch 4 --optimizer momentum --frozen conv1 --no-changes"
    ran = run("memory", "resnet-20", *options.split())
    assert ran.code == 0, ran.err
    for said in ("momentum", "frozen conv1", "loss sum", "steady state", "peak: in backward"):
        assert said in ran.out, said
    answer = totals("memory", "resnet-20", "--train", "--batch", "4")
    bill = ("params", "buffers", "inputs", "saved", "gradients", "optimizer", "temporaries")
    assert answer["peak_bytes"] == sum(answer[f"{part}_bytes"] for part in bill)
    assert answer["first_step_peak_bytes"] > 0
    with_kernels = totals("memory", "resnet-20", "--train", "--batch", "4", "--device", "cpu")
    assert with_kernels["peak_bytes"] > answer["peak_bytes"]
    assert with_kernels["saved_total_bytes"] == answer["saved_total_bytes"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--optimizer", "adam"], "add  --train"),
        (["--train", "--optimizer", "adma"], "there is no optimizer 'adma'"),
        (["--train", "--loss", "huber"], "choose one of  sum, mean, cross-entropy, mse"),
        (["--train", "--frozen", "layre*"], "no layer matches '--frozen layre*'"),
        (["--train", "--checkpoint", "layre*"], "no layer matches '--checkpoint layre*'"),
        (["--train", "--frozen", "*"], "no parameter is trained"),
        (["--train", "--mode", "train"], "--train and --mode do not go together"),
        (["--device", "tpu"], "there are no kernels of 'tpu'"),
    ],
)
def test_wrong_options_end_in_a_sentence(options: list[str], said: str) -> None:
    ran = run("memory", "resnet-20", *options)
    assert ran.code == 2, ran.out
    assert said in ran.err
    assert not ran.out


def test_the_users_module_is_not_trained(tmp_path: Path) -> None:
    module = nn.Linear(4, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trained(module, (3, 4), optimizer="adam", frozen=())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.weight.grad is None
    assert module.weight.requires_grad


def test_json_of_a_training_step_has_the_documented_keys() -> None:
    ran = run("memory", "lstm", "--train", "--no-changes", "--json")
    document = json.loads(ran.out)
    assert document["assumptions"]["optimizer"] == "adamw"
    assert {"kept_bytes", "at_peak_bytes"} <= set(document["rows"][0])


def test_networks_side_by_side_in_training() -> None:
    """DenseNet-121: a third of ResNet-50's parameters, and more of every image kept."""
    ran = run("compare", "resnet-50", "densenet-121", "--train", "--batch", "2", "--optimizer", "momentum", "--json")
    resnet, densenet = json.loads(ran.out)["rows"]
    assert densenet["params"] < resnet["params"] / 3
    assert densenet["saved_total_bytes"] > 1.4 * resnet["saved_total_bytes"]
    shown = run("compare", "resnet-50", "densenet-121", "--train", "--batch", "2").out
    assert "kept for backward" in shown
    assert "training step: float32, adamw" in shown
    assert "kept for backward" not in run("compare", "resnet-18", "resnet-34").out


def test_torch_still_has_the_private_parts_that_training_leans_on() -> None:
    """The next sequence number before a module, and the running node's own in backward, tell whose node it is."""
    x = torch.ones(2, requires_grad=True)
    before = torch.autograd._get_sequence_nr()
    y = x * 2
    assert y.grad_fn is not None
    assert y.grad_fn._sequence_nr() == before
    assert torch.autograd._get_sequence_nr() == before + 1
    seen = []
    y.register_hook(lambda grad: seen.append(torch._C._current_autograd_node()))
    y.sum().backward()
    assert seen[0] is not None
    assert hasattr(y.grad_fn.next_functions[0][0], "variable")


class Overwritten(nn.Module):
    """Writes into the sigmoid's output, which its backward needs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(x).sigmoid().add_(1)


def test_a_step_that_autograd_refuses_is_refused() -> None:
    with pytest.raises(RuntimeError, match="inplace operation"):
        Overwritten()(torch.ones(2, 4)).sum().backward()
    with pytest.raises(ForwardFailed, match="in-place operation"):
        trained(Overwritten(), (2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("efficient", [False, True])
def test_the_table_of_densenets_memory_is_what_traces_say(efficient: bool) -> None:
    """docs/networks/densenet.md reckons by laws up to depth 478; here each depth is traced."""
    law = densenet_laws(efficient)
    for depth in DEPTHS:
        assert law(depth) == densenet_traced(depth, efficient)


def test_recomputing_concatenations_costs_no_multiply_add() -> None:
    """Checkpointing stops before the convolution whose output nobody needs again."""
    naive, shared = (
        totals("flops", "densenet-bc-cifar", "--set", "depth=22", "--backward", "--set", f"memory_efficient={word}")
        for word in ("false", "true")
    )
    assert naive["backward_macs"] == shared["backward_macs"]


class Blocks(nn.Module):
    """Layers in a ModuleList, which is never called itself, and one whose weights are used from outside."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)) for _ in range(layers))
        self.head = nn.Linear(8, 8)
        self.pool = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.pool(x @ self.head.weight)


@pytest.mark.parametrize("pattern", ["blocks", "blocks.*", "*"])
def test_layers_of_a_list_are_recomputed_one_by_one(pattern: str) -> None:
    """A block keeps ReLU's output, 4x32 floats; recomputed, it keeps only its input, which is kept anyway.

    3 · 4·32·4 = 1,536 bytes less. Backward runs the first product of each block once more, up to the last tensor that
    it needs: 3 · 4·8·32 = 3,072 MACs.
    """
    plain, again = trained(Blocks(), (4, 8)), trained(Blocks(), (4, 8), checkpoint=(pattern,))
    assert plain.totals["saved_total_bytes"] - again.totals["saved_total_bytes"] == 1_536
    assert again.totals["backward_macs"] - plain.totals["backward_macs"] == 3_072


@pytest.mark.parametrize(
    ("setup", "message", "hint"),
    [
        (
            {"training": Training(checkpoint=("head",))},
            "checkpoint head recomputes nothing: head is not called itself.",
            "leave checkpoint out",
        ),
        ({"training": Training(frozen=("pool",))}, "frozen pool freezes nothing", "blocks, head"),
        ({"attention": "flash"}, "attention flash changes nothing: Blocks does not call", "leave attention out"),
    ],
)
def test_a_setting_that_applies_to_nothing_is_an_error(setup: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(WrongUse) as error:
        archcalc.trace(Blocks(), (4, 8), setup=archcalc.Setup(**setup))
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_kernel_that_can_do_no_call_is_said_to_do_none() -> None:
    """The flash kernel of a CPU takes no values of another width than the keys."""

    class Wide(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(q, k, v)

    shapes = [(1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 16)]
    setup = archcalc.Setup(device="cpu", attention="flash")
    trace = archcalc.trace(Wide(), shapes, setup=setup)
    assert trace.assumptions["attention"] == "unfused: flash can do none of 1 calls"


class Remembers(nn.Module):
    """A state that the next step begins with, graph and all, as a cache of embeddings in a dict."""

    def __init__(self, detached: bool = False) -> None:
        super().__init__()
        self.cell, self.detached = nn.Linear(4, 4), detached
        self.kept: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        state: Tensor = self.cell(x + self.kept.get("state", 0)).tanh()
        self.kept["state"] = state.detach() if self.detached else state
        return state


def test_a_second_step_that_needs_the_graph_of_the_first_says_what_keeps_it() -> None:
    """As real training, whose second step fails; a state that is detached is no reason."""
    module = Remembers()
    module(torch.ones(2, 4)).sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        module(torch.ones(2, 4)).sum().backward()
    with pytest.raises(ForwardFailed, match="detach or clear kept between two steps"):
        archcalc.trace(Remembers(), (2, 4), train=True)
    assert archcalc.trace(Remembers(detached=True), (2, 4), train=True).calls
