"""Kernels of a device: which tensors fused attention, dropout, cells and recurrent layers keep; mixed precision."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archcalc
from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.engine.devices import autocast
from archcalc.engine.devices.onednn_lstm import workspace
from archcalc.engine.devices.workspaces import CUBLAS
from archcalc.errors import ForwardFailed
from bench.memory_truth import Case, row
from tests.helpers import check_report, run, totals

aten = torch.ops.aten
AVX512 = pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX512"), reason="sizes of oneDNN's AVX-512 kernels"
)


def trained(model: Any, inputs: Any, **setup: Any) -> Report:
    made = analyze(engine.trace(model, Setup(training=Training("sgd"), **setup), inputs))
    check_report(made)
    return made


def ops(made: Report) -> set[str]:
    return {call.op for call in made.trace.calls}


class Attention(nn.Module):
    """Attention over what one linear layer gives: N, heads, T, width."""

    def __init__(self, dropout: float = 0.0, causal: bool = False) -> None:
        super().__init__()
        self.fc, self.dropout, self.causal = nn.Linear(8, 8, bias=False), dropout, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.fc(x)
        return functional.scaled_dot_product_attention(y, y, y, mask, self.dropout, self.causal)


SHAPE = (2, 4, 32, 8)


def test_unfused_attention_keeps_its_weights_and_fused_attention_a_sum_a_row() -> None:
    """N·h·T·T softmax weights against N·h·T numbers, beside the output."""
    math = trained(Attention(), SHAPE)
    flash = trained(Attention(), SHAPE, device="cpu")
    assert math.trace.assumptions["attention"] == "unfused"
    assert flash.trace.assumptions["attention"] == "flash in 2 of 2 calls"  # one in each step
    assert "aten._scaled_dot_product_flash_attention_for_cpu" in ops(flash)
    rows, elements = 2 * 4 * 32, 2 * 4 * 32 * 8
    assert flash.totals["saved_total_bytes"] == 4 * (elements + elements + rows)  # projected, output, logsumexp
    assert math.totals["saved_total_bytes"] > 4 * rows * 32
    assert math.macs == flash.macs == elements * 8 + 2 * rows * 32 * 8


@pytest.mark.parametrize(
    ("device", "dtype", "attention", "dropout", "taken"),
    [
        ("cpu", "float32", "auto", 0.0, "flash_attention_for_cpu"),
        ("cpu", "float32", "auto", 0.1, None),  # the CPU's kernel has no dropout
        ("cpu", "float32", "math", 0.0, None),
        ("cuda", "float32", "auto", 0.1, "efficient_attention"),  # flash wants half precision
        ("cuda", "bfloat16", "auto", 0.1, "flash_attention"),
        ("cuda", "bfloat16", "efficient", 0.0, "efficient_attention"),
        ("", "float32", "auto", 0.0, None),
        ("", "float32", "efficient", 0.0, "efficient_attention"),
    ],
)
def test_the_kernel_that_a_device_takes(
    device: str, dtype: str, attention: str, dropout: float, taken: str | None
) -> None:
    made = trained(Attention(dropout), [f"{dtype}:2x4x32x8"], device=device, dtype=dtype, attention=attention)
    fused = {op for op in ops(made) if "scaled_dot_product" in op and "backward" not in op}
    assert fused == ({f"aten._scaled_dot_product_{taken}"} if taken else set())
    assert not made.totals["uncounted"]


def test_a_mask_that_is_trained_or_values_of_another_width_go_unfused() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(32, 32))

        def forward(self, x: Tensor) -> Tensor:
            return functional.scaled_dot_product_attention(x, x, x, self.bias)

    assert trained(Biased(), SHAPE, device="cpu").trace.assumptions["attention"] == "unfused"


def test_nothing_stays_behind_in_torch() -> None:
    """After a run, and after one that raised, attention on tensors without data is what it was."""

    class Broken(Attention):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            super().forward(x)
            raise ValueError("broken")

    trained(Attention(), SHAPE, device="cpu")
    with pytest.raises(ForwardFailed, match="broken"):
        trained(Broken(), SHAPE, device="cuda", amp="bf16")
    q = torch.empty(SHAPE, device="meta", requires_grad=True)
    out = functional.scaled_dot_product_attention(q, q, q)
    assert out.dtype is torch.float32
    assert "Flash" not in str(out.grad_fn)


def test_cuda_rounds_blocks_and_has_workspaces() -> None:
    """Each of three tensors of a layer with 4·2 weights fills 512 bytes; cuBLAS takes one workspace in each thread."""
    made = analyze(engine.trace(nn.Linear(4, 2, bias=False), Setup(device="cuda"), (1, 4)))
    assert made.peak_bytes == 3 * 512 + CUBLAS
    step = trained(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), (3, 4), device="cuda")
    assert sum(s.role == "workspace" for s in step.trace.storages) == 2
    assert all(storage.bytes % 512 == 0 for storage in step.trace.storages)


def test_cuda_dropout_keeps_a_byte_an_element() -> None:
    net = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Dropout(0.5))
    plain, cuda = trained(net, (128, 64)), trained(net, (128, 64), device="cuda")
    assert plain.totals["saved_total_bytes"] == 4 * 128 * 64
    assert cuda.totals["saved_total_bytes"] == 128 * 64


@pytest.mark.parametrize("cell", [nn.LSTMCell(16, 32), nn.GRUCell(16, 32)])
def test_cuda_cells_are_fused(cell: nn.Module) -> None:
    plain, cuda = trained(cell, (4, 16)), trained(cell, (4, 16), device="cuda")
    assert any("_thnn_fused" in op for op in ops(cuda))
    assert plain.macs == cuda.macs == 4 * (16 + 32) * 32 * (4 if isinstance(cell, nn.LSTMCell) else 3)


EXACT = (
    Case("nn.LSTM, 2 layers, both directions", 0),
    Case("nn.LSTM projected", 0),
    Case("nn.GRU", 0),
    Case("nn.RNN, 2 layers", 0),
    Case("nn.TransformerEncoder", 0),
    Case("nn.TransformerEncoder", 0, attention="math"),
    Case("nn.Transformer, dropout", 0),
    Case("GPT", 0, Training("adamw", accumulation=4)),
    Case("GPT", 0, Training("adamw", frozen=("blocks.0", "words"))),
    Case("MLP", 0, amp="bf16"),
    Case("nn.LSTMCell", 0, amp="bf16"),
    Case("nn.GRU", 0, amp="bf16"),
    Case("MLP in its own autocast", 0),
    Case("nn.TransformerEncoder in its own autocast", 0),
)


@AVX512
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", EXACT, ids=lambda case: f"{case.name}-{case.words}")
def test_the_steady_peak_is_the_real_allocators(case: Case) -> None:
    one = row(case)
    assert one["ours"] == one["truth"], one


@AVX512
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_workspace_of_a_recurrent_layer_is_the_real_one(dtype: torch.dtype) -> None:
    """Random shapes through the real kernel."""
    sizes = random.Random(5)
    for _ in range(12):
        steps, batch, inputs, hidden = (sizes.randint(1, most) for most in (30, 12, 400, 400))
        x, h, c = (
            torch.zeros(shape, dtype=dtype) for shape in ((steps, batch, inputs), (batch, hidden), (batch, hidden))
        )
        weights = [torch.zeros(4 * hidden, *width, dtype=dtype) for width in ((inputs,), (hidden,), (), ())]
        settings = False, [], 2, hidden, 1, True, False, False, True
        real = aten.mkldnn_rnn_layer(x, *weights, h, c, *settings)[3]
        assert workspace(steps, batch, inputs, hidden, dtype.itemsize) == real.nbytes, (steps, batch, inputs, hidden)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(12, 16, 2, bidirectional=True, batch_first=True),
        nn.LSTM(12, 16, proj_size=4),
        nn.GRU(12, 16, 2, bidirectional=True),
        nn.RNN(12, 16, nonlinearity="relu", bias=False),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_layers_on_cpu_have_the_same_macs_and_shapes(layer: nn.Module) -> None:
    plain, cpu = trained(layer, (3, 5, 12)), trained(layer, (3, 5, 12), device="cpu")
    assert plain.macs == cpu.macs
    assert plain.output_shape == cpu.output_shape == tuple(tuple(t.shape) for t in _flat(layer(torch.zeros(3, 5, 12))))


def _flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for one in value for t in _flat(one)]


# ---- mixed precision -----------------------------------------------------------------------------


class Mixed(nn.Module):
    """Ops of each of autocast's lists."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        z = self.norm(y).relu().mean((2, 3))
        logits = self.fc(z)
        return y, z, logits, logits.softmax(1), torch.cat([logits, z[:, :4]], 1), functional.mse_loss(logits, logits)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_gives_the_dtypes_of_torchs_own(precision: str) -> None:
    net, x = Mixed(), torch.zeros(2, 3, 8, 8)
    with torch.autocast("cpu", autocast.AMP[precision]):
        real = [str(t.dtype).removeprefix("torch.") for t in net(x)]
    trace = engine.trace(net, Setup(mode="train", device="cpu", amp=precision), (2, 3, 8, 8))
    assert real == [trace.tensors[t].dtype for t in trace.output_tensors]


def test_cuda_autocast_computes_softmax_and_losses_in_float32() -> None:
    trace = engine.trace(Mixed(), Setup(mode="train", device="cuda", amp="fp16"), (2, 3, 8, 8))
    dtypes = [trace.tensors[t].dtype for t in trace.output_tensors]
    assert dtypes == ["float16", "float16", "float16", "float32", "float16", "float32"]


def test_the_lists_of_cuda_are_those_of_torchs_header() -> None:
    """autocast_mode.h, which every build of torch brings along, has the lists that are compiled into it."""
    header = (Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h").read_text(encoding="utf-8")
    ours = {
        "LOWER_PRECISION_FP": autocast.LOWER, "FP32_SET_OPT_DTYPE": autocast.RESULTS, "PROMOTE": autocast.WIDEST,
    }  # fmt: skip
    for name, lists in ours.items():
        (macro,) = re.findall(rf"#define AT_FORALL_{name}\(_\)((?:.*\\\n)*.*)", header)
        ops = {".".join(entry.split(", ")) for entry in re.findall(r"_\(([a-z_0-9, A-Z]+)\)", macro)}
        missing = ops - set(lists["cuda"].split())
        assert not missing, (name, missing)


def test_cuda_autocast_gives_norms_of_vectors_in_float32_without_a_cast() -> None:
    class Length(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.vector_norm(x, dim=1)

    trace = engine.trace(Length(), Setup(device="cuda", amp="fp16", dtype="float16"), (2, 8))
    assert [call.op for call in trace.calls] == ["aten.linalg_vector_norm"]
    assert trace.tensors[trace.output_tensors[0]].dtype == "float32"


class TurnsOff(nn.Module):
    """A part that the model keeps out of autocast, and what the model is told."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.full = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low(x)
        assert torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False):
            assert not torch.is_autocast_enabled(x.device.type)
            return low, self.full(low.float())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_part_that_turns_autocast_off_is_in_its_own_type(device: str) -> None:
    """On a CPU as torch computes it; on a GPU the same, with the type that autocast has there."""
    with torch.autocast("cpu", torch.bfloat16):
        real = [tensor.dtype for tensor in TurnsOff()(torch.zeros(2, 8))]
    assert real == [torch.bfloat16, torch.float32]
    trace = engine.trace(TurnsOff(), Setup(device=device, amp="bf16"), (2, 8))
    assert [trace.tensors[t].dtype for t in trace.output_tensors] == ["bfloat16", "float32"]
    assert not any("own autocast" in note for note in trace.notes)
    assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cuda")


def test_a_part_that_turns_autocast_off_is_recomputed_in_its_own_type() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = TurnsOff()

        def forward(self, x: Tensor) -> Tensor:
            return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)[1]

    trace = trained(Checkpointed(), (4, 8), amp="bf16").trace
    step = trace.steps[-1]
    products = [
        [trace.tensors[call.outputs[0]].dtype for call in trace.calls[span] if call.op == "aten.addmm"]
        for span in (slice(step.forward, step.loss), slice(step.backward, step.optimizer))
    ]
    assert products[0] == ["bfloat16", "float32"]
    assert products[1] == products[0][: len(products[1])]


def test_a_weight_is_cast_once_a_forward_pass() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.fc(x))

    trace = engine.trace(Twice(), Setup(training=Training("sgd"), amp="bf16"), (2, 8))
    step = trace.steps[-1]
    cast = [call for call in trace.calls[step.forward : step.loss] if call.op == "aten._to_copy"]
    assert len(cast) == 2  # the input and the weight; the first product is low already


class Recomputed(nn.Module):
    """A model that checkpoints by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Sequential(nn.Linear(8, 8), nn.GELU()), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.utils.checkpoint.checkpoint(self.a, x, use_reentrant=False))


def test_what_a_model_recomputes_is_autocast_again() -> None:
    made = trained(Recomputed(), (4, 8), amp="bf16")
    step = made.trace.steps[-1]
    calls = made.trace.calls[step.backward : step.optimizer]
    again = [call for call in calls if call.op == "aten.addmm"]
    assert again or any(call.op == "aten._to_copy" for call in calls)
    assert all(made.trace.tensors[call.outputs[0]].dtype == "bfloat16" for call in again)


class Own(nn.Module):
    """A model that enters autocast by itself."""

    def __init__(self, *region: Any) -> None:
        super().__init__()
        self.network, self.region = Mixed(), region

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(*self.region):
            return self.network(x)


class OwnDecorated(Own):
    """The same by a decorator."""

    def forward(self, x: Tensor) -> Any:
        return torch.autocast(*self.region)(self.network.forward)(x)


class OwnRecomputed(Own):
    """The same around a part that is recomputed."""

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(*self.region):
            return torch.utils.checkpoint.checkpoint(self.network, x, use_reentrant=False)[2]


def _run(trace: Any, span: slice = slice(None)) -> list[Any]:
    """The ops of a run, each with the types of its results."""
    return [(call.op, *(trace.tensors[t].dtype for t in call.outputs)) for call in trace.calls[span]]


@pytest.mark.parametrize("kind", [Own, OwnDecorated])
@pytest.mark.parametrize(
    ("device", "region", "asked"),
    [
        ("cuda", ("cuda", torch.bfloat16), "bf16"),
        ("cuda", ("cuda",), "fp16"),  # torch's default
        ("cuda", ("cpu",), "fp16"),  # as x.device.type says
        ("", ("cuda", torch.float16), "fp16"),
        ("cpu", ("cpu", torch.float16), "fp16"),
        ("cpu", ("cpu",), "bf16"),
        ("cuda", ("cuda", torch.bfloat16, False), ""),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_models_own_autocast_casts_as_the_one_that_is_asked_for(
    kind: type[Own], device: str, region: Any, asked: str
) -> None:
    """The same ops on the same types; torch is not left in it."""
    trace = engine.trace(kind(*region), Setup(device=device), (2, 3, 8, 8))
    assert _run(trace) == _run(engine.trace(Mixed(), Setup(device=device, amp=asked), (2, 3, 8, 8)))
    assert any("its own autocast" in note for note in trace.notes) is bool(asked)
    assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cuda")


def test_a_models_own_autocast_on_a_cpu_is_torchs_own() -> None:
    net, x = Own("cpu", torch.bfloat16), torch.zeros(2, 3, 8, 8)
    trace = engine.trace(net, Setup(device="cpu"), (2, 3, 8, 8))
    assert [str(t.dtype) for t in net(x)] == [f"torch.{trace.tensors[t].dtype}" for t in trace.output_tensors]


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_region_of_cuda_does_nothing_on_a_cpu() -> None:
    trace = engine.trace(Own("cuda", torch.bfloat16), Setup(device="cpu"), (2, 3, 8, 8))
    assert {trace.tensors[t].dtype for t in trace.output_tensors} == {"float32"}


DECORATED = """
import torch
from torch import nn

class Net(nn.Linear):
    @torch.autocast("cuda", dtype=torch.float16)
    def forward(self, x):
        return super().forward(x)
"""


def test_a_decorator_for_cuda_is_on_where_there_is_no_cuda(tmp_path: Path) -> None:
    """Torch turns it off, with a warning, when the class is defined."""
    (tmp_path / "decorated.py").write_text(DECORATED, encoding="utf-8")
    trace = archcalc.trace(f"{tmp_path / 'decorated.py'}:Net(8, 4)", "2x8")
    assert trace.tensors[trace.output_tensors[0]].dtype == "float16"


def test_a_run_inside_of_the_callers_autocast_is_in_it() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        trace = engine.trace(Mixed(), Setup(device="cpu"), (2, 3, 8, 8))
        assert torch.is_autocast_enabled("cpu")
    assert _run(trace) == _run(engine.trace(Mixed(), Setup(device="cpu", amp="bf16"), (2, 3, 8, 8)))


def test_a_models_own_autocast_is_there_where_backward_computes_again() -> None:
    trace = trained(OwnRecomputed("cuda", torch.bfloat16), (2, 3, 8, 8)).trace
    step = trace.steps[-1]
    spans = slice(step.forward, step.loss), slice(step.backward, step.optimizer)
    forward, again = ([t for t in _run(trace, span) if t[0] == "aten.convolution"] for span in spans)
    assert forward == again == [("aten.convolution", "bfloat16")]


def test_a_region_of_another_type_inside_of_the_one_that_is_asked_for() -> None:
    """Of the model's own the innermost counts; literal names of a device do not matter."""
    trace = engine.trace(Own("cuda", torch.float16), Setup(amp="bf16"), (2, 3, 8, 8))
    assert [trace.tensors[t].dtype for t in trace.output_tensors][:4] == ["float16", "float16", "float16", "float32"]
    off = engine.trace(Own("cuda", torch.float16, False), Setup(amp="bf16"), (2, 3, 8, 8))
    assert {off.tensors[t].dtype for t in off.output_tensors} == {"float32"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--attention", "flahs"], "choose one of  auto, math, flash, efficient"),
        (["--amp", "fp8"], "choose one of  bf16, fp16"),
        (["--device", "tpu"], "choose  cpu  or  cuda"),
        (["--grad-accumulation", "4"], "--grad-accumulation is an option of a training step"),
    ],
)
def test_wrong_names_end_in_a_sentence(options: list[str], said: str) -> None:
    ran = run("memory", "resnet-20", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_the_answer_states_the_kernels() -> None:
    options = "--train --device cuda --amp bf16 --grad-accumulation 2 --no-changes"
    out = run("memory", "gpt2", *options.split()).out
    assert "assumed: float32, adamw, loss sum, attention unfused, autocast bf16, gradients of 2 batches added up" in out
    assert "blocks of 512 bytes and cuBLAS's workspaces" in out
    assert "batches before" in out


def test_accumulated_gradients_stay_between_batches() -> None:
    """With gradients of the batches before, the peak is higher; forward's own figures are those of one batch."""
    one = totals("memory", "resnet-20", "--train", "--optimizer", "sgd")
    four = totals("memory", "resnet-20", "--train", "--optimizer", "sgd", "--grad-accumulation", "4")
    eight = totals("memory", "resnet-20", "--train", "--optimizer", "sgd", "--grad-accumulation", "8")
    assert one["peak_bytes"] < four["peak_bytes"] == eight["peak_bytes"]
    assert one["saved_total_bytes"] == four["saved_total_bytes"]
    trace = engine.trace("resnet-20", Setup(training=Training("sgd", accumulation=4)))
    assert analyze(trace).macs == 40_551_040
