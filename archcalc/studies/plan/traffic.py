"""What a rank sends in a step, by collective and by group of ranks, in bytes.

Collectives go around a ring: an all-reduce of B bytes among N ranks sends 2 B (N - 1) / N from each, an all-gather and
a reduce-scatter B (N - 1) / N (Rajbhandari et al. 2020, section 7). Terms of accumulated batches are exchanged once a
step, except for what ZeRO divides: gradients (2, 3) are scattered and parameters (3) gathered in every microbatch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from archcalc.analyses.spread.spread import REDUCE
from archcalc.studies.plan.facts import States
from archcalc.studies.plan.shares import Shares

TENSOR, DATA, PIPELINE, EXPERTS = "tensor", "data", "pipeline", "expert"
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")


@dataclass(frozen=True)
class Traffic:
    """Bytes that a rank sends in a step, by group of ranks and collective."""

    sent: Mapping[tuple[str, str], int]

    @property
    def by_collective(self) -> Mapping[str, int]:
        """Bytes by collective, all groups together."""
        return {name: sum(b for (_, kind), b in self.sent.items() if kind == name) for name in COLLECTIVES}

    @property
    def by_group(self) -> Mapping[str, int]:
        """Bytes by group of ranks."""
        found: dict[str, int] = defaultdict(int)
        for (group, _), size in self.sent.items():
            found[group] += size
        return found


def traffic(ranks: Shares, stage: int) -> Traffic:
    """What a rank of a stage sends in a step."""
    sent: dict[tuple[str, str], int] = defaultdict(int)
    chunks = set(ranks.stage(stage))
    _tensor(ranks, chunks, sent)
    for state in ranks.of_chunks(sorted(chunks)):
        _data(ranks, state, sent)
    _pipeline(ranks, chunks, sent)
    _experts(ranks, chunks, sent)
    return Traffic({key: size for key, size in sent.items() if size})


def _tensor(ranks: Shares, chunks: set[int], sent: dict[tuple[str, str], int]) -> None:
    degree = ranks.layout.tp
    for exchange in (exchange for chunk in chunks for exchange in ranks.exchanges.get(chunk, ())):
        size = exchange.bytes * (degree - 1) // degree * ranks.microbatches
        sent[TENSOR, exchange.kind] += 2 * size if exchange.kind == REDUCE else size


def _data(ranks: Shares, state: States, sent: dict[tuple[str, str], int]) -> None:
    """The gradients of a parameter, and the parameter itself where ranks hold or update parts of it."""
    number, zero = ranks.sharing(state), ranks.layout.zero
    gradient, itself = (ranks.local(state, size) * (number - 1) // number for size in (state.gradient, state.bytes))
    if zero == 0:
        sent[DATA, "all_reduce"] += 2 * gradient
        return
    sent[DATA, "reduce_scatter"] += gradient * (ranks.microbatches if zero >= 2 else 1)
    if zero < 3:
        sent[DATA, "all_gather"] += itself if state.gradient else 0
    else:
        gathers = 1 if state.unit is None else 2  # the root unit stays gathered until backward
        sent[DATA, "all_gather"] += gathers * itself * ranks.microbatches


def _pipeline(ranks: Shares, chunks: set[int], sent: dict[tuple[str, str], int]) -> None:
    """Stages send tensors to later ones in forward, their gradients back, and add up gradients of shared parameters."""
    stages = ranks.layout.pp
    if stages == 1:
        return
    here = {chunk % stages for chunk in chunks}
    for handed in ranks.facts.handed_on:
        maker = ranks.chunk_of[handed.maker] % stages
        readers = {ranks.chunk_of[unit] % stages for unit in handed.readers} - {maker}
        axis = ranks.spread.storages.get(handed.number)
        local = axis.local(handed.bytes, ranks.layout.tp) if axis else handed.bytes
        times = len(readers) if maker in here else len(readers & here)
        sent[PIPELINE, "send"] += local * times * ranks.microbatches
    for state in ranks.of_chunks(sorted(chunks)):
        number = len({ranks.chunk_of[unit] % stages for unit in state.users})
        if number > 1:
            sent[PIPELINE, "all_reduce"] += 2 * ranks.local(state, state.gradient) * (number - 1) // number


def _experts(ranks: Shares, chunks: set[int], sent: dict[tuple[str, str], int]) -> None:
    """Tokens to their experts and back, in forward and in backward; with equal numbers for each expert."""
    degree = ranks.layout.ep
    if degree == 1:
        return
    for size, unit in ranks.facts.dispatched:
        if ranks.chunk_of[unit] in chunks:
            sent[EXPERTS, "all_to_all"] += 2 * size * (degree - 1) // degree * ranks.microbatches
