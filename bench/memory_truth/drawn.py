"""Cases that are drawn by a rule: which models, and how each is run, follow from hashes of their names.

Nobody chooses: the models of a source are those whose names have the smallest hashes, and each setting of a case is
read from another hash of its name. The users' modules are all taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from hashlib import sha256

from archcalc.engine.setup import Training
from bench.memory_truth.case import OPERATORS, TIMM, TRANSFORMERS, USERS, Case
from bench.memory_truth.users.generators import GENERATORS
from bench.memory_truth.users.images import IMAGES

DRAWN = {TIMM: 160, TRANSFORMERS: 100, OPERATORS: 80}
"""How many models are drawn from each source; all of the users' modules are taken."""
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "adafactor", "lion")


def number(name: str, aspect: str, below: int) -> int:
    """A number from 0 that follows from a name and an aspect of it.

    >>> number("resnet18", "batch", 100) == number("resnet18", "batch", 100) < 100
    True
    """
    return int(sha256(f"{aspect}: {name}".encode()).hexdigest(), 16) % below


def smallest(names: Sequence[str], count: int) -> list[str]:
    """The names with the smallest hashes, in that order."""
    return sorted(names, key=lambda name: sha256(name.encode()).hexdigest())[:count]


def drawn() -> list[Case]:
    """All drawn cases whose source is installed."""
    return [case for source, names in NAMES.items() for case in _of(source, names)]


def _of(source: str, names: Callable[[], Sequence[str]]) -> list[Case]:
    try:
        known = names()
    except ImportError as error:
        print(f"{error}: the cases of {source} are left out", file=sys.stderr)
        return []
    return [case_of(source, name) for name in smallest(known, DRAWN.get(source, len(known)))]


def case_of(source: str, name: str) -> Case:
    """The case of a model: everything about how it runs is read from its name."""
    if source == OPERATORS:
        lower = number(name, "precision", 100) >= 80
        return Case(name, 1, Training("sgd"), source=source, dtype="bfloat16" if lower else "float32")
    precision = number(name, "precision", 100)
    forward = number(name, "step", 100) < 25
    return Case(
        name,
        batch=(1, 1, 2, 2, 4)[number(name, "batch", 5)],
        training=None if forward else training_of(source, name),
        amp="bf16" if 60 <= precision < 80 else "",
        source=source,
        dtype="bfloat16" if precision >= 80 else "float32",
        channels_last=_takes_images(source, name) and number(name, "channels last", 100) < 15,
        freezes=not forward and number(name, "frozen", 100) < 15,
    )


def _takes_images(source: str, name: str) -> bool:
    images = name in {**IMAGES, **GENERATORS} and name not in ("3-d volume", "gan generator")
    return source == TIMM or (source == USERS and images)


def training_of(source: str, name: str) -> Training:
    """The training step of a model: optimizer, loss and accumulated batches."""
    losses = ("sum", "sum", "mean", "mse", "cross-entropy" if source == TIMM else "mean")
    accumulated = number(name, "accumulation", 100) < 15
    return Training(
        OPTIMIZERS[number(name, "optimizer", len(OPTIMIZERS))],
        losses[number(name, "loss", len(losses))],
        accumulation=2 + number(name, "batches", 3) if accumulated else 1,
    )


def _timm() -> list[str]:
    from bench.models import torchvision_ops

    torchvision_ops()
    import timm

    return list(timm.list_models())


def _transformers() -> list[str]:
    from bench.memory_truth.hugging_face import architectures

    return architectures()


def _users() -> list[str]:
    from bench.memory_truth.users import PROGRAMS

    return list(PROGRAMS)


def _operators() -> list[str]:
    from bench.memory_truth.operator_steps import trainable

    return trainable()


NAMES: dict[str, Callable[[], Sequence[str]]] = {
    USERS: _users,
    OPERATORS: _operators,
    TRANSFORMERS: _transformers,
    TIMM: _timm,
}
"""By source: the names of its models."""
