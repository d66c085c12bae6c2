"""memory --fit --checkpoint auto: the choice with the least extra work, its peak to the byte, and the code to add."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import archcalc
from archcalc import engine
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import WrongUse
from archcalc.ops.registry import macs_of, operations_of
from archcalc.studies.changes import measured
from archcalc.studies.recompute.candidates import Candidate, Step
from archcalc.studies.recompute.choice import Choice
from archcalc.studies.recompute.patterns import code_for, named, patterns_for
from archcalc.studies.recompute.prediction import predicted_peak
from archcalc.tracing import Trace
from tests.helpers import run, run_fresh
from tests.test_schema import valid

pytestmark = pytest.mark.usefixtures("shared_traces")


class Residual(nn.Module):
    """Two convolutions with batch norms and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + x)


class Bottleneck(nn.Module):
    """Norm, ReLU and 1x1 convolution of the concatenated features: a module of its own."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(inside), nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inside, 4 * growth, 1, bias=False)

    def forward(self, *maps: Tensor) -> Tensor:
        return self.conv(self.relu(self.norm(torch.cat(maps, 1))))


class Dense(nn.Module):
    """A bottleneck, then norm, ReLU and 3x3 convolution."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(inside, growth)
        self.norm, self.relu = nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, *maps: Tensor) -> Tensor:
        return self.conv(self.relu(self.norm(self.bottleneck(*maps))))


class DenseNet(nn.Module):
    """Layers that each read all maps before them."""

    def __init__(self, layers: int = 6, growth: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Dense(16 + growth * n, growth) for n in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.layers:
            maps.append(layer(*maps))
        return torch.cat(maps, 1)


def residual() -> nn.Module:
    return nn.Sequential(*(Residual(16) for _ in range(3)), nn.MaxPool2d(2), *(Residual(16) for _ in range(3)))


def transformer() -> nn.Module:
    block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(block, 6, enable_nested_tensor=False)


NETS: dict[str, tuple[Any, Sequence[int], str]] = {
    "residual": (residual, (4, 16, 16, 16), "[0-9]"),
    "transformer": (transformer, (4, 24, 32), "layers.[0-9]"),
    "dense": (DenseNet, (4, 16, 8, 8), "layers.[0-9]"),
}


def step_of(module: nn.Module, shape: Sequence[int]) -> Step:
    plain = archcalc.trace(module, tuple(shape), train=Training("sgd"))
    return Step(plain, archcalc.trace(module, tuple(shape), mode="train"))


def apart(chosen: Sequence[Candidate]) -> bool:
    """Whether no module is inside another."""
    return all(first.end <= second.begin for first, second in pairwise(chosen))


def subsets(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    for size in range(len(candidates) + 1):
        yield from (chosen for chosen in combinations(candidates, size) if apart(chosen))


@pytest.mark.parametrize("name", NETS)
def test_the_choice_is_that_of_all_subsets(name: str) -> None:
    """Six blocks, computed again or not, 64 subsets; and two of them with their parts."""
    make, shape, pattern = NETS[name]
    step = step_of(make(), shape)
    blocks = [c for c in step.candidates if c.path in named(pattern, [m.path for m in step.trace.modules])]
    parts = [c for c in step.candidates if any(c.path.startswith(f"{b.path}.") for b in blocks[1:3])]
    assert len(blocks) >= 6
    for candidates in (blocks, sorted([*blocks[1:3], *parts[:4]], key=lambda c: (c.begin, -c.end))):
        every = [(predicted_peak(step, s), sum(c.work for c in s)) for s in subsets(candidates)]
        choice = Choice(step, candidates)
        lowest, plain = min(every)[0], predicted_peak(step, ())
        assert choice.lowest() == lowest < plain
        for part in range(5):
            budget = lowest + (plain - lowest) * part // 4
            path = choice.best(budget)
            assert path is not None
            assert path.work == min(work for peak, work in every if peak <= budget)
            assert predicted_peak(step, path.chosen()) <= budget
        assert choice.best(lowest - 1) is None


@pytest.mark.parametrize("name", NETS)
def test_what_is_foretold_is_what_is_traced(name: str) -> None:
    """Every third of all modules, from three beginnings, and all blocks: the peaks, the MACs and elementwise work."""
    make, shape, _ = NETS[name]
    step = step_of(make(), shape)
    outer = [c for c in step.candidates if not any(c.path.startswith(f"{o.path}.") for o in step.candidates)]
    for chosen in [outer, *(step.candidates[n::3] for n in range(3))]:
        picked = [c for c in chosen if not c.path.endswith("self_attn")]  # asks whether its inputs are one tensor
        picked = [c for c in picked if not any(c.path.startswith(f"{o.path}.") for o in picked)]
        again = Training("sgd", checkpoint=tuple(c.path for c in picked))
        report = measured(Subject(make(), tuple(shape)), Setup(training=again))
        assert report.peak_bytes == predicted_peak(step, picked)
        assert convolutions(report.trace) - convolutions(step.trace) == sum(c.macs for c in picked)


class Repeated(nn.Module):
    """A block called five times around two others, with the same weights as in ALBERT."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.again = Residual(8), Residual(8), Residual(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.again(x))
        for _ in range(3):
            x = self.again(x)
        return self.again(self.last(x))


def test_modules_called_several_times_are_chosen_with_all_their_calls() -> None:
    """Against all subsets of the blocks and their parts, of which those called several times are taken whole."""
    shape = (4, 8, 16, 16)
    step = step_of(Repeated(), shape)
    kinds = [calls for calls in step.shared if calls[0].path.count(".") < 2]
    assert {calls[0].path for calls in kinds} >= {"again"}
    every = []
    for number in range(len(kinds) + 1):
        for several in combinations(kinds, number):
            calls = [c for kind in several for c in kind]
            for single in subsets(step.candidates):
                chosen = sorted([*calls, *single], key=lambda c: (c.begin, -c.end))
                if apart(chosen):
                    every.append((predicted_peak(step, chosen), sum(c.work for c in chosen)))
    lowest, plain = min(every)[0], predicted_peak(step, ())
    alone = Choice(step, step.candidates).lowest()
    assert lowest < alone < plain
    for budget in (lowest, (lowest + alone) // 2, alone, (alone + plain) // 2):
        found = archcalc.recompute(Repeated(), budget, shape, batch=4, train=Training("sgd"))
        assert found.lowest_bytes == lowest
        assert 2 * found.macs + found.elementwise == min(work for peak, work in every if peak <= budget)
        assert found.predicted_bytes == found.fitted.report.peak_bytes <= budget
    assert archcalc.recompute(Repeated(), lowest, shape, batch=4, train=Training("sgd")).paths.count("again") == 1


@pytest.mark.slow
def test_what_is_lost_without_checkpoints_inside_checkpoints() -> None:
    """Two stages of three blocks, all 256 choices traced: nested ones cost more wherever another choice fits."""
    net, shape = nn.Sequential(*(nn.Sequential(*(Residual(16) for _ in range(3))) for _ in range(2))), (4, 16, 16, 16)
    parts = [inner for n in range(4) for inner in combinations((".0", ".1", ".2"), n)]
    sets = [*parts, *(("", *inner) for inner in parts)]
    flat, nested = [], []
    for first, second in product(sets, sets):
        paths = (*(f"0{path}" for path in first), *(f"1{path}" for path in second))
        report = measured(Subject(net, shape), Setup(training=Training("sgd", checkpoint=paths)))
        inside = any("" in chosen and len(chosen) > 1 for chosen in (first, second))
        (nested if inside else flat).append((report.peak_bytes, work_of(report.trace)))
    lowest = min(flat)[0]
    assert min(nested)[0] < lowest  # what is lost: a tenth of the lowest peak
    for budget in {peak for peak, _ in nested if peak >= lowest}:
        cheapest = min(work for peak, work in flat if peak <= budget)
        assert cheapest <= min(work for peak, work in nested if peak <= budget)


def work_of(trace: Trace) -> int:
    """Two operations for each MAC, one for each elementwise operation, of a step."""
    calls = trace.calls[trace.steps[-1].forward : trace.steps[-1].optimizer]
    return sum(2 * (macs_of(trace, call) or 0) + (operations_of(trace, call) or 0) for call in calls)


def convolutions(trace: Trace) -> int:
    """MACs of a step by another formula than the study's: output elements x the elements of a filter, or of a row."""
    step, macs = trace.steps[-1], 0
    for call in trace.calls[step.forward : step.optimizer]:
        if call.op in ("aten.convolution", "aten.mm", "aten.addmm", "aten.bmm"):
            shapes = [trace.shape(t) for t in call.tensors()]
            out = torch.Size(trace.shape(call.outputs[0])).numel()
            macs += out * (torch.Size(shapes[1][1:]).numel() if call.op == "aten.convolution" else shapes[-1][-2])
        elif call.op == "aten.convolution_backward":
            grad, _, weight = (trace.shape(t) for t in list(call.tensors())[:3])
            wanted = call.attributes["output_mask"]
            assert isinstance(wanted, tuple)
            macs += sum(map(bool, wanted[:2])) * torch.Size(grad).numel() * torch.Size(weight[1:]).numel()
    return macs


def test_the_shared_buffers_of_densenet_are_found() -> None:
    """Pleiss et al. 2017: what is concatenated is made again, so that no layer keeps what grows with its depth."""
    net, shape = DenseNet(12), (8, 16, 16, 16)
    step = step_of(net, shape)
    bottlenecks = [c for c in step.candidates if c.path.endswith(".bottleneck")]
    shared = predicted_peak(step, bottlenecks)
    found = archcalc.recompute(net, shared, shape, batch=8, train=Training("sgd"))
    assert found.fits
    assert {c.path for c in found.chosen} <= {part.path for part in bottlenecks} | {"layers.11.relu"}
    assert len(found.chosen) >= 10


def test_the_code_frees_memory_and_leaves_gradients_alone() -> None:
    """The lines run on a real model; what autograd keeps is counted by hooks, the gradients are compared."""
    plain, again = DenseNet(), DenseNet()
    again.load_state_dict(plain.state_dict())
    found = archcalc.recompute(plain, 600_000, (4, 16, 8, 8), batch=4, train=Training("sgd"))
    assert found.chosen
    exec("\n".join(code_for([c.path for c in found.chosen])), {"model": again})
    x, kept = torch.randn(4, 16, 8, 8), []
    for model in (plain, again):
        seen: dict[int, int] = {}

        def pack(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(x).square().sum()
        kept.append(sum(seen.values()))
        out.backward()
    assert kept[1] < 0.8 * kept[0]
    for ours, theirs in zip(plain.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


GROWING = """
import torch
from torch import nn

class Layer(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inside), nn.Conv2d(inside, 8, 3, padding=1)

    def forward(self, maps):
        return self.conv(self.norm(torch.cat(maps, 1)).relu())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(8 + 8 * n) for n in range(4))

    def forward(self, x):
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps))
        return torch.cat(maps, 1)
"""


def test_a_layer_that_cannot_run_again_is_left_out(tmp_path: Path) -> None:
    """Each layer gets the list that later grows: run again it would read more maps than before."""
    (tmp_path / "growing.py").write_text(GROWING)
    options = ("memory", f"{tmp_path}/growing.py:Net", "-i", "4x8x16x16", "--batch", "4", "--train", "--no-changes")
    plain = json.loads(run(*options, "--json").out)["totals"]["peak_bytes"]
    ran = run(*options, "--fit", f"{plain - 60_000}B", "--checkpoint", "auto", "--json")
    answer = json.loads(ran.out)
    assert answer["recompute"]["left_out"] == ["layers.*"]
    assert all(path.count(".") == 2 for path in answer["recompute"]["modules"])


def test_an_attention_that_asks_what_its_inputs_are_is_left_out() -> None:
    """nn.MultiheadAttention asks whether query, key and value are one tensor; run again they are three."""
    net, shape = transformer(), (4, 24, 32)
    step = step_of(net, shape)
    wrong = [f"layers.{n}.self_attn" for n in range(1, 6)]  # the first gets the model's input, which needs no gradient
    budgets = range(predicted_peak(step, ()), 0, -50_000)
    paths = ((budget, Choice(step, step.candidates).best(budget)) for budget in budgets)
    budget = next(b for b, path in paths if path and any(c.path in wrong for c in path.chosen()))
    found = archcalc.recompute(net, budget, shape, batch=4, train=Training("sgd"))
    assert found.left_out == ("layers.*.self_attn",)
    assert found.fits
    assert found.predicted_bytes == found.fitted.report.peak_bytes


@pytest.mark.parametrize("batch", [["--batch", "32"], []])
def test_the_answer_is_what_its_options_lead_to(batch: list[str]) -> None:
    base = ("memory", "resnet-20", "--train", "--no-changes", "--json")
    ran = run(*base, *batch, "--fit", "30MiB", "--checkpoint", "auto")
    assert ran.code == 0, ran.err
    answer = valid(ran.out)
    found, totals = answer["recompute"], answer["totals"]
    size = ["--batch", str(answer["fit"]["batch"])]
    patterns = [word for pattern in totals["checkpoint"] for word in ("--checkpoint", pattern)]
    again = json.loads(run(*base, *size, *patterns).out)["totals"]
    assert again["peak_bytes"] == totals["peak_bytes"] == found["predicted_peak_bytes"] <= 30 * 2**20
    assert json.loads(run(*base, *size).out)["totals"]["peak_bytes"] == found["plain_peak_bytes"]
    assert totals["recomputed_macs"] > 0
    assert totals["recomputed_elementwise"] > 0
    if not batch:
        assert answer["fit"]["next_peak_bytes"] > 30 * 2**20


def test_what_fits_as_it_is_computes_nothing_again() -> None:
    ran = run("memory", "resnet-20", "--train", "--batch", "2", "--fit", "1GiB", "--checkpoint", "auto", "--no-changes")
    assert ran.code == 0
    assert "nothing has to be computed again: the plain step needs 6.5" in ran.out
    assert "get_submodule" not in ran.out


def test_what_never_fits_is_told_with_the_lowest_peak() -> None:
    options = ("resnet-20", "--train", "--batch", "32", "--fit", "2MiB", "--checkpoint", "auto", "--no-changes")
    ran = run("memory", *options)
    assert ran.code == 1
    assert "computed again for the lowest peak: 24.44 MiB in place of 50.48 MiB" in ran.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("memory resnet-20 --train --checkpoint auto", "add  --fit 24GiB"),
        ("memory resnet-20 --fit 1GiB --checkpoint auto", "add  --train"),
        (
            "memory resnet-20 --train --fit 1GiB --checkpoint auto --checkpoint layer1",
            "leave the other --checkpoint out",
        ),
        ("memory resnet-20 --train --fit 1GiB --plot", "add  --checkpoint auto"),
        ("flops resnet-20 --backward --checkpoint auto", "memory MODEL --train --fit 24GiB --checkpoint auto"),
    ],
)
def test_wrong_use_ends_in_a_sentence(line: str, said: str) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_the_frontier_is_drawn(tmp_path: Path) -> None:
    options = (
        "memory",
        "resnet-20",
        "--train",
        "--batch",
        "8",
        "--fit",
        "8MiB",
        "--checkpoint",
        "auto",
        "--no-changes",
    )
    assert "memory against extra work" in run(*options, "--plot", "--depth", "0").out
    frontier = archcalc.recompute("resnet-20", "8MiB", batch=8).frontier()
    work = [2 * point.macs + point.elementwise for point in frontier]
    assert work == sorted(work, reverse=True)
    assert work[-1] == 0
    assert run(*options, "-o", str(tmp_path / "frontier.svg")).code in (0, 1)
    assert "<svg" in (tmp_path / "frontier.svg").read_text()


PATHS = [f"layer{n}.{m}{part}" for n in range(1, 4) for m in range(12) for part in ("", ".conv")]
MODULES = ["", "head", *(path for n in range(1, 4) for path in (f"layer{n}", *(p for p in PATHS if p[5] == str(n))))]


@given(st.sets(st.sampled_from([path for path in PATHS if not path.endswith("conv")])))
def test_patterns_name_what_was_chosen(chosen: set[str]) -> None:
    patterns = patterns_for(sorted(chosen), MODULES)
    every = [path for pattern in patterns for path in named(pattern, MODULES)]
    assert sorted(every) == sorted(chosen)


TWICE = """
from archcalc.engine import Setup, Training, trace
from archcalc.analyses import Memory, analyze
def peak():
    setup = Setup(batch=2, training=Training("sgd", checkpoint=("blocks.*.self_attention.attention.dropout",)))
    return analyze(trace("gpt2", setup), (Memory(),)).totals["peak_bytes"]
print(peak(), peak())
"""


def test_the_first_checkpointed_step_of_a_process_is_like_the_second() -> None:
    """The import of torch._dynamo in the midst of a run would let tensors live on."""
    first, second = run_fresh(code=TWICE).out.split()
    assert first == second


def test_what_autograd_keeps_is_in_the_trace() -> None:
    """A linear layer keeps its input (the weight's gradient) but not its weight: nobody asks for the input's."""
    trace = archcalc.trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (2, 4), train=Training("sgd"))
    step = trace.steps[-1]
    kept = [k for k in trace.kept if k.packed >= step.forward]
    assert [trace.modules[trace.module_calls[k.module_call].module].path for k in kept] == ["0", "1"]
    assert kept[0].released is not None
    assert kept[1].unpacked is not None
    assert step.backward <= kept[1].unpacked < kept[0].released <= step.optimizer
    assert Trace.from_json(trace.to_json()) == trace
    assert engine.trace(nn.Linear(4, 4), Setup(), (2, 4)).kept == ()


def test_patterns_beside_auto_are_refused_in_python() -> None:
    with pytest.raises(WrongUse, match="chooses the layers itself"):
        archcalc.recompute("resnet-20", "1GiB", train=Training(checkpoint=("layer1",)))
