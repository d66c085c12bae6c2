"""Random numbers of a run: seeded, and drawn from generators of its own.

torch's default generator belongs to the process: a run that drew from it, or put it back, would disturb other threads.
Functions and ops that take a generator are given the run's own. Python's and NumPy's generators are seeded for the run
and put back afterwards, which is unsafe for threads that draw from them at the same time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from archcalc.engine.meta.call_arguments import Op
from archcalc.engine.torch_private import schema

SEED = 0
FILLING = ("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_")
DRAWING = frozenset(
    (
        torch.rand, torch.randn, torch.randint, torch.randperm, torch.bernoulli, torch.multinomial, torch.normal,
        torch.poisson, torch.binomial, Tensor.bernoulli, Tensor.multinomial,
        *(getattr(Tensor, name) for name in FILLING),
        init.uniform_, init.normal_, init.kaiming_uniform_, init.kaiming_normal_,
    )
)  # fmt: skip
"""Functions of torch that draw, and take the generator to draw from."""
WITH_GENERATOR = {
    torch.ops.aten.rand.default: torch.ops.aten.rand.generator,
    torch.ops.aten.randn.default: torch.ops.aten.randn.generator,
    torch.ops.aten.randint.default: torch.ops.aten.randint.generator,
    torch.ops.aten.randint.low: torch.ops.aten.randint.low_generator,
    torch.ops.aten.randperm.default: torch.ops.aten.randperm.generator,
}
"""Ops that draw without saying from where, by the overload that says it."""


class OwnGenerator(TorchFunctionMode):
    """While it is active, drawing functions of this thread draw from one generator."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DRAWING and kwargs.get("generator") is None and fits(self.generator, (*args, *kwargs.values())):
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)


def drawn(op: Op, args: Any, kwargs: dict[str, Any], generator: torch.Generator) -> Any:
    """The result of an op that draws, from a generator; of any other op as it is."""
    func = op.overload
    if not op.draws or not fits(generator, (*args, *kwargs.values())):
        return func(*args, **kwargs)
    func = WITH_GENERATOR.get(func, func)
    takes = any(argument.name == "generator" for argument in schema(func).arguments)
    if takes:
        return func(*args, **(kwargs if kwargs.get("generator") is not None else {**kwargs, "generator": generator}))
    with _default_generator(generator):
        return func(*args, **kwargs)


@contextmanager
def _default_generator(generator: torch.Generator) -> Iterator[None]:
    """In this block torch's default generator draws what `generator` would, which goes on from there."""
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)


def fits(generator: torch.Generator, values: Any) -> bool:
    """Whether all tensors and devices among some values are on the generator's device."""
    devices = [value.device if isinstance(value, Tensor) else value for value in values]
    return all(device.type == generator.device.type for device in devices if isinstance(device, torch.device))


class Draws:
    """Whether code drew from the generators of Python or NumPy while they were seeded."""

    used = False


@contextmanager
def seeded() -> Iterator[Draws]:
    """In this block the generators of Python and NumPy are seeded; then they are as they were.

    torch's default generator is only put back if the block's code seeded it.
    """
    draws = Draws()
    torch_state, torch_seed = torch.get_rng_state(), torch.initial_seed()
    numpy = sys.modules.get("numpy")
    python_state, numpy_state = random.getstate(), numpy.random.get_state() if numpy else None
    random.seed(SEED)
    if numpy:
        numpy.random.seed(SEED)
    begun = _states(numpy)
    try:
        yield draws
    finally:
        draws.used = _states(numpy) != begun
        random.setstate(python_state)
        if torch.initial_seed() != torch_seed:
            torch.set_rng_state(torch_state)
        if numpy:
            numpy.random.set_state(numpy_state)


def _states(numpy: Any) -> tuple[Any, ...]:
    """The states of Python's and NumPy's generators, which tell whether something was drawn."""
    if not numpy:
        return (random.getstate(),)
    _, key, *rest = numpy.random.get_state()
    return random.getstate(), key.tobytes(), *rest


@contextmanager
def own_draws(seed: int = SEED) -> Iterator[None]:
    """In this block all draws are seeded, those of torch's functions from a generator of the block's own."""
    with seeded(), OwnGenerator(seed):
        yield
