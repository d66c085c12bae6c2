"""PyTorch's own operator database against archcalc: every operator's samples and errors, beside the real CPU run.

    python -m bench.operators            everything, in parallel; the table goes into docs/coverage.md
    python -m bench.operators conv fft   only operators whose names contain one of these words, without the table
    python -m bench.operators --samples 6   only the first samples of each operator in each dtype; the table says so

A sample is one call with tensors of real sizes, empty ones among them. It is run on a CPU and traced without data: the
shapes and dtypes of all outputs must be equal. An error input is a call that the CPU refuses: archcalc must refuse it,
without values if the error is in a shape, a dtype, an index, an overlap or an attribute, and with `--data` if it is in
the values. In a training step the gradients' shapes, and the bytes that autograd keeps, are those of real autograd.
Needs expecttest and scipy.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils import _pytree as pytree

import archcalc
from archcalc import Setup, Training
from archcalc.errors import ArchcalcError

PAGE = Path("docs/coverage.md")
ALL = 10_000
"""More samples than any operator has."""
BEGIN, END = "<!-- operators -->\n", "<!-- end of operators -->"
DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
EQUAL, WRONG, CRASH, REFUSED, ACCEPTED, NOT_RUN = "equal", "wrong", "crash", "refused", "accepted", "CPU refuses"
VALUES = {"multinomial": "probabilities that are negative, infinite, not a number, or add up to 0"}
"""Operators with error inputs whose error is in values: refused with data alone."""
NO_CALLS = ("jiterator",)
"""Operators that a CPU does not have."""


@dataclass(frozen=True)
class Case:
    """One comparison: the operator, what was compared (a dtype, 'error', 'training'), which sample, and the verdict."""

    operator: str
    kind: str
    sample: int
    verdict: str
    words: str = ""


class Call(nn.Module):
    """One call of an operator as a module: its tensors are forward's inputs; those that are trained, parameters."""

    def __init__(self, operator: Any, sample: Any, trained: bool = False) -> None:
        super().__init__()
        self.operator = operator
        leaves, self.structure = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        self.places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.tensors = tuple(leaves[i] for i in self.places)
        self.leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.trained = [trained and tensor.requires_grad for tensor in self.tensors]
        own = [t.detach().clone() for t, is_own in zip(self.tensors, self.trained, strict=True) if is_own]
        self.weights = nn.ParameterList(nn.Parameter(t) for t in own)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that forward receives."""
        return tuple(t for t, is_own in zip(self.tensors, self.trained, strict=True) if not is_own)

    def forward(self, *tensors: Tensor) -> Any:
        """The operator's result."""
        given, own = iter(tensors), iter(self.weights)
        leaves = list(self.leaves)
        for place, is_own in zip(self.places, self.trained, strict=True):
            leaves[place] = next(own) * 1 if is_own else next(given)
        first, args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return self.operator(first, *args, **kwargs)


def database(words: Sequence[str] = ()) -> list[Any]:
    """The operators of torch's database whose names contain one of some words; all without words.

    Its iterators look for a unittest on the stack, with the source of every frame, at each sample: there is none here.
    """
    from torch.testing._internal import common_utils
    from torch.testing._internal.common_methods_invocations import op_db

    common_utils.extract_test_fn = lambda: None
    known = [op for op in op_db if not op.name.startswith(NO_CALLS)]
    return [op for op in known if not words or any(word in op.formatted_name for word in words)]


def seeded() -> None:
    """Samples are drawn at random: always the same ones."""
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)


def outputs_of(value: Any) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor in a result."""
    tensors = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
    return [(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in tensors]


def traced(call: Call, setup: Setup | None = None) -> list[tuple[tuple[int, ...], str]]:
    """The same of a trace without data, which all analyses must take."""
    trace = archcalc.analyze(call, call.inputs, setup=setup).trace
    return [(trace.tensors[i].shape, trace.tensors[i].dtype) for i in trace.output_tensors]


def on_cpu(call: Call) -> Any:
    """The result of the real call on copies of its tensors."""
    return call(*(t.clone() if t.layout is torch.strided else t for t in call.inputs))


def samples(operator: Any, limit: int, dtypes: Sequence[torch.dtype] = DTYPES) -> Iterator[Case]:
    """The operator's samples in every dtype that a CPU has it in."""
    for dtype in dtypes:
        if dtype not in operator.supported_dtypes("cpu"):
            continue
        seeded()
        kind = str(dtype).removeprefix("torch.")
        for number, sample in enumerate(islice(operator.sample_inputs("cpu", dtype, requires_grad=False), limit)):
            call = Call(operator.op, sample)
            try:
                expected = outputs_of(on_cpu(call))
            except Exception as error:
                yield Case(operator.formatted_name, kind, number, NOT_RUN, repr(error))
                continue
            yield Case(operator.formatted_name, kind, number, *_verdict(call, expected))


def _verdict(call: Call, expected: list[Any]) -> tuple[str, str]:
    try:
        ours = traced(call)
    except ArchcalcError as error:
        return REFUSED, f"{type(error).__name__}: {error.message}"
    except Exception as error:
        return CRASH, repr(error)
    return (EQUAL, "") if ours == expected else (WRONG, f"{ours}, and {expected} on a CPU")


def errors(operator: Any) -> Iterator[Case]:
    """The operator's error inputs: refused without values, or else with data."""
    if operator.error_inputs_func is None:
        return
    seeded()
    for number, wrong in enumerate(operator.error_inputs("cpu")):
        call = Call(operator.op, wrong.sample_input)
        try:
            on_cpu(call)
        except Exception as error:
            yield Case(operator.formatted_name, "error", number, *_refusal(call, error))
        else:
            yield Case(operator.formatted_name, "error", number, NOT_RUN, "a CPU takes it")


def _refusal(call: Call, error: Exception) -> tuple[str, str]:
    if "same device" in str(error):
        return NOT_RUN, "there is one device here"
    for setup, words in ((Setup(), ""), (Setup(data=True), "with data")):
        try:
            traced(call, setup)
        except ArchcalcError:
            return REFUSED, words
        except Exception as crash:
            return CRASH, repr(crash)
    return ACCEPTED, f"{type(error).__name__}: {error}"


def training(operator: Any, limit: int) -> Iterator[Case]:
    """Gradients and kept bytes of float32 samples, where the operator has a derivative."""
    if not operator.supports_autograd or torch.float32 not in operator.supported_dtypes("cpu"):
        return
    seeded()
    for number, sample in enumerate(islice(operator.sample_inputs("cpu", torch.float32, requires_grad=True), limit)):
        call = Call(operator.op, sample, trained=True)
        try:
            expected = _real_step(call)
        except Exception as error:
            yield Case(operator.formatted_name, "training", number, NOT_RUN, repr(error))
            continue
        try:
            ours = _traced_step(call)
        except ArchcalcError as error:
            yield Case(operator.formatted_name, "training", number, REFUSED, f"{type(error).__name__}: {error.message}")
            continue
        verdict = (EQUAL, "") if ours == expected else (WRONG, f"{ours}, and {expected} by real autograd")
        yield Case(operator.formatted_name, "training", number, *verdict)


def _real_step(call: Call) -> dict[str, Any]:
    """Output shapes, the shapes of gradients, and the bytes that autograd keeps beside weights and inputs."""
    inputs = tuple(t.detach().clone() for t in call.inputs)
    there = {t.untyped_storage()._cdata for t in (*call.weights, *inputs)}
    kept: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = call(*inputs)
        described = outputs_of(out)
        total = sum(t.sum() for t in pytree.tree_leaves(out) if isinstance(t, Tensor) and t.requires_grad)
    bytes_kept = sum(storage.nbytes() for key, storage in kept.items() if key not in there)
    (total.abs() if total.is_complex() else total).backward()
    gradients = sorted(tuple(w.grad.shape) for w in call.weights if w.grad is not None)
    return {"outputs": described, "gradients": gradients, "kept": bytes_kept}


def _traced_step(call: Call) -> dict[str, Any]:
    trace = archcalc.trace(call, call.inputs, train=Training("sgd", loss="sum"), device="cpu")
    first = trace.steps[0]
    described = [(trace.tensors[i].shape, trace.tensors[i].dtype) for i in trace.output_tensors]
    met = {trace.tensors[tensor].storage for call in trace.calls[: first.loss] for tensor in call.tensors()}
    kept = [
        storage.bytes
        for number, storage in enumerate(trace.storages)
        if storage.role == "saved" and storage.birth < first.loss and (storage.birth > -1 or number in met)
    ]
    gradients = {
        tensor.storage: tensor.shape for tensor in trace.tensors if trace.storages[tensor.storage].role == "gradient"
    }
    born = [s for s in gradients if first.backward <= trace.storages[s].birth < first.optimizer]
    return {"outputs": described, "gradients": sorted(gradients[s] for s in born), "kept": sum(kept)}


def compared(name: str, limit: int = ALL) -> list[Case]:
    """All comparisons of one operator; a crash of the harness itself is a case, too."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases: list[Case] = []
        for operator in database():
            if operator.formatted_name == name:
                for kind in (samples(operator, limit), errors(operator), training(operator, limit)):
                    cases += kind
    return cases


def everything(words: Sequence[str] = (), limit: int = ALL) -> list[Case]:
    """Every operator, in as many processes as there are cores."""
    names = sorted({operator.formatted_name for operator in database(words)})
    with get_context("spawn").Pool() as pool:
        return [case for cases in pool.imap(partial(compared, limit=limit), names, chunksize=4) for case in cases]


# ---- the page ------------------------------------------------------------------------------------

KINDS = ("float32", "bfloat16", "int64", "bool", "complex64", "error", "training")


def section(cases: Sequence[Case], limit: int = ALL) -> str:
    """The part of docs/coverage.md about the operator database."""
    counted = {kind: Counter(case.verdict for case in cases if case.kind == kind) for kind in KINDS}
    of = len({case.operator for case in cases})
    taken = "every sample" if limit == ALL else f"the first {limit} samples in each dtype"
    lines = [
        "## PyTorch's operator database",
        "",
        f"{of:,} operators of `op_db`, torch {torch.__version__.split('+')[0]}: {taken}, also of empty",
        "tensors, beside the real CPU run (`python -m bench.operators`). *Samples* compare shape and dtype of every",
        "output; *error inputs* are calls that the CPU refuses; *training* compares outputs, gradients and kept",
        "bytes with real autograd, as on `--device cpu`.",
        "",
        "| compared | equal | wrong | crashes | refused | accepted |",
        "|---|---:|---:|---:|---:|---:|",
        *(_row(kind, counted[kind]) for kind in KINDS),
        "",
        "Valid samples that are refused ask for values, which `--data` gives:",
        "",
        *_listed(cases),
        "",
        "Error inputs refused only with `--data`, for their error is in the values:",
        "",
        *(f"* `{name}`: {words}" for name, words in VALUES.items()),
        "",
    ]
    return "\n".join(lines)


def _row(kind: str, counted: Counter[str]) -> str:
    words = {"error": "error inputs", "training": "training step"}.get(kind, f"samples, {kind}")
    verdicts = ("-" if kind == "error" else f"{counted[EQUAL]:,}", f"{counted[WRONG]:,}", f"{counted[CRASH]:,}")
    accepted = f"{counted[ACCEPTED]:,}" if kind == "error" else "-"
    return f"| {words} | {' | '.join(verdicts)} | {counted[REFUSED]:,} | {accepted} |"


def _listed(cases: Sequence[Case]) -> Iterator[str]:
    """The operators with refused samples, by the reason."""
    by_reason: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.verdict == REFUSED and case.kind != "error":
            by_reason[case.words.partition(": ")[2].rstrip(".").replace(", and there are no data here", "")].add(
                case.operator
            )
    for reason, names in sorted(by_reason.items()):
        yield f"* {reason}: {', '.join(f'`{name}`' for name in sorted(names))}"


def written(page: str, made: str) -> str:
    """The page with its section about operators in place of the one before, or at its end."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(f"{END}\n")
    return f"{before.rstrip()}\n\n{BEGIN}{made}{END}\n{after}"


def main(arguments: Sequence[str]) -> None:
    """Print what is not as it should be; without words write the table, too."""
    words = list(arguments)
    limit = ALL
    if "--samples" in words:
        at = words.index("--samples")
        limit, words = int(words[at + 1]), words[:at] + words[at + 2 :]
    cases = everything(words, limit)
    for case in cases:
        if case.verdict in (WRONG, CRASH, ACCEPTED):
            print(f"{case.operator} {case.kind} {case.sample}: {case.verdict} {case.words}")
    made = section(cases, limit)
    if words:
        print(made)
    else:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
