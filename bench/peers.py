"""One tool counting one model, as a process of its own: `python bench/peers.py TOOL MODEL` prints MACs or says why not.

Every tool gets what its documentation shows: the module built with its weights on CPU and a real input, or, for the
meta variant of torch's counter, both without data.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
Inputs = tuple[Any, ...]


def torchinfo(module: Any, inputs: Inputs) -> int | float:
    """Module hooks."""
    from torchinfo import summary

    return summary(module, input_data=[*inputs], verbose=0).total_mult_adds


def fvcore(module: Any, inputs: Inputs) -> int | float:
    """A jit trace of a run on CPU."""
    from fvcore.nn import FlopCountAnalysis

    logging.disable(logging.WARNING)
    return FlopCountAnalysis(module.eval(), inputs).total()


def ptflops(module: Any, inputs: Inputs) -> int | float:
    """Patched functions of a run on CPU."""
    from ptflops import get_model_complexity_info

    names = [*inspect.signature(module.forward).parameters]
    given = {"input_constructor": lambda _: dict(zip(names, inputs, strict=False))}
    counted, _ = get_model_complexity_info(module, (1,), as_strings=False, print_per_layer_stat=False, **given)
    if counted is None:
        raise RuntimeError("ptflops says no number")
    return counted


def thop(module: Any, inputs: Inputs) -> int | float:
    """Module hooks."""
    from thop import profile

    return profile(module, inputs=inputs, verbose=False)[0]


def calflops(module: Any, inputs: Inputs) -> int | float:
    """Patched functions of a run on CPU."""
    from calflops import calculate_flops

    return calculate_flops(module, args=[*inputs], output_as_string=False, print_results=False)[1]


def torch_counter(module: Any, inputs: Inputs) -> int | float:
    """Torch's dispatcher, on the device of the module and its inputs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(*inputs)
    return counter.get_total_flops() // 2


TOOLS: dict[str, Callable[..., int | float]] = {
    "torch, CPU": torch_counter,
    "torch, meta": torch_counter,
    "fvcore": fvcore,
    "torchinfo": torchinfo,
    "ptflops": ptflops,
    "thop": thop,
    "calflops": calflops,
}


def main() -> None:
    """Count and print."""
    warnings.simplefilter("ignore")
    import models
    import torch

    models.torchvision_ops()  # ptflops and calflops import torchvision where it is installed
    tool, name = sys.argv[1:]
    device = "meta" if tool == "torch, meta" else "cpu"
    with torch.device(device):
        module, inputs = built(name, device)
    with contextlib.redirect_stdout(io.StringIO()):
        macs = TOOLS[tool](module, inputs)
    print(int(macs))


def built(name: str, device: str) -> tuple[Any, Inputs]:
    """A model by its name, with its inputs, on a device."""
    import models
    import torch

    if name in models.MODELS:
        module, shape = models.build(name)
        return module, (torch.zeros(shape, device=device),)
    import ten_models

    model = ten_models.TEN[name]
    return model.make(), model.tensors(device)


if __name__ == "__main__":
    main()
