"""Independent counters agree: torch's FlopCounterMode to the last MAC, fvcore on convolutions and linears."""

import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archcalc.networks.spec import Network
from tests.helpers import report
from tests.regenerate import all_networks

pytestmark = pytest.mark.usefixtures("shared_traces")
NETWORKS = all_networks()
QUICK = [pytest.param(name, marks=pytest.mark.slow) if name == "resnet-1202" else name for name in NETWORKS]
"""Its 1,202 layers take as long as thirty others."""


def on_meta(network: Network) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    """The definition and its input, built by torch's own means."""
    with torch.device("meta"):
        module = network.build(**network.config).eval()
        return module, [
            torch.empty(one.shape, dtype=getattr(torch, one.dtype)) for one in network.inputs_for(network.config)
        ]


OUTSIDE = {("seq2seq-attention", "attention")}
"""Modules whose layers are also called from outside of their forward, where torch's counter does not see them."""


@pytest.mark.parametrize("name", QUICK)
def test_torch_counts_the_same(name: str) -> None:
    """Parameters, total and every module: torch's formulas are its own, its count walks its own modes."""
    module, inputs = on_meta(NETWORKS[name])
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    made = report(name)
    assert made.params == sum(p.numel() for p in module.parameters())
    assert made.totals["buffers"] == sum(b.numel() for b in module.buffers())
    assert made.flops == counter.get_total_flops()
    counts = counter.get_flop_counts()
    root = type(module).__name__
    for path, layer in made.layers.items():
        if path and not layer.calls:
            continue  # a list of modules, which torch's counter does not see
        if (name, path) in OUTSIDE:
            continue
        theirs = counts.get(f"{root}.{path}" if path else "Global", {})
        assert layer.flops == sum(theirs.values()), path


@pytest.mark.parametrize("name", ["resnet-18", "densenet-121", "shufflenet-v2-0.5x", "resnet-20", "densenet-bc-cifar"])
def test_fvcore_counts_the_same_convolutions_and_linears(name: str) -> None:
    """Here fvcore follows a jit trace of a real run on CPU."""
    network = NETWORKS[name]
    module = network.build(**network.config).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(
            module,
            tuple(
                torch.zeros(one.shape, dtype=getattr(torch, one.dtype)) for one in network.inputs_for(network.config)
            ),
        )
        by_operator = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    assert by_operator["conv"] + by_operator["linear"] == report(name).macs


@pytest.mark.parametrize("name", ["resnet-20", "shufflenet-v2-0.5x", "densenet-cifar"])
def test_a_batch_of_two_costs_twice(name: str) -> None:
    one, two = report(name), report(name, batch=2)
    assert two.macs == 2 * one.macs
    assert two.totals["elementwise_flops"] == 2 * one.totals["elementwise_flops"]
    assert two.params == one.params


@pytest.mark.parametrize("name", ["resnet-20", "shufflenet-v2-0.5x", "densenet-bc-cifar"])
def test_shapes_are_those_of_a_real_run(name: str) -> None:
    """The smallest member of each family on CPU: every module's outputs."""
    network = NETWORKS[name]
    module = network.build(**network.config).eval()
    seen: dict[str, list[tuple[int, ...]]] = {}
    for path, one in module.named_modules():
        one.register_forward_hook(lambda m, i, out, path=path: seen.setdefault(path, []).append(tuple(out.shape)))
    with torch.no_grad():
        module(*(torch.zeros(one.shape, dtype=getattr(torch, one.dtype)) for one in network.inputs_for(network.config)))
    made = report(name)
    assert seen
    for path, shapes in seen.items():
        assert made.layers[path].calls == len(shapes), path
        assert made.layers[path].output_shape == shapes[-1], path
