"""How devices are arranged: the degrees of each kind of parallelism, and which arrangements there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from archcalc.errors import WrongUse
from archcalc.studies.plan.schedule import ONE_F_ONE_B, SCHEDULES

ZERO = (0, 1, 2, 3)
EXPERTS = 8
"""Ranks that divide the experts in a search, beside one and as many as there can be."""


@dataclass(frozen=True)
class Layout:
    """An arrangement of tp · pp · dp devices.

    `tp` ranks divide the layers, with `sp` the positions of norms too; `pp` stages cut the module sequence, each rank
    of a stage having `chunks` of it; `dp` ranks have batches of their own, and `ep` of these divide the experts. `zero`
    is what data parallel ranks divide: 0 nothing (DDP), 1 the optimizer's state, 2 gradients too, 3 parameters too
    (FSDP2 units).
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    zero: int = 0
    sp: bool = False
    chunks: int = 1
    schedule: str = ONE_F_ONE_B

    @property
    def gpus(self) -> int:
        """The number of devices."""
        return self.tp * self.pp * self.dp

    @property
    def words(self) -> str:
        """The options to type.

        >>> Layout(tp=8, pp=4, dp=2, zero=1, sp=True).words
        '--tp 8 --pp 4 --dp 2 --zero 1 --sp'
        """
        parts = [f"--tp {self.tp}", f"--pp {self.pp}", f"--dp {self.dp}"]
        parts += [f"--ep {self.ep}"] if self.ep > 1 else []
        parts += [f"--zero {self.zero}", *(["--sp"] if self.sp else [])]
        parts += [f"--interleave {self.chunks}"] if self.chunks > 1 else []
        return " ".join([*parts, *([f"--schedule {self.schedule}"] if self.schedule != SCHEDULES[0] else [])])


@dataclass(frozen=True)
class Asked:
    """What was asked of the layout; None for a degree that is searched."""

    gpus: int
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    zero: int | None = None
    sp: bool = False
    chunks: int = 1
    schedule: str = ONE_F_ONE_B

    @property
    def one(self) -> bool:
        """Whether a single layout was named."""
        return None not in (self.tp, self.pp, self.dp)

    def layouts(self, node: int, experts: int) -> Iterator[Layout]:
        """The layouts that were asked for; a search has tensor parallelism inside a node, in powers of two.

        With a pipeline it has ZeRO 1 alone, and of expert parallelism the smallest, 8 and the largest degree.
        """
        for tp in _divisors(self.gpus) if self.tp is None else (self.tp,):
            if self.tp is None and tp > node:
                continue
            for pp in _divisors(self.gpus // tp) if self.pp is None else (self.pp,):
                dp = self.gpus // (tp * pp)
                if tp * pp * dp != self.gpus or self.dp not in (None, dp):
                    continue
                for ep in self._experts(dp, experts):
                    for zero in self._zero(dp, pp):
                        sp = (self.sp or self.tp is None) and tp > 1
                        yield Layout(tp, pp, dp, ep, zero, sp, self.chunks if pp > 1 else 1, self.schedule)

    def _experts(self, dp: int, experts: int) -> tuple[int, ...]:
        if self.ep is not None:
            return (self.ep,)
        if self.one or not experts:
            return (1,)
        possible = [ep for ep in _divisors(dp) if experts % ep == 0]
        return tuple(dict.fromkeys(ep for ep in (1, EXPERTS, possible[-1]) if ep in possible))

    def _zero(self, dp: int, pp: int) -> tuple[int, ...]:
        if self.zero is not None:
            return (self.zero,)
        if self.one or dp == 1:
            return (0,)
        return ZERO if pp == 1 else ZERO[1:2]  # ZeRO 1 sends what DDP does and holds less


def asked_of(gpus: int, degrees: Mapping[str, Any]) -> Asked:
    """What a mapping of degrees asks for, by the names of the options; WrongUse for another name or a wrong value."""
    renamed = {("chunks" if key == "interleave" else key): value for key, value in degrees.items()}
    known = [field.name for field in fields(Asked)][1:]
    for key, value in renamed.items():
        if key not in known:
            named = ", ".join("interleave" if name == "chunks" else name for name in known)
            raise WrongUse(f"a layout has no '{key}'.", f"it has  {named}, node, link, network, reserve")
        whole = type(value) is int and value >= (0 if key == "zero" else 1) and (key != "zero" or value in ZERO)
        if not (value in SCHEDULES if key == "schedule" else type(value) is bool if key == "sp" else whole):
            raise WrongUse(f"{key}={value!r} is not a degree of a layout.", 'write  layout={"tp": 8, "zero": 1}')
    if type(gpus) is not int or gpus < 1:
        raise WrongUse(f"gpus={gpus!r} is not a number of devices.", "write  gpus=8")
    return Asked(gpus, **renamed)


def _divisors(number: int) -> tuple[int, ...]:
    """Powers of two that divide a number, and the number itself.

    >>> _divisors(24), _divisors(8)
    ((1, 2, 4, 8, 24), (1, 2, 4, 8))
    """
    powers = [1 << k for k in range(number.bit_length()) if number % (1 << k) == 0]
    return tuple(dict.fromkeys((*powers, number)))
