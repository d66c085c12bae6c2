"""A forward pass under a recorder, and the parameters and buffers that it begins with."""

from __future__ import annotations

import gc

import torch
from torch import Tensor, nn

from archcalc.engine.load.inputs import Inputs
from archcalc.engine.load.inputs import parameters_of as arguments_of
from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.record.cache_in_outputs import cache_tensors, in_a_cache
from archcalc.engine.record.recorder import Recorder, Region
from archcalc.engine.torch_private import own_buffers, own_parameters
from archcalc.tracing import Parameter

NOT_REGISTERED = ("input", "activation", "constant")
"""Roles of what a cache may hold; what a module registers stays with the module."""


def parameters_of(recorder: Recorder) -> tuple[Parameter, ...]:
    """Enter all parameters and buffers; tied ones once, with every name."""
    names: dict[int, list[str]] = {}
    tensors_by_id: dict[int, tuple[Tensor, str]] = {}
    for prefix, module in recorder.paths.walk():
        for kind, tensors in (("parameter", own_parameters(module)), ("buffer", own_buffers(module))):
            for name, tensor in tensors.items():
                if tensor is not None:
                    names.setdefault(id(tensor), []).append(f"{prefix}.{name}" if prefix else name)
                    tensors_by_id[id(tensor)] = (tensor, kind)
    return tuple(
        Parameter(tuple(names[key]), recorder.tensor(tensor, kind), kind, kind == "parameter" and tensor.requires_grad)
        for key, (tensor, kind) in tensors_by_id.items()
    )


def forward(module: nn.Module, inputs: Inputs, recorder: Recorder, region: Region) -> tuple[int, ...]:
    """Run forward under the recorder, without gradients, and close the record. Returns the ids of the outputs.

    What ops made and the model still holds when its outputs are gone is kept for the next pass.
    """
    recorder.watch_modules()
    recorder.enter(module, inputs.args, inputs.kwargs)
    with torch.no_grad(), recorder, region():
        out = module(*inputs.args, **inputs.kwargs)
    recorder.leave(module, inputs.args, inputs.kwargs, out)
    outputs = tuple(recorder.tensor(t, "constant") for t in tensors_in(out))
    given = [tensor for name, tensor in inputs.named if in_a_cache(name)]
    for tensor in (*given, *cache_tensors(out, arguments_of(module.forward))):
        recorder.entries.turn(recorder.tensor(tensor, "constant"), "cache", NOT_REGISTERED)
    results = recorder.entries.results()
    recorder.close()
    out, given = None, []
    if any(storage() is not None for storage in results.values()):
        gc.collect(1)  # objects of forward that refer to one another; older ones are not looked at, which are many
    recorder.entries.keep(number for number, storage in results.items() if storage() is not None)
    return outputs
