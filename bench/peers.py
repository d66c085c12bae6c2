"""One tool counting one model, as a process of its own: `python bench/peers.py TOOL MODEL` prints MACs or says why not.

Every tool gets what its documentation shows: the module built with its weights on CPU and a real input, or, for the
meta variant of torch's counter, both without data.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def torchinfo(module: Any, shape: tuple[int, ...]) -> int | float:
    """Module hooks."""
    from torchinfo import summary

    return summary(module, input_size=shape, verbose=0).total_mult_adds


def fvcore(module: Any, shape: tuple[int, ...]) -> int | float:
    """A jit trace of a run on CPU."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    logging.disable(logging.WARNING)
    return FlopCountAnalysis(module.eval(), torch.zeros(shape)).total()


def ptflops(module: Any, shape: tuple[int, ...]) -> int | float:
    """Patched functions of a run on CPU."""
    from ptflops import get_model_complexity_info

    return get_model_complexity_info(module, shape[1:], as_strings=False, print_per_layer_stat=False)[0]


def thop(module: Any, shape: tuple[int, ...]) -> int | float:
    """Module hooks."""
    import torch
    from thop import profile

    return profile(module, inputs=(torch.zeros(shape),), verbose=False)[0]


def calflops(module: Any, shape: tuple[int, ...]) -> int | float:
    """Patched functions of a run on CPU."""
    from calflops import calculate_flops

    return calculate_flops(module, input_shape=shape, output_as_string=False, print_results=False)[1]


def torch_cpu(module: Any, shape: tuple[int, ...]) -> int | float:
    """Torch's dispatcher, a run on CPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.zeros(shape))
    return counter.get_total_flops() // 2


def torch_meta(module: Any, shape: tuple[int, ...]) -> int | float:
    """Torch's dispatcher, a run without data."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.zeros(shape, device="meta"))
    return counter.get_total_flops() // 2


TOOLS: dict[str, Callable[..., int | float]] = {
    "torch, CPU": torch_cpu,
    "torch, meta": torch_meta,
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
    tool, model = sys.argv[1:]
    with torch.device("meta" if tool == "torch, meta" else "cpu"):
        module, shape = models.build(model)
    with contextlib.redirect_stdout(io.StringIO()):
        macs = TOOLS[tool](module, shape)
    print(int(macs))


if __name__ == "__main__":
    main()
