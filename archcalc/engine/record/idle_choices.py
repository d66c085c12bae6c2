"""Experts that multiply more rows than a model's configuration sends tokens to them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from torch import nn

from archcalc.engine.meta.balanced_routing import BALANCED
from archcalc.engine.record.data import EXPERTS, numbers_of_experts
from archcalc.engine.record.weight_table import number_of
from archcalc.ops.registry import macs_of
from archcalc.text.units import exact
from archcalc.tracing import Trace

CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k", "top_k_experts")
"""Names of the number of experts that a token is sent to."""
CHOSEN_BY_CODE = {"nllb-moe": 2, "switch_transformers": 1, "vitpose": 1, "vitpose_backbone": 1}
"""That number by model type, where the library's code fixes it: top-2 routers, top-1 routers, the data set's part."""
IN_LIST = re.compile(r"(?P<owner>(?:.*\.)?experts)\.(?P<expert>(?:expert_)?\d+)(?:\.|$)")
"""The path of one expert in a list of them."""
SHOWN = 4
"""How many experts of a layer are named with their rows."""


@dataclass
class Layer:
    """The experts of one layer: the weights that one row meets, the multiply-adds by expert, the tokens of its input.

    Experts whose weights are stacked are one entry of `macs`.
    """

    weights: Fraction = Fraction(0)
    macs: Counter[str] = field(default_factory=Counter)
    calls: set[int] = field(default_factory=set)
    tokens: int = 0

    @property
    def rows(self) -> Fraction:
        """Rows that its experts multiply for one token."""
        return Fraction(self.macs.total()) / (self.tokens * self.weights)

    def beyond(self, chosen: int) -> int:
        """Multiply-adds beyond those of `chosen` experts for each token."""
        return max(self.macs.total() - int(chosen * self.tokens * self.weights), 0)


def notes_of_experts(module: nn.Module, trace: Trace, notes: Sequence[str]) -> list[str]:
    """The notes of a run, with one where experts multiply more rows than tokens are sent to them.

    The note that routing was taken as balanced is left out where a model's experts get other rows all the same.
    """
    experts, chosen = number_of(module, EXPERTS), _chosen(module)
    if not 0 < chosen < experts:
        return list(notes)
    layers = [layer for layer in layers_of_experts(trace, numbers_of_experts(module)) if layer.beyond(chosen)]
    if not layers:
        return list(notes)
    beyond = exact(sum(layer.beyond(chosen) for layer in layers))
    sends = f"sends a token to {chosen}"
    if all(layer.rows == experts and _even(layer, experts) for layer in layers):
        sentence = (
            f"all {experts} experts of a layer run on every token, as the model's own code has it; its config "
            f"{sends}: {beyond} MACs are of the others"
        )
        return [*notes, sentence]
    uneven = next((layer for layer in layers if not _even(layer, experts)), None)
    shown = f" ({_by_expert(uneven, experts)})" if uneven else ""
    sentence = (
        f"the experts of a layer multiply {_number(max(layer.rows for layer in layers))} rows for each token{shown}, "
        f"as the model's own code has it; its router {sends}: {beyond} MACs are beyond those of the chosen"
    )
    return [*(note for note in notes if not (uneven and note.startswith(BALANCED))), sentence]


def _chosen(module: nn.Module) -> int:
    kind = getattr(getattr(module, "config", None), "model_type", "")
    return CHOSEN_BY_CODE.get(kind, 0) or number_of(module, CHOSEN)


def _even(layer: Layer, experts: int) -> bool:
    """Whether all experts of a layer got as many rows, or are stacked."""
    return set(layer.macs) == {""} or (len(layer.macs) == experts and len(set(layer.macs.values())) == 1)


def _by_expert(layer: Layer, experts: int) -> str:
    """The rows for each token by expert, the most first."""
    one_row = layer.tokens * layer.weights
    named = [f"{_number(macs / one_row)} in {name}" for name, macs in layer.macs.most_common(SHOWN)]
    others = ["fewer in others"] if len(layer.macs) > SHOWN else ["none in others"] * (len(layer.macs) < experts)
    return ", ".join([*named, *others])


def _number(value: Fraction) -> str:
    return f"{float(value):.3g}"


def layers_of_experts(trace: Trace, counts: Collection[int]) -> Iterator[Layer]:
    """Each layer of experts that multiplied rows of tokens in the forward pass; in training, that of the last step.

    `counts` are the numbers of experts that the model's configuration states.
    """
    layers = _owners(trace, counts)
    paths = [module.path for module in trace.modules]
    first, end = (trace.steps[-1].forward, trace.steps[-1].backward) if trace.steps else (0, len(trace.calls))
    for number in range(first, end):
        call = trace.calls[number]
        found = _layer_of(paths[trace.module_calls[call.module_call].module], layers)
        macs = macs_of(trace, call) if found and call.phase == "forward" else None
        if found and macs:
            owner, expert = found
            layers[owner].macs[expert] += macs
            layers[owner].calls.add(_caller(trace, paths, call.module_call, owner))
    for layer in layers.values():
        layer.tokens = sum(_tokens(trace, call) for call in layer.calls)
        if layer.tokens and layer.weights:
            yield layer


def _owners(trace: Trace, counts: Collection[int]) -> dict[str, Layer]:
    """The layers of experts by the path of the module that holds their weights."""
    layers: dict[str, Layer] = defaultdict(Layer)
    kinds = {module.path: module.type for module in trace.modules}
    for parameter in trace.parameters:
        if parameter.kind != "parameter":
            continue
        sizes = trace.tensors[parameter.tensor].shape
        listed = IN_LIST.match(parameter.owner)
        if listed and len(sizes) == 2:
            layers[listed["owner"]].weights += Fraction(prod(sizes), max(counts))
        count = 0 if listed or "Conv" in kinds.get(parameter.owner, "") else _stacked(parameter.names[0], sizes, counts)
        if count:
            layers[parameter.owner].weights += Fraction(prod(sizes), count)
    return dict(layers)


def _stacked(name: str, sizes: Sequence[int], counts: Collection[int]) -> int:
    """How many experts' matrices are stacked in a weight: as its first axis, or one below another (DBRX)."""
    if len(sizes) == 3 and sizes[0] in counts:
        return sizes[0]
    flat = len(sizes) == 2 and ".experts." in f".{name}" and not name.endswith((".weight", ".bias"))
    return next((count for count in counts if flat and sizes[0] % count == 0 and sizes[0] > count), 0)


def _layer_of(path: str, layers: Mapping[str, Layer]) -> tuple[str, str] | None:
    """The layer that a module with this path is of, and which expert it is; None for other modules."""
    listed = IN_LIST.match(path)
    if listed and listed["owner"] in layers:
        return listed["owner"], listed["expert"]
    return (path, "") if path in layers else None


def _caller(trace: Trace, paths: Sequence[str], call: int, owner: str) -> int:
    """The call of the module around a layer of experts in which an op call runs."""
    above = trace.module_calls[call].parent
    while above is not None and f"{paths[trace.module_calls[above].module]}.".startswith(f"{owner}."):
        above = trace.module_calls[above].parent
    return call if above is None else above


def _tokens(trace: Trace, call: int | None) -> int:
    """The tokens that a module call is given: rows of the first module call from it outwards with N, T, features."""
    while call is not None:
        made = trace.module_calls[call]
        given = trace.tensors[made.inputs[0]] if made.inputs else None
        if given is not None and "float" in given.dtype and len(given.shape) == 3:
            return prod(given.shape[:-1])
        call = made.parent
    return next((prod(one.shape) for one in trace.inputs if one.name == "input_ids"), 0)
