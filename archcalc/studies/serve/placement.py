"""A model on one or several devices: bytes on each, the largest context and batch within a capacity, devices needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from archcalc.studies.bisection import first
from archcalc.studies.serve.laws import Laws
from archcalc.studies.serve.layers import Cached
from archcalc.studies.serve.stored import Stored

MOST = 2**40
"""No context and no batch above this is looked for: what is as large grows with neither."""
MOST_DEVICES = 4096


@dataclass(frozen=True)
class Placement:
    """Weights and caches over `devices`: `width` bytes an element of what grows in the cache, pages of `page` tokens.

    Weights are divided evenly. A cache is divided by its heads: heads that do not divide leave some devices with more,
    and a single head, such as the latent of MLA, is on every device.
    """

    laws: Laws
    weights: Stored
    devices: int = 1
    width: int = 0
    page: int = 1

    def cache(self, batch: int, context: int) -> int:
        """Bytes of the cache of a batch, states included, all devices together and nothing twice."""
        return batch * sum(cached.bytes(context, self.width, self.page) for cached in self.laws.cache)

    def cache_on_one(self, batch: int, context: int) -> int:
        """Bytes of the cache on the device that has most of it."""
        return batch * sum(
            ceil(cached.bytes(context, self.width, self.page) * ceil(cached.heads / self.devices) / cached.heads)
            for cached in self.laws.cache
        )

    def weights_on_one(self) -> int:
        """Bytes of weights on one device."""
        return ceil(self.weights.total / self.devices)

    def on_one(self, batch: int, context: int) -> int:
        """Bytes on the device that has most."""
        return self.weights_on_one() + self.cache_on_one(batch, context)

    def largest_context(self, batch: int, room: int) -> int:
        """The longest context that a batch has room for; 0 if none, MOST if the cache does not grow."""
        return _largest(lambda context: self.on_one(batch, context) <= room)

    def largest_batch(self, context: int, room: int) -> int:
        """The most sequences of a context that there is room for; 0 if none."""
        return _largest(lambda batch: self.on_one(batch, context) <= room)

    def devices_needed(self, batch: int, context: int, room: int) -> int | None:
        """The fewest devices with that room each; None where even MOST_DEVICES are too few."""

        def fits(devices: int) -> bool:
            return replace(self, devices=devices).on_one(batch, context) <= room

        if not fits(MOST_DEVICES):
            return None
        return first(fits, 1, MOST_DEVICES)

    def uneven(self) -> list[Cached]:
        """The caches whose heads do not divide among the devices."""
        return [cached for cached in self.laws.cache if cached.heads % self.devices]


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest number from 1 that fits, where all smaller ones do; 0 if none, MOST if all do."""
    return first(lambda number: not fits(number), 1, MOST + 1) - 1
