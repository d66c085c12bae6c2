"""The same training step for real, and what the allocator says: is the computed peak the real one?

    python -m bench.memory_truth                  all cases, the page docs/accuracy.md
    python -m bench.memory_truth 'resnet*'        some of them, printed
    python -m bench.memory_truth --cuda           all of them on a GPU, the page docs/accuracy-cuda.md

The loop is the one that archcalc traces (engine/loop.py). On CPU torch.profiler's allocator events are followed byte by
byte; on CUDA the peaks are torch.cuda.max_memory_allocated of each step.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile, record_function

from archcalc import engine
from archcalc.analyses import Memory, Params, analyze
from archcalc.analyses.memory import LiveBytes
from archcalc.engine import Setup, Training
from archcalc.engine.devices.autocast import AMP
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.record.training_loop import OPTIMIZERS, PHASES, Loss, prepare, steps
from archcalc.networks import catalogue
from archcalc.text.units import exact, shape
from bench.memory_models import MODELS, inputs_of

PAGES = {"cpu": Path("docs/accuracy.md"), "cuda": Path("docs/accuracy-cuda.md")}
HOW = {
    "cpu": "events (`torch.profiler`, `profile_memory`)",
    "cuda": "statistics (`torch.cuda.max_memory_allocated`)",
}


@dataclass(frozen=True)
class Case:
    """A network of the catalogue at a batch size, or a model of bench.memory_models, and how it is trained."""

    name: str
    batch: int = 1
    training: Training = Training("adam")  # noqa: RUF009, frozen
    knobs: tuple[tuple[str, Any], ...] = ()
    attention: str = "auto"
    amp: str = ""

    @property
    def words(self) -> str:
        """What is special about it."""
        settings = [f"{knob}={value}" for knob, value in self.knobs]
        training = self.training
        options = [*(f"frozen {one}" for one in training.frozen), *(f"checkpoint {one}" for one in training.checkpoint)]
        loss = [] if training.loss == "sum" else [f"loss {training.loss}"]
        options += [f"{training.accumulation} batches"] if training.accumulation > 1 else []
        options += [f"attention {self.attention}"] if self.attention != "auto" else []
        options += [f"autocast {self.amp}"] if self.amp else []
        return ", ".join([training.optimizer, *loss, *options, *settings])

    @property
    def input(self) -> str:
        """The batch of a network of the catalogue, the shapes that another model takes."""
        if self.name in MODELS:
            return ", ".join(shape(one) for one in MODELS[self.name][1])
        return f"batch {self.batch}"


@dataclass(frozen=True)
class Truth:
    """Peaks of the two steps in bytes, and the op that ran at the second."""

    first: int
    steady: int
    op: str


CASES = (
    *(Case(name, 4) for name in ("resnet-18", "resnet-34", "resnet-50", "se-resnet-18", "wrn-40-4", "resnet-20")),
    *(Case(name, 2) for name in ("resnet-101", "resnext-50-32x4d", "se-resnet-50", "resnet-50-v1", "wrn-50-2")),
    *(Case(name, 2) for name in ("alexnet", "alexnet-2012", "vgg-11", "googlenet", "inception-v2", "inception-v3")),
    *(Case(name, 2) for name in ("inception-v4", "inception-resnet-v2", "xception", "se-inception-v2")),
    *(Case(name, 4) for name in ("densenet-121", "densenet-cifar", "densenet-bc-cifar")),
    Case("densenet-121", 4, knobs=(("memory_efficient", True),)),
    Case("densenet-bc-cifar", 8, Training("momentum"), (("memory_efficient", True),)),
    *(Case(name, 4) for name in ("shufflenet-v1", "shufflenet-v2-0.5x", "shufflenet-v2-1.0x", "shufflenet-v2-2.0x")),
    *(Case(name, 2) for name in ("rnn", "gru", "lstm", "lstm-ptb-small")),
    *(Case(name, 2) for name in ("encoder-layer", "decoder-layer", "multi-head-attention", "transformer-base")),
    Case("bert-base", 1, Training("adamw")),
    Case("gpt2", 1, Training("adamw")),
    *(Case("resnet-18", 4, Training(name)) for name in ("sgd", "momentum", "adamw", "adafactor", "lion")),
    Case("resnet-18", 4, Training("sgd", "cross-entropy")),
    Case("resnet-18", 4, Training("sgd", "mse")),
    Case("resnet-18", 4, Training("momentum", frozen=("layer1", "layer2"))),
    Case("resnet-18", 4, Training("momentum", checkpoint=("layer[1-4].*",))),
    Case("encoder-layer", 2, Training("adam", checkpoint=("feed_forward",))),
    Case("resnet-20", 4, Training("momentum", accumulation=4)),
    *(Case(name, 0) for name in MODELS),
    *(Case(name, 0, attention="math") for name in ("nn.TransformerEncoder", "nn.Transformer", "GPT")),
    Case("GPT", 0, Training("adamw", "cross-entropy")),
    Case("GPT", 0, Training("adamw", checkpoint=("blocks.*",))),
    Case("GPT", 0, Training("adamw", frozen=("blocks.0", "blocks.1", "words"))),
    Case("GPT", 0, Training("adamw", accumulation=4)),
    *(
        Case(name, 0, amp="bf16")
        for name in ("MLP", "nn.TransformerEncoder", "GPT", "GPT, wide", "nn.LSTMCell", "nn.GRU", "nn.LSTM")
    ),
    Case("GPT", 0, Training("adamw", checkpoint=("blocks.*",)), amp="bf16"),
    Case("encoder-layer", 2, amp="bf16"),
    Case("resnet-18", 4, amp="bf16"),
)


def computed(case: Case, device: str = "cpu") -> dict[str, Any]:
    """What archcalc says of it."""
    kernels: dict[str, Any] = {"device": device, "attention": case.attention, "amp": case.amp}
    if case.name in MODELS:
        setup = Setup(training=case.training, **kernels)
        trace = engine.trace(MODELS[case.name][0](), setup, inputs_of(case.name))
    else:
        trace = engine.trace(case.name, Setup(dict(case.knobs), batch=case.batch, training=case.training, **kernels))
    report = analyze(trace, (Params(), Memory()))
    return {**report.totals, "op": peak.op if (peak := report.record(LiveBytes).peak) else ""}


def _real(case: Case) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The model with its weights, and inputs with their values."""
    if case.name in MODELS:
        return MODELS[case.name][0](), inputs_of(case.name)
    network = catalogue.load(catalogue.resolve(case.name)[0])
    config = network.configured(dict(case.knobs))
    return network.build(**config), tuple(_zeros(one, case.batch) for one in network.inputs_for(config))


def measured(case: Case) -> Truth:
    """What the allocator does in the same two steps on real tensors."""
    module, args = _real(case)
    module.train()

    @contextmanager
    def region() -> Iterator[None]:
        with torch.autocast("cpu", AMP[case.amp]) if case.amp else nullcontext():
            yield

    prepare(module, case.training, region)
    optimizer = OPTIMIZERS[case.training.optimizer]([p for p in module.parameters() if p.requires_grad], False)
    tensors = (*module.parameters(), *module.buffers(), *args)
    before = sum(t.untyped_storage().nbytes() for t in {t.untyped_storage()._cdata: t for t in tensors}.values())
    loss, ranges = Loss(case.training.loss), []

    def mark(phase: str) -> None:
        if ranges:
            ranges.pop().__exit__(None, None, None)
        if phase != PHASES[-1]:
            ranges.append(record_function(f"phase {phase}"))
            ranges[-1].__enter__()
        if phase == PHASES[-1]:
            with record_function("step ends"):
                pass

    if case.training.loss in ("cross-entropy", "mse"):  # the targets are there before the first step
        with torch.no_grad():
            loss(_requiring(module(*args)))
        before += sum(target.nbytes for target in loss.targets)
    gc.collect()
    gc.disable()
    attention = sdpa_kernel(SDPBackend.MATH) if case.attention == "math" else nullcontext()
    try:
        with attention, profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            steps(module, Inputs(args, {}, ()), loss, optimizer, mark, region, case.training.accumulation)
    finally:
        gc.enable()
    return _peaks(profiler, before)


def measured_on_cuda(case: Case) -> Truth:
    """The same two steps on a GPU, with the allocator's highest mark of each."""
    module, args = _real(case)
    module, args = module.to("cuda").train(), tuple(one.to("cuda") for one in args)

    @contextmanager
    def region() -> Iterator[None]:
        with torch.autocast("cuda", AMP[case.amp]) if case.amp else nullcontext():
            yield

    prepare(module, case.training, region)
    optimizer = OPTIMIZERS[case.training.optimizer]([p for p in module.parameters() if p.requires_grad], True)
    loss, peaks = Loss(case.training.loss), []

    def mark(phase: str) -> None:
        if phase == PHASES[-1]:
            torch.cuda.synchronize()
            peaks.append(torch.cuda.max_memory_allocated())
            torch.cuda.reset_peak_memory_stats()

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with sdpa_kernel(SDPBackend.MATH) if case.attention == "math" else nullcontext():
        steps(module, Inputs(args, {}, ()), loss, optimizer, mark, region, case.training.accumulation)
    return Truth(peaks[0], peaks[1], "")


def _requiring(out: Any) -> Any:
    return [t.detach().requires_grad_() for t in (out if isinstance(out, tuple) else (out,)) if t.is_floating_point()]


def _zeros(one: Any, batch: int) -> torch.Tensor:
    sizes = tuple(batch if axis == "batch" else size for axis, size in zip(one.axes, one.shape, strict=True))
    return torch.zeros(sizes, dtype=getattr(torch, one.dtype))


def _peaks(profiler: Any, before: int) -> Truth:
    events = profiler.profiler.kineto_results.events()
    first_ends = min(e.end_ns() for e in events if e.name() == "step ends")
    allocations = sorted(
        ((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"), key=lambda pair: pair[0]
    )
    live, peaks, moment = before, [before, before], 0
    for time, change in allocations:
        live += change
        step = 1 if time >= first_ends else 0
        if live > peaks[step]:
            peaks[step], moment = live, time
    inside = [e for e in events if e.start_ns() <= moment <= e.end_ns() and e.name().startswith("aten::")]
    op = max(inside, key=lambda e: e.start_ns()).name() if inside else ""
    return Truth(peaks[0], peaks[1], op.removeprefix("aten::"))


def row(case: Case, device: str = "cpu") -> dict[str, Any]:
    """One case: ours, the truth, the error in percent."""
    ours = computed(case, device)
    truth = measured(case) if device == "cpu" else measured_on_cuda(case)
    error = 100 * (ours["peak_bytes"] - truth.steady) / truth.steady
    return {
        "case": case,
        "ours": ours["peak_bytes"],
        "truth": truth.steady,
        "error": error,
        "first": ours["first_step_peak_bytes"] - truth.first,
        "op": ours["op"],
        "their_op": truth.op,
    }


LEFT_OUT = (
    "The small differences are buffers inside kernels that the count leaves out: oneDNN's for sums between threads,",
    "the Winograd transform of some convolutions, an 8-byte number beside a tensor. In bfloat16 its products use",
    "0.1 to 1 MB a call, whatever their size: more than 1 % of a toy, 0.1 % of a network.",
)


def page(rows: list[dict[str, Any]], device: str) -> str:
    """The page of all cases."""
    exactly = sum(one["ours"] == one["truth"] for one in rows)
    within = sum(abs(one["error"]) <= 1 for one in rows)
    lines = [
        f"# Accuracy of the memory figures{' on CUDA' if device == 'cuda' else ''}",
        "",
        f"`bench/memory_truth.py` runs each case for real on {device.upper()}, two training steps, and follows the",
        f"allocator's own {HOW[device]}. Beside them stands the peak of the steady step that",
        f"`archcalc memory MODEL --train --device {device}` computes without running anything.",
        "",
        f"torch {torch.__version__}, {_machine(device)}. "
        f"Of {len(rows)} cases {exactly} are equal to the byte and {within} within 1 %.",
        "",
        "| network | input | training | computed, bytes | real, bytes | error |",
        "| :-- | :-- | :-- | --: | --: | --: |",
    ]
    for one in rows:
        case = one["case"]
        error = "=" if one["ours"] == one["truth"] else f"{one['error']:+.3f} %"
        lines.append(
            f"| {case.name} | {case.input} | {case.words} | {exact(one['ours'])} | {exact(one['truth'])} | {error} |"
        )
    lines += ["", *LEFT_OUT] if device == "cpu" else []
    far = [one for one in rows if abs(one["error"]) > 1]
    lines += ["", "What is more than 1 % off, and where the peaks are:", ""] if far else []
    lines += [
        f"* {one['case'].name} ({one['case'].words}): ours in `{one['op']}`, the real one in `{one['their_op']}`, "
        f"{exact(one['truth'] - one['ours'])} bytes more"
        for one in far
    ]
    return "\n".join(lines) + "\n"


def _machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def main(arguments: list[str]) -> None:
    """Measure the cases that the patterns name; all of them are written to the page."""
    device = "cuda" if "--cuda" in arguments else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here: run this on a machine with one, with a CUDA build of torch")
    patterns = [one for one in arguments if one != "--cuda"]
    chosen = [case for case in CASES if not patterns or any(fnmatch(case.name, pattern) for pattern in patterns)]
    rows = []
    for case in chosen:
        rows.append(one := row(case, device))
        numbers = f"{one['ours']:,} against {one['truth']:,}, {one['error']:+.3f} %"
        said = f"{case.name}, {case.input} ({case.words}): {numbers}"
        print(f"{said}, first step {one['first']:+,}, {one['op']} | {one['their_op']}", file=sys.stderr, flush=True)
    if not patterns:
        PAGES[device].write_text(page(rows, device), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
