"""The values that a run begins with: those of buffers and of integers that were given; with data, of everything."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from archcalc.engine.load.inputs import Inputs
from archcalc.engine.load.pretrained.facts import setting_of
from archcalc.engine.meta.empty_modules import registered
from archcalc.engine.meta.known_values import KnownValues, values_of
from archcalc.engine.meta.unknown_kernels import stand_in
from archcalc.engine.setting_forms import parse_data_limit
from archcalc.engine.setup import Setup
from archcalc.engine.watch import Watch, unwatched
from archcalc.errors import DataLimit

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
GIVEN = "the values of input {}"
"""The origin of values that a caller gave."""
OF_DATA = "values of --data (others may give other experts, proposals or lengths)"
"""The origin of parameters' values, and of those that inputs are taken to have, in a run with data."""


def known_values(module: nn.Module, inputs: Inputs, setup: Setup, watch: Watch = unwatched) -> KnownValues:
    """The values that are known when a run of the module begins; DataLimit where those of --data take too much."""
    known = KnownValues(setup.data, setup.seed, parse_data_limit(setup.data_limit), watch)
    known.experts = numbers_of_experts(module)
    own = [tensor for tensor in registered(module).values() if not is_lazy(tensor)]
    if setup.data:
        _demand_room([*own, *inputs.tensors], known.limit)
    below = _tokens(module)
    generator = torch.Generator().manual_seed(setup.seed)
    for tensor in own:
        values = values_of(tensor)
        origins = (OF_DATA,) if setup.data and isinstance(tensor, nn.Parameter) else ()
        _note(known, tensor, stand_in(tensor, generator) if values is None and setup.data else values, origins)
    for name, tensor in inputs.named:
        values = values_of(tensor)
        if values is not None and (setup.data or name in inputs.assumed or not tensor.is_floating_point()):
            _note(known, tensor, values, () if setup.data or name in inputs.assumed else (GIVEN.format(name),))
        elif setup.data:
            _note(known, tensor, stand_in(tensor, generator, below), (OF_DATA,))
    return known


def numbers_of_experts(module: nn.Module) -> frozenset[int]:
    """How many experts the configuration of a model of transformers states, with and without those that do nothing."""
    config = getattr(module, "config", None)
    parts = [config, *(value for value in getattr(config, "__dict__", {}).values() if hasattr(value, "to_dict"))]
    values = [
        count + extra
        for part in parts
        for name in EXPERTS
        if type(count := setting_of(part, name)) is int and count > 1
        for extra in {0, setting_of(part, "zero_expert_num") or 0}
    ]
    return frozenset(values)


def _note(known: KnownValues, tensor: Tensor, values: Tensor | None, origins: tuple[str, ...] = ()) -> None:
    if values is not None and tensor.is_meta:
        known.note(tensor, values, origins)


def _demand_room(tensors: list[Tensor], limit: int) -> None:
    """Refuse, before anything is computed, weights and inputs that are above the limit alone."""
    of = {id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
    if sum(of.values()) > limit:
        raise DataLimit(sum(of.values()), limit)


def _tokens(module: nn.Module) -> int:
    """Integers of random inputs are below the rows of the smallest embedding, or 0 and 1 without one."""
    rows = [member.num_embeddings for member in module.modules() if isinstance(member, nn.Embedding)]
    return max(min(rows, default=2), 1)
