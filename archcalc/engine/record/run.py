"""Run a loaded model once and return its trace; exceptions from user code become ForwardFailed."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import getattr_static
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archcalc.engine import choices
from archcalc.engine.alone import alone
from archcalc.engine.collector import old_objects_frozen
from archcalc.engine.devices import device_named, kernel_selection
from archcalc.engine.devices.kernel_selection import KernelSelection
from archcalc.engine.float32_products import EXACT, float32_products
from archcalc.engine.load.adapted import idle_adapters
from archcalc.engine.load.build import Loaded, load
from archcalc.engine.load.given_inputs import from_function, from_values
from archcalc.engine.load.inputs import Inputs, build, from_declared, from_options, needs_input, takes_nothing
from archcalc.engine.load.pretrained.facts import is_pretrained, quiet
from archcalc.engine.load.references import BuiltIn, Code, Exported, InLibrary, is_default, parse
from archcalc.engine.load.user_code import shown, value_of
from archcalc.engine.meta.call_arguments import NotDense
from archcalc.engine.meta.empty_modules import registered
from archcalc.engine.meta.known_values import DRAW, KnownValues, NeedsValues
from archcalc.engine.meta.one_device import META, OneDevice
from archcalc.engine.meta.own_draws import seeded
from archcalc.engine.record import recorder as recording
from archcalc.engine.record.advice import advice_for
from archcalc.engine.record.assumed_values import completed
from archcalc.engine.record.data import known_values
from archcalc.engine.record.definition import DENSE, bare_trace, demand_all_dense, of_dtype
from archcalc.engine.record.eager import without_compiling
from archcalc.engine.record.forward_pass import forward, parameters_of
from archcalc.engine.record.idle_choices import notes_of_experts
from archcalc.engine.record.lazy_modules import FirstRun, first_run, without_shape
from archcalc.engine.record.nesting import stack_for
from archcalc.engine.record.packing import FULL_LENGTH
from archcalc.engine.record.parts_not_run import in_words, parts_not_run
from archcalc.engine.setup import Setup, assumed
from archcalc.engine.watch import Watch, unwatched
from archcalc.errors import (
    ArchcalcError,
    BadInput,
    BadReference,
    CannotFollow,
    ForwardFailed,
    NeedsData,
    WrongUse,
    one_line,
)
from archcalc.text.units import shape
from archcalc.tracing import Trace, Value
from archcalc.tracing.uncollected import uncollected

CODE_NAMES = "the code names the device {}: its tensors are taken as those of this run"
DEFAULTS = "hint    this is the library's default configuration; one of a trained model: hf:path/to/config.json"
DECIDED = "{} decided what ran"
NO_FORWARD = "{} has no forward of its own: other code calls its parts."
DREW = "a draw at random may have decided what ran: it is seeded, and another draw may give other figures"
OWN_AUTOCAST = "parts of the model are in its own autocast, in {}: ops are cast as torch does it on {}"
HOMES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
"""Folders whose stack frames are skipped when we look for the failing line of user code."""


def run(
    reference: BuiltIn | Code | InLibrary | Exported | nn.Module | type[nn.Module],
    setup: Setup,
    values: Any = None,
    watch: Watch = unwatched,
) -> Trace:
    """Load, build the inputs (from `values` where a caller has them), run once, and return the trace."""
    with alone():
        loaded = load(reference, setup)
        try:
            return run_loaded(loaded, setup, values, watch)
        except ForwardFailed as error:
            if isinstance(reference, InLibrary) and is_default(reference):
                error.hint += f"\n{DEFAULTS}"
            raise


def prepared(loaded: Loaded, setup: Setup, values: Any = None) -> tuple[nn.Module, Inputs]:
    """The module in its mode and dtype, and its inputs; the errors of exit code 2 for what cannot be."""
    setup = loaded.typed(setup)
    choices.mode(setup.mode)
    device_named(setup.device)
    kernel_selection.check(setup.attention, setup.amp)
    if getattr_static(type(loaded.module), "forward") is nn.Module.forward:
        raise CannotFollow(NO_FORWARD.format(loaded.model.name), "name one of its parts; params counts all of them")
    module = of_dtype(loaded.module.train(_mode(setup) == "train"), setup)
    inputs = completed(module, _inputs(loaded, setup, values), setup)
    demand_all_dense((*registered(module).items(), *inputs.named))
    return module, inputs


def run_loaded(loaded: Loaded, setup: Setup, values: Any = None, watch: Watch = unwatched) -> Trace:
    """Run a loaded module once and return its trace."""
    setup = loaded.typed(setup)
    module, inputs = prepared(loaded, setup, values)
    kernels = KernelSelection(device_named(setup.device), setup.attention, setup.amp)
    if without_shape(module):
        _shape_lazy(module, inputs, setup, kernels)
    known = known_values(module, inputs, setup, watch)
    recorder, go = _recorder(module, setup, kernels, known)
    recorder.lengths = setup.lengths
    device = OneDevice(META, known.told, recorder.twin)
    parameters = parameters_of(recorder)
    given = tuple(recorder.tensor(tensor, "input") for tensor in inputs.tensors)
    device.named |= loaded.named
    with kernels.installed(), device, quiet(module):
        outputs, drew = _run(go, inputs, recorder)
    kernels.demand_use(loaded.model.name)
    if setup.lengths and not recorder.unknown_lengths:
        sentence = f"--lengths changes nothing: {loaded.model.name} packs no batch of unknown lengths."
        raise WrongUse(sentence, "leave --lengths out; lengths that the program or the inputs give are used")
    idle = parts_not_run(parameters, recorder.tensors, recorder.calls) if is_pretrained(module) else {}
    notes = _notes(recorder, device, drew)
    if setup.lora:
        notes += idle_adapters(module, {recorder.paths.modules[call.module].path for call in recorder.module_calls})
    assumptions = _assumptions(setup, inputs, kernels, recorder.state_names) | (
        {"did_not_run": tuple(idle)} if idle else {}
    )
    trace = replace(
        bare_trace(loaded, recorder, parameters, assumptions),
        inputs=inputs.described,
        input_tensors=given,
        output_tensors=outputs,
    )
    notes = notes_of_experts(module, trace, notes)
    return replace(trace, notes=(*loaded.notes, *inputs.notes, *notes, *([in_words(idle)] if idle else [])))


def _assumptions(setup: Setup, inputs: Inputs, kernels: KernelSelection, state: tuple[str, ...]) -> dict[str, Value]:
    """The settings that the figures depend on, and what the run made of them."""
    run: dict[str, Value] = {
        "mode": _mode(setup),
        "gradients": setup.training is not None,
        "dtype": setup.floats,
        "batch": _batch(inputs),
        "kernels": "composite ops decomposed",
    }
    outputs = {"outputs": "output and loss live to the end of the step; gradients are None at its start"}
    if machine := kernels.device.machine():
        run["processor"] = machine
    if (precision := float32_products()) != EXACT:
        run["float32_products"] = precision
    of_step = {**outputs, "optimizer_state": state} if setup.training else {}
    return {**run, **assumed(setup), "mode": _mode(setup), "attention": kernels.in_words(), **of_step}


def _mode(setup: Setup) -> str:
    return "train" if setup.training else setup.mode


def _inputs(loaded: Loaded, setup: Setup, values: Any) -> Inputs:
    """Inputs from the caller if given, else from -i options, else the model's own."""
    forward, reference = loaded.module.forward, loaded.model.reference
    if values is None and setup.inputs_from:
        return from_function(_made(setup), forward, setup.inputs_from)
    if values is not None:
        return from_values(values, forward, setup, loaded.declared)
    if setup.inputs:
        return build(from_options(setup), forward, reference)
    if not loaded.declared.inputs:
        if takes_nothing(forward):
            return Inputs((), {}, ())
        raise needs_input(reference, forward)
    return build(from_declared(loaded.declared, setup), forward, reference)


def _made(setup: Setup) -> Any:
    """The inputs that the user's function makes."""
    if setup.inputs or setup.batch or setup.size or setup.seq_len:
        raise WrongUse("--inputs does not combine with -i, --batch, --size or --seq-len.", "choose one of them")
    if setup.images is not None:
        raise WrongUse("--inputs does not combine with --images.", "choose one of them")
    form = "write  --inputs package.module:FUNCTION  or  --inputs path/to/file.py:FUNCTION"
    try:
        reference = parse(setup.inputs_from)
        if not isinstance(reference, Code):
            raise WrongUse(f"'--inputs {setup.inputs_from}' names no function.", form)
        return value_of(reference)
    except BadReference as error:
        raise BadInput(f"--inputs {setup.inputs_from} cannot be used: {error.reason}.", error.advice or form) from None


def _shape_lazy(module: nn.Module, inputs: Inputs, setup: Setup, kernels: KernelSelection) -> None:
    """Give lazy parameters their shapes by a run before the run."""
    known = known_values(module, inputs, setup)
    recorder = FirstRun(module, kernels, known)

    def go(inputs: Inputs) -> tuple[int, ...]:
        first_run(module, inputs, recorder)
        return ()

    with OneDevice(META, known.told, recorder.twin):
        _run(go, inputs, recorder)


def _notes(recorder: recording.Recorder, device: OneDevice, drew: bool) -> list[str]:
    """What the run had to assume."""
    notes = [recorder.device.warning] if recorder.device.warning else []
    own = sorted(str(dtype).removeprefix("torch.") for dtype in recorder.autocast.own)
    notes += [OWN_AUTOCAST.format(" and ".join(own), recorder.autocast.lists)] if own else []
    notes += [CODE_NAMES.format(kind) for kind in sorted(device.named)]
    notes += [FULL_LENGTH] if recorder.unknown_lengths and not recorder.lengths else []
    decided = recorder.known.decided
    notes += [DECIDED.format(origin) for origin in sorted(decided - {DRAW})]
    notes += [DREW] if drew or DRAW in decided else []
    return notes


def _batch(inputs: Inputs) -> int | None:
    first = inputs.described[0].shape if inputs.described else ()
    return first[0] if first else None


Go = Callable[[Inputs], tuple[int, ...]]


def _recorder(
    module: nn.Module, setup: Setup, kernels: KernelSelection, known: KnownValues
) -> tuple[recording.Recorder, Go]:
    """A recorder, and the function that runs the model under it: one forward pass or two training steps."""
    training = setup.training
    if training is None:
        recorder = recording.Recorder(module, kernels, known)
        return recorder, lambda inputs: forward(module, inputs, recorder, kernels.region)
    from archcalc.engine.record.training_loop import prepare
    from archcalc.engine.record.training_recorder import TrainingRecorder, train

    demand_called = prepare(module, training, kernels.region)
    watching = TrainingRecorder(module, kernels, known)

    def go(inputs: Inputs) -> tuple[int, ...]:
        outputs = train(module, inputs, watching, training, kernels)
        demand_called()
        return outputs

    return watching, go


def _run(go: Go, inputs: Inputs, recorder: recording.Recorder) -> tuple[tuple[int, ...], bool]:
    """The ids of the outputs, and whether the code drew from the generators of Python or NumPy."""
    try:
        with seeded() as draws, _no_collection(), without_compiling(), stack_for(recorder.paths.depth):
            outputs = go(inputs)
        return outputs, draws.used
    except (ArchcalcError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() in forward, too
        raise _explained(error, inputs, recorder) from error


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Disable the garbage collector, so that tensors are freed in the same order in every run.

    The tracer collects young objects itself; where collection was off before, the old ones are put out of its sight.
    """
    with uncollected() as was_on, contextlib.nullcontext() if was_on else old_objects_frozen():
        yield


def _explained(error: BaseException, inputs: Inputs, recorder: recording.Recorder) -> ArchcalcError:
    """The user's error with its own message and line, and the module that was running."""
    layer = recorder.failed[1] if recorder.failed and recorder.failed[0] == id(error) else ""
    place = _place(error) + (f", in layer {layer}" if layer else "")
    if isinstance(error, NeedsValues):
        return NeedsData(place, str(error), tuple(recorder.known.lost), recorder.known.data)
    if isinstance(error, NotDense):
        return CannotFollow(f"{error}.", f"at    {place}\nhint  {DENSE}")
    if "support saved tensor hooks" in one_line(error):
        sentence = "torch.func's grad and jacrev refuse the hooks that record what autograd keeps in a training step."
        return CannotFollow(sentence, f"at    {place}\nhint  leave --train out: the forward pass can be analysed")
    shown = ", ".join(f"{given.name}={shape(given.shape)} {given.dtype}" for given in inputs.described)
    message = one_line(error)
    return ForwardFailed(place, message, shown, advice_for(message, inputs.described, recorder.module), recorder.phase)


def _place(error: BaseException) -> str:
    """The innermost line of the user's; of torch's, where a module of torch was called directly."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(HOMES)]
    torchs = [f for f in frames if f.filename.startswith(HOMES[0])]
    frame = (own or torchs or frames)[-1]
    return f"{shown(frame.filename)}:{frame.lineno} in {frame.name}"
