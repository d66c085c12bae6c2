"""Ops that torch composes of others and that devices have kernels for: the list is whole, and each is one op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchgen
import yaml
from torch import nn

import archcalc
from archcalc.engine.meta import own_kernels

FUNCTIONS = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"


@pytest.mark.parametrize(("key", "kernels"), [("CPU", own_kernels.ON_CPU), ("CUDA", own_kernels.ON_CUDA)])
def test_the_list_is_that_of_the_installed_torch(key: str, kernels: dict[str, Any]) -> None:
    """Of what torch itself says: composed of other ops, with a kernel for the device, and none without data."""
    expected = set()
    for function in yaml.safe_load(FUNCTIONS.read_text(encoding="utf-8")):
        name = function["func"].partition("(")[0]
        devices = {device.strip() for group in function.get("dispatch") or {} for device in group.split(",")}
        without_data = torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "Meta")
        if {key, "CompositeImplicitAutograd"} <= devices and not without_data:
            expected.add(name)
    assert set(kernels) == expected


def test_rms_norm_is_one_op_on_cuda() -> None:
    """It keeps one number a row in float32; elsewhere it is composed of other ops."""
    step = archcalc.Training("sgd")
    fused = archcalc.trace(nn.RMSNorm(64), (16, 64), train=step, device="cuda")
    ops = [call.op for call in fused.calls if "rms_norm" in call.op]
    assert ops == ["aten._fused_rms_norm", "aten._fused_rms_norm_backward"] * 2
    made = next(call for call in fused.calls if call.op == "aten._fused_rms_norm")
    rows = fused.tensors[made.outputs[1]]
    assert (rows.shape, rows.dtype, fused.storages[rows.storage].role) == ((16, 1), "float32", "saved")
    assert not any("rms_norm" in call.op for call in archcalc.trace(nn.RMSNorm(64), (16, 64), train=step).calls)
