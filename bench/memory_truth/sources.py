"""From a case to a real model with its weights, and to real inputs; the same ones in every run."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from archcalc.engine.setup import Training
from archcalc.networks import catalogue
from bench.memory_models import MODELS, inputs_of
from bench.memory_truth.case import KNOWN, OPERATORS, TIMM, TRANSFORMERS, USERS, Case
from bench.memory_truth.limits import demand_small


@dataclass(frozen=True)
class Built:
    """A model, and what its forward receives, by position and by name."""

    module: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Tensor]:
        """All tensors that forward receives."""
        return [leaf for leaf in pytree.tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]


def build(case: Case) -> Built:
    """The model of a case in its dtype and memory format, and its inputs; LeftOut for one above the limit."""
    seed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = MAKERS[case.source](case)
    if case.source != KNOWN:
        demand_small(sum(p.numel() for p in built.module.parameters()))
    dtype = getattr(torch, case.dtype)
    if dtype is not torch.float32:
        built = _converted(built, lambda t: t.to(dtype) if t.is_floating_point() else t)
        built.module.to(dtype)
    if case.channels_last:
        built = _converted(built, lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t)
        built.module.to(memory_format=torch.channels_last)
    return built


def seed() -> None:
    """Weights, inputs and what dropout draws are the same in every run."""
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)


def training_of(case: Case, module: nn.Module) -> Training | None:
    """The training step of a case: where it freezes, the first half of the parts that have parameters."""
    if case.training is None or not case.freezes:
        return case.training
    parts = [name for name, child in module.named_children() if any(True for _ in child.parameters())]
    if len(parts) < 2:
        return case.training
    return replace(case.training, frozen=tuple(parts[: len(parts) // 2]))


def _converted(built: Built, change: Callable[[Tensor], Tensor]) -> Built:
    args, kwargs = pytree.tree_map_only(Tensor, change, (built.args, dict(built.kwargs)))
    return Built(built.module, args, kwargs)


def _known(case: Case) -> Built:
    if case.name in MODELS:
        return Built(MODELS[case.name][0](), inputs_of(case.name))
    network = catalogue.load(catalogue.resolve(case.name)[0])
    config = network.configured(dict(case.knobs))
    return Built(network.build(**config), tuple(_zeros(one, case.batch) for one in network.inputs_for(config)))


def _zeros(one: Any, batch: int) -> Tensor:
    sizes = tuple(batch if axis == "batch" else size for axis, size in zip(one.axes, one.shape, strict=True))
    return torch.zeros(sizes, dtype=getattr(torch, one.dtype))


def _timm(case: Case) -> Built:
    """An architecture of timm by its own initialisation, and an image of the size that it declares."""
    from bench.models import torchvision_ops

    torchvision_ops()
    import timm

    module = timm.create_model(case.name, pretrained=False, **dict(case.knobs))
    return Built(module, (torch.randn(case.batch, *module.default_cfg["input_size"]),))


def _transformers(case: Case) -> Built:
    from bench.memory_truth.hugging_face import small

    return Built(*small(case.name, case.batch))


def _users(case: Case) -> Built:
    from bench.memory_truth.users import PROGRAMS

    make, inputs = PROGRAMS[case.name]
    return Built(make(), inputs(case.batch))


def _operators(case: Case) -> Built:
    from bench.memory_truth.operator_steps import largest_call

    call = largest_call(case.name)
    inputs, call.tensors = call.inputs, ()  # the sample's own tensors go: the parameters are copies
    return Built(call, inputs)


MAKERS: dict[str, Callable[[Case], Built]] = {
    KNOWN: _known,
    TIMM: _timm,
    TRANSFORMERS: _transformers,
    USERS: _users,
    OPERATORS: _operators,
}
"""By source: the model and its inputs in float32."""
