"""The least time of a pass or a step on a device: for each kernel the longest of its products, other work and bytes.

Eager, every op is a kernel; compiled, kernels are those of `fusion`. What a device cannot do faster is a bound, not a
prediction: real kernels reach a part of the peaks. Bytes are those that pass between memory and the device's cache; of
a device whose cache is not known, all that kernels read and write. Two things can make a real run faster than its
bound: clocks above those that the data sheet's peaks are of, and such a cache.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from archcalc.analyses.op_work import Pass, Work, Works, works_of
from archcalc.analyses.report import Finding
from archcalc.errors import NoBandwidth, NoPeak
from archcalc.hardware import Hardware
from archcalc.tracing import Trace

FEMTO = 10**15
"""Figures of time are whole femtoseconds, so that they add up exactly."""
ARITHMETIC, MEMORY, LAUNCH = "arithmetic", "memory", "launch"
CAUSES = (ARITHMETIC, MEMORY, LAUNCH)
"""The reasons for which a kernel waits."""
Timed = tuple[Work, int, str]
"""A kernel, its least time in femtoseconds, and what it waits for."""
MOVED = "memory_traffic_bytes"
"""Bytes between memory and the cache of the device; `traffic_bytes` of Traffic are all that ops read and write."""
KEYS = (*(f"{cause}_fs" for cause in CAUSES), "bound_fs", "fused_bound_fs", MOVED, "product_flops")
PEAKS = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "complex64": "fp32",
    "complex128": "fp64", "int8": "int8", "uint8": "int8", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
    "float8_e4m3fnuz": "fp8", "float8_e5m2fnuz": "fp8",
}  # fmt: skip
"""The peak of numbers of a type."""


@dataclass(frozen=True)
class Bounds:
    """The bound of a pass on a device: seconds by cause and in sum, compiled ones beside them, bytes and FLOPs.

    `kernels` are those of the eager pass, `fused_kernels` those of the compiled one; `peak` is the highest peak of
    its products.
    """

    hardware: Hardware
    seconds: float
    fused_seconds: float
    by_cause: Mapping[str, float]
    bytes: int
    fused_bytes: int
    flops: int
    kernels: int
    fused_kernels: int
    peak: float

    @property
    def bound_by(self) -> str:
        """The cause that binds most of the time; '' where no time is needed."""
        return max(CAUSES, key=lambda cause: self.by_cause[cause]) if self.seconds else ""

    @property
    def memory_share(self) -> float:
        """The share of the time in kernels that wait for memory."""
        return self.by_cause[MEMORY] / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Bound:
    """The least time by layer in femtoseconds, the FLOPs of its products and the bytes that it moves. Record: Bounds.

    `works` are those of the trace, if they are known already. NoPeak if the products of a type of numbers have no peak
    on the device, NoBandwidth if its memory has none.
    """

    hardware: Hardware
    works: Works | None = None
    of_steps: ClassVar[bool] = True

    def __call__(self, trace: Trace) -> Finding:
        """Bound every kernel at its module; a compiled one at the module of its first op."""
        if self.hardware.bandwidth is None:
            raise NoBandwidth(self.hardware.name)
        works = (self.works or works_of(trace)).beside(self.hardware.cache)
        eager, compiled = bounded(works, self.hardware)
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        causes: Counter[str] = Counter()
        for work, time, cause in started(eager, self.hardware.launch or 0.0):
            figures = own[work.path]
            figures[f"{cause}_fs"] += time
            figures["bound_fs"] += time
            figures[MOVED] += work.bytes
            figures["product_flops"] += work.flops
            causes[cause] += time
        for work, time, _ in compiled:
            own[work.path]["fused_bound_fs"] += time
        return Finding(KEYS, own, notes=_notes(works), record=self._record(works, causes, compiled))

    def _record(self, works: Works, causes: Mapping[str, int], compiled: Sequence[Timed]) -> Bounds:
        return Bounds(
            self.hardware,
            sum(causes.values()) / FEMTO,
            sum(time for _, time, _ in compiled) / FEMTO,
            {cause: causes[cause] / FEMTO for cause in CAUSES},
            sum(work.bytes for work in works.eager.works),
            sum(work.bytes for work, _, _ in compiled),
            sum(work.flops for work in works.eager.works),
            len(works.eager.works),
            len(compiled),
            max((peak_of(work, self.hardware) for work in works.eager.works if work.flops), default=0.0),
        )


def _notes(works: Works) -> tuple[str, ...]:
    if not works.unknown:
        return ()
    return (f"bytes not known of {', '.join(works.unknown)}: the bound leaves them out",)


def timed(kernels: Pass, hardware: Hardware) -> list[Timed]:
    """Each kernel with its least time on a device."""
    return [(work, *kernel_time(work, hardware)) for work in kernels.works]


def bounded(works: Works, hardware: Hardware) -> tuple[list[Timed], list[Timed]]:
    """The kernels of a pass with their least times: as torch launches them, and compiled.

    Compiled they are fused in the way that takes the least time, or one for each op. A compiler need not fuse: a small
    cache may keep between small kernels what one large kernel pushes out.
    """
    eager = timed(works.eager, hardware)
    alone = eager if works.alone is works.eager else timed(works.alone, hardware)
    ways = [*(timed(kernels, hardware) for kernels in works.fused), alone]
    return eager, min(ways, key=lambda kernels: sum([time for _, time, _ in kernels]))


def started(kernels: Iterable[Timed], launch: float) -> Iterator[Timed]:
    """The kernels, of which the next starts `launch` seconds after one at the soonest."""
    least = round(launch * FEMTO)
    for work, time, cause in kernels:
        yield (work, time, cause) if time >= least else (work, least, LAUNCH)


def least_seconds(trace: Trace, hardware: Hardware) -> float:
    """The bound of a pass, or of a training step, in seconds; NoPeak and NoBandwidth."""
    record = Bound(hardware)(trace).record
    assert isinstance(record, Bounds), "the record of Bound"
    return record.seconds


def kernel_time(work: Work, hardware: Hardware) -> tuple[int, str]:
    """The least time of a kernel in femtoseconds, and what it waits for.

    Its products at the peak of their type, the rest of its arithmetic at that of the unit for it, its bytes at the
    bandwidth; all three run at the same time, so that the longest counts.
    """
    arithmetic = work.flops / peak_of(work, hardware) if work.flops else 0.0
    if hardware.vector:
        arithmetic = max(arithmetic, work.operations / hardware.vector)
    memory = work.bytes / (hardware.bandwidth or 1)
    time, cause = (arithmetic, ARITHMETIC) if arithmetic >= memory else (memory, MEMORY)
    return round(time * FEMTO), cause


def peak_of(work: Work, hardware: Hardware) -> float:
    """Operations a second of products of these numbers; NoPeak if the data sheet has none.

    Products of float32 may use TF32 where torch lets them by default: convolutions and recurrent layers of cuDNN, and
    attention, which makes each of three. Other products of float32 do not.
    """
    name = PEAKS.get(work.dtype, work.dtype)
    peaks = [hardware.peaks[name]] if name in hardware.peaks else []
    if work.tf32 and name == "fp32" and "tf32" in hardware.peaks:
        peaks.append(hardware.peaks["tf32"] / work.tf32)
    if not peaks:
        raise NoPeak(hardware.name, work.dtype, work.path, list(hardware.peaks))
    return max(peaks)
