"""Experts that run on every token, though the configuration sends a token to a few of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from torch import nn

from archcalc.engine.record.data import EXPERTS
from archcalc.engine.record.weight_table import number_of
from archcalc.text.units import exact
from archcalc.tracing import Call, Input, Parameter, Tensor

CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk")
"""Names of the number of experts that a token is sent to."""
PRODUCTS = ("aten.bmm", "aten.baddbmm")


def every_expert_ran(
    module: nn.Module,
    inputs: Sequence[Input],
    parameters: Sequence[Parameter],
    tensors: Sequence[Tensor],
    calls: Sequence[Call],
) -> list[str]:
    """A note where all experts are multiplied with every token, and how many multiply-adds that adds; else nothing."""
    experts, chosen = number_of(module, EXPERTS), number_of(module, CHOSEN)
    tokens = next((prod(one.shape) for one in inputs if one.name == "input_ids"), 0)
    if not tokens or not 0 < chosen < experts:
        return []
    weights = {tensors[p.tensor].storage for p in parameters if _is_of_experts(tensors[p.tensor], experts)}
    macs = sum(_products(calls, tensors, weights, (experts, tokens)))
    if not macs:
        return []
    idle = macs // experts * (experts - chosen)
    return [
        f"all {experts} experts of a layer run on every token, as the model's own code has it; its config sends "
        f"a token to {chosen}: {exact(idle)} MACs are of the others"
    ]


def _is_of_experts(tensor: Tensor, experts: int) -> bool:
    return len(tensor.shape) == 3 and tensor.shape[0] == experts


def _products(
    calls: Sequence[Call], tensors: Sequence[Tensor], weights: set[int], rows: tuple[int, int]
) -> Iterator[int]:
    """The multiply-adds of each forward product of experts' weights with as many rows for every one."""
    for call in calls:
        if call.op.startswith(PRODUCTS) and call.phase == "forward":
            given = [tensors[value] for value in call.inputs.values() if isinstance(value, int)]
            features = [tensor for tensor in given if tensor.storage not in weights]
            if len(features) < len(given) and features and features[-1].shape[:2] == rows:
                out = tensors[call.outputs[0]]
                yield prod(out.shape) * features[-1].shape[-1]
