"""A model's definition as a trace: its modules and parameters, without a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

from archcalc.engine import choices
from archcalc.engine.alone import alone
from archcalc.engine.devices import device_named
from archcalc.engine.devices.kernel_selection import KernelSelection
from archcalc.engine.load.adapted import BASE, raise_halves
from archcalc.engine.load.build import Loaded, load
from archcalc.engine.load.inputs import dtype_named
from archcalc.engine.load.references import BuiltIn, Code, Exported, InLibrary
from archcalc.engine.meta.call_arguments import NotDense, demand_dense
from archcalc.engine.meta.empty_modules import cast, registered
from archcalc.engine.record import recorder as recording
from archcalc.engine.record.forward_pass import parameters_of
from archcalc.engine.record.lazy_modules import without_shape
from archcalc.engine.setup import Setup
from archcalc.errors import CannotFollow, CannotImport
from archcalc.tracing import DEFINITION, ModuleCall, Parameter, Trace, Value
from archcalc.version import __version__

DENSE = "use dense tensors: .to_dense() for sparse ones, padding for nested ones"


def defined(reference: BuiltIn | Code | InLibrary | Exported | nn.Module | type[nn.Module], setup: Setup) -> Trace:
    """Load, and return the modules and parameters of the definition: a trace of no calls."""
    with alone():
        loaded = load(reference, setup)
        setup = loaded.typed(setup)
        module = of_dtype(loaded.module, setup)
        lazy = without_shape(module)
        if lazy:
            hint = "give an input, which shapes it:  archcalc summary MODEL -i 1x3x224x224"
            raise CannotImport(f"{lazy[0]} is lazy: its shape is only known after a run.", hint)
        demand_all_dense(registered(module).items())
        recorder = recording.Recorder(module, KernelSelection(device_named(setup.device), "math", ""))
        parameters = parameters_of(recorder)
        recorder.module_calls.append(ModuleCall(0, None, (), (), 0, 0))
        assumptions: dict[str, Value] = {"mode": DEFINITION, "dtype": setup.floats, "batch": None}
        assumptions |= {"lora": setup.lora} if setup.lora else {}
        return bare_trace(loaded, recorder, parameters, assumptions)


def of_dtype(module: nn.Module, setup: Setup) -> nn.Module:
    """The module with its floats in the dtype of the setup; adapters of layers in half precision stay float32."""
    dtype = dtype_named(choices.dtype(setup.floats))
    return module if dtype == torch.float32 else raise_halves(cast(module, dtype))


def demand_all_dense(named: Iterable[tuple[str, torch.Tensor]]) -> None:
    """CannotFollow for a sparse or nested tensor among named ones."""
    try:
        for name, tensor in named:
            demand_dense([tensor], name)
    except NotDense as error:
        raise CannotFollow(f"{error}.", DENSE) from None


def as_stored(parameters: Iterable[Parameter], stored: Mapping[str, int]) -> Iterator[Parameter]:
    """The parameters with their bytes in a quantized checkpoint; a layer with adapters has the name of its base."""
    for parameter in parameters:
        names = (name.replace(f".{BASE}.", ".") for name in parameter.names)
        yield replace(parameter, stored=next((stored[name] for name in names if name in stored), None))


def bare_trace(
    loaded: Loaded,
    recorder: recording.Recorder,
    parameters: tuple[Parameter, ...],
    assumptions: Mapping[str, Value],
) -> Trace:
    """What a recorder has, as a trace without inputs and outputs."""
    stated = {} if loaded.dtype == "float32" else {"config_dtype": loaded.dtype}
    return Trace(
        model=loaded.model,
        inputs=(),
        assumptions={**assumptions, **stated},
        versions={"archcalc": __version__, "torch": torch.__version__},
        modules=tuple(recorder.paths.modules),
        module_calls=tuple(recorder.module_calls),
        parameters=tuple(as_stored(parameters, loaded.stored)),
        tensors=tuple(recorder.tensors),
        storages=tuple(recorder.storages),
        calls=tuple(recorder.calls),
        input_tensors=(),
        output_tensors=(),
        notes=loaded.notes,
        steps=recorder.steps_of(),
        kept=recorder.keeps,
    )
