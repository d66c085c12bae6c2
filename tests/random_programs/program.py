"""Programs: stages joined by a seed. A plan is text, so that a failing program, or one stage of it, can be repeated.

`plan(seed)` says which stages on which shapes, `build(plan)` makes a fresh module of it; every build is the same.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tests.random_programs import (  # noqa: F401 - these files register their stages
    attention,
    functions,
    geometry,
    images,
    indexing,
    modules,
    numbers,
    products_of_tensors,
    recurrent,
)
from tests.random_programs.stage import IMAGE, SEQUENCE, STAGES, TOKENS, VECTOR, VOCABULARY, Draw, Kind, Shape

EACH = 5
"""Kinds of stage that a program has beside those that change one kind of tensor into another."""
RESIZES = {IMAGE: "resize_image", SEQUENCE: "resize_sequence", VECTOR: "resize_vector"}
ADAPTERS = {
    (IMAGE, SEQUENCE): ("patches", "rows_as_steps"),
    (IMAGE, VECTOR): ("means",),
    (SEQUENCE, VECTOR): ("one_step", "last_state", "segments"),
    (SEQUENCE, IMAGE): ("as_map",),
    (SEQUENCE, TOKENS): ("best",),
    (VECTOR, SEQUENCE): ("as_steps",),
    (VECTOR, IMAGE): ("as_image",),
    (TOKENS, SEQUENCE): ("embedding", "one_hot"),
    (TOKENS, VECTOR): ("embedding_bag",),
    (IMAGE, TOKENS): ("rows_as_steps", "best"),
    (VECTOR, TOKENS): ("as_steps", "best"),
    (TOKENS, IMAGE): ("embedding_bag", "as_image"),
}
"""The stages between two kinds; the last two of a pair that has no stage of its own are taken one after the other."""
CHAINED = ((IMAGE, TOKENS), (VECTOR, TOKENS), (TOKENS, IMAGE))
FORMS = ("tensor", "tuple", "dict", "nested", "dataclass")


class Step(NamedTuple):
    """One stage of a plan: its name, the seed of its sizes, and the shape that it takes."""

    stage: str
    seed: str
    shape: Shape


@dataclass(frozen=True)
class Plan:
    """The stages of a program, the form of its result, and whether a second input scales it."""

    steps: tuple[Step, ...]
    form: str = "tensor"
    scaled: bool = False

    def inputs(self) -> list[Tensor]:
        """Real inputs of a program of this plan."""
        generator = torch.Generator().manual_seed(0)
        shape = self.steps[0].shape
        if STAGES[self.steps[0].stage].takes is TOKENS:
            first = torch.randint(VOCABULARY, shape, generator=generator)
        else:
            first = torch.randn(shape, generator=generator)
        return [first, torch.rand(shape[0], generator=generator)] if self.scaled else [first]


@dataclass
class Result:
    """The result of a program whose form is a dataclass."""

    last: Tensor
    middle: list[Tensor]


class Program(nn.Module):
    """Stages one after another and a linear layer of the last result; a result in the middle is given beside it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.stages = nn.ModuleList(module_of(step) for step in plan.steps)
        self.head = nn.Linear(_given(plan.steps[-1])[0].numel(), 3)

    def extra_repr(self) -> str:
        return f"{self.plan},"

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Any:
        middle = x
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i == len(self.stages) // 2:
                middle = x
        y = self.head(x.flatten(1).float())
        if scale is not None:
            y = y * scale.unsqueeze(1)
        return {
            "tensor": lambda: y,
            "tuple": lambda: (y, middle),
            "dict": lambda: {"last": y, "middle": middle},
            "nested": lambda: [y, ({"middle": middle}, 1.5, None)],
            "dataclass": lambda: Result(y, [middle]),
        }[self.plan.form]()


def module_of(step: Step) -> nn.Module:
    """A fresh module of one stage."""
    torch.manual_seed(0)
    return STAGES[step.stage].make(Draw(step.seed), *step.shape)


def build(plan: Plan) -> Program:
    """A fresh module of a plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old spectral_norm is deprecated, lazy modules are said to be new
        return Program(plan)


def one(stage: str, seed: str, *shape: int) -> Plan:
    """The plan of a single stage, to repeat what failed."""
    return Plan((Step(stage, seed, shape),))


def wanted(seed: int) -> list[str]:
    """The kinds of stage that the program of a seed must have: consecutive seeds go through all kinds in turn."""
    names: list[str] = []
    turn = seed * EACH // len(STAGES)
    while len(names) < seed * EACH % len(STAGES) + EACH:
        order = sorted(STAGES)
        random.Random(f"turn {turn}").shuffle(order)
        names += order
        turn += 1
    return names[seed * EACH % len(STAGES) :][:EACH]


@cache
def plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = Draw(f"plan {seed}")
    names = wanted(seed)
    kind = STAGES[names[0]].takes
    batch = draw.pick(1, 2, 2, 3)
    shape = (batch, *(draw.size(low, high) for low, high in kind.value))
    if kind.channels is not None:
        shape = tuple(size + size % 2 if axis == kind.channels else size for axis, size in enumerate(shape))
    steps: list[Step] = []
    for name in names:
        for stage in [*_way(draw, kind, STAGES[name].takes), name]:
            steps += _placed(f"{seed}.{len(steps)}", stage, shape)
            kind, shape = STAGES[stage].gives, _given(steps[-1]).shape
    return Plan(tuple(steps), draw.pick(*FORMS), draw.flag())


def _way(draw: Draw, kind: Kind, aim: Kind) -> Iterator[str]:
    if kind is not aim:
        options = ADAPTERS[kind, aim]
        yield from options if (kind, aim) in CHAINED else [draw.pick(*options)]


def _placed(seed: str, stage: str, shape: Shape) -> Iterator[Step]:
    """The stage, and one that brings its result to a size that every stage can take, where it is not."""
    step = Step(stage, seed, tuple(shape))
    yield step
    given, kind = _given(step), STAGES[stage].gives
    if not kind.fits(given):
        yield Step(RESIZES[kind], f"{seed}r", tuple(given.shape))


def _given(step: Step) -> Tensor:
    """What a stage gives for zeros on the CPU."""
    dtype = torch.int64 if STAGES[step.stage].takes is TOKENS else torch.float32
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given: Tensor = module_of(step).eval()(torch.zeros(step.shape, dtype=dtype))
    return given
