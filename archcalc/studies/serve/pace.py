"""The least time of prefill and decode on devices: weights and caches that must be read, products that must be done.

Two parts a pass, one behind the other: products with weights, which read the weights once for the whole batch, and
attention, which reads each sequence's own cache. A part takes at least the longer of its arithmetic at the peak and its
bytes at the bandwidth. Several devices do it as many times as fast; what they send to one another is left out, and so
are activations, norms and sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

from archcalc.analyses.bound import PEAKS
from archcalc.errors import NoBandwidth, NoPeak
from archcalc.hardware import Hardware
from archcalc.studies.bisection import first
from archcalc.studies.serve.placement import MOST, Placement
from archcalc.studies.serve.stored import Form

NARROW = {
    "fp8": ("fp8",),
    "int8": ("int8",),
    "mxfp4": ("fp4", "fp8"),
    "int4": (),
    "nvfp4": ("fp4",),
    "w4afp8": ("fp8",),
}
"""Peaks that products with weights of a form may reach beside those of the type that the model computes in."""


@dataclass(frozen=True)
class Part:
    """FLOPs and bytes of one part of a pass, all devices together, and its least seconds."""

    flops: int
    bytes: int
    seconds: float
    bound_by: str


@dataclass(frozen=True)
class Pass:
    """A prefill or a decode step: MACs, bytes that must be moved, and its parts where a device was named."""

    macs: int
    traffic_bytes: int
    parts: tuple[Part, ...] = ()

    @property
    def seconds(self) -> float | None:
        """The least time; None without a device."""
        return sum(part.seconds for part in self.parts) if self.parts else None

    @property
    def bound_by(self) -> str:
        """What the longer part of the time waits for; '' without a device."""
        return max(self.parts, key=lambda part: part.seconds).bound_by if self.parts else ""


@dataclass(frozen=True)
class Pace:
    """The work of a placed model on a device; without one only MACs and bytes.

    `chosen` are the experts that a token is sent to; `dtype` is what the model computes in, `form` how weights are
    stored.
    """

    placement: Placement
    chosen: int
    dtype: str
    form: Form
    hardware: Hardware | None = None

    def prefill(self, batch: int, tokens: int) -> Pass:
        """A prefill with the head on the last position; its time without products that the causal mask hides."""
        laws, placed = self.placement.laws, self.placement
        read = placed.weights.read(batch * tokens, self.chosen)
        cache = placed.cache(batch, tokens)
        macs = laws.prefill_macs(tokens, batch)
        if self.hardware is None:
            return Pass(macs, read + cache)
        least = laws.prefill_macs_at_least(tokens, batch)
        return Pass(macs, read + cache, (self._part(2 * least, read + cache, self.hardware),))

    def decode(self, batch: int, context: int) -> Pass:
        """A step of one token for each sequence, which then sees a context of so many tokens."""
        laws, placed = self.placement.laws, self.placement
        read, cache = placed.weights.read(batch, self.chosen), placed.cache(batch, context)
        macs = batch * laws.decode_macs(context)
        if self.hardware is None:
            return Pass(macs, read + cache)
        weights = self._part(2 * batch * laws.step_at_least(), read, self.hardware)
        return Pass(
            macs, read + cache, (weights, self._part(2 * batch * laws.seen_at_least(context), cache, self.hardware))
        )

    def decode_as_run(self, batch: int, context: int) -> Pass | None:
        """The same step op by op as the library runs it: weights once, then all that other ops read and write.

        Its cache is in its own type and as the library holds it, copies included. None if no law of it is known.
        """
        laws, read = self.placement.laws, self.placement.weights.read(batch, self.chosen)
        moved = laws.decode_moved(batch, context)
        if moved is None:
            return None
        macs, step = batch * laws.decode_macs(context), batch * laws.step_macs()
        if self.hardware is None:
            return Pass(macs, read + moved)
        return Pass(
            macs,
            read + moved,
            (self._part(2 * step, read, self.hardware), self._part(2 * (macs - step), moved, self.hardware)),
        )

    def tokens_at_most(self, batch: int, context: int) -> float | None:
        """Tokens a second of a whole batch; None without a device."""
        seconds = self.decode(batch, context).seconds
        return batch / seconds if seconds else None

    def crossing(self) -> int | None:
        """The smallest batch at which a step's products with weights wait for arithmetic and not for memory.

        None without a device, and where no batch does.
        """
        hardware = self.hardware
        if hardware is None:
            return None

        def arithmetic(batch: int) -> bool:
            read = self.placement.weights.read(batch, self.chosen)
            return self._part(2 * batch * self.placement.laws.step_at_least(), read, hardware).bound_by == "arithmetic"

        if not arithmetic(MOST):
            return None
        return first(arithmetic, 1, MOST)

    def generation_seconds(self, batch: int, context: int, tokens: int) -> float | None:
        """The least time of a prefill of a context and of the steps for some further tokens; None without a device."""
        first = self.prefill(batch, context).seconds
        if first is None:
            return None
        steps = (self.decode(batch, context + number).seconds or 0.0 for number in range(1, tokens))
        return first + sum(steps)

    def _part(self, flops: int, bytes_: int, hardware: Hardware) -> Part:
        if hardware.bandwidth is None:
            raise NoBandwidth(hardware.name)
        devices = self.placement.devices
        arithmetic = flops / (self._peak(hardware) * devices)
        memory = bytes_ / (hardware.bandwidth * devices)
        return Part(flops, bytes_, max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory")

    def _peak(self, hardware: Hardware) -> float:
        names = (PEAKS.get(self.dtype, self.dtype), *NARROW.get(self.form.name, ()))
        peaks = [hardware.peaks[name] for name in names if name in hardware.peaks]
        if not peaks:
            raise NoPeak(hardware.name, self.dtype, "", list(hardware.peaks))
        return max(peaks)
