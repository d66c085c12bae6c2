"""Serving one model: its cache, its weights as stored, prefill and decode, and what fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from archcalc import engine
from archcalc.analyses.metrics import CACHE, CACHED
from archcalc.engine.serving import Served
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import WrongUse
from archcalc.hardware import Hardware, means_another
from archcalc.hardware.catalogue import member_of_family
from archcalc.studies.budget import Budget, parse_budget
from archcalc.studies.serve.laws import Laws, laws_of
from archcalc.studies.serve.pace import Pace
from archcalc.studies.serve.placement import MOST, Placement
from archcalc.studies.serve.stored import Form, Stored, parse_form, plain_form, stored
from archcalc.studies.serve.wanted import KV, Wanted, demand, demand_growing, tokens
from archcalc.studies.speed.target import target
from archcalc.text.faces import Shown

CONTEXT = 8192
"""Tokens where no context was asked for, or as many as the model has positions for."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXTS = (1024, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 1048576)
"""The table of what fits."""
CONFIG = "config"
MEETING = "a prefill is counted sequence by sequence: two in one run meet in {}, which takes {} MACs more"
PREFILL_TO = "the MACs of a prefill hold up to {} tokens: a longer run does other work"


@dataclass(frozen=True)
class Row:
    """What fits: the largest context of a batch, or the largest batch of a context (`of_batch` says which)."""

    batch: int
    context: int
    of_batch: bool
    tokens_per_second_at_most: float | None


@dataclass(frozen=True, repr=False)
class Serving(Shown):
    """The answer for one model at a batch and a context."""

    model: Served
    laws: Laws
    pace: Pace
    batch: int
    context: int
    form: Form
    kv: str
    wanted: Wanted
    asked_batch: bool
    asked_context: bool
    budget: Budget | None
    notes: Sequence[str]

    @property
    def placement(self) -> Placement:
        """Where weights and caches are."""
        return self.pace.placement

    @property
    def weights(self) -> Stored:
        """Bytes of weights."""
        return self.placement.weights

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one more token of one sequence takes, windows not yet full."""
        return sum(c.bytes(1, self.placement.width) - c.bytes(0, self.placement.width) for c in self.laws.cache)

    @property
    def kv_bytes_per_late_token(self) -> int:
        """Bytes that one more token takes when all windows are full."""
        full = [cached for cached in self.laws.cache if cached.window is None]
        return sum(c.bytes(1, self.placement.width) - c.bytes(0, self.placement.width) for c in full)

    @property
    def kv_bytes(self) -> int:
        """Bytes of what grows with the tokens, at the batch and the context, as an engine needs them."""
        return self.placement.cache(self.batch, self.context) - self.state_bytes

    @property
    def state_bytes(self) -> int:
        """Bytes of what each sequence has whatever its length."""
        return self.batch * sum(cached.bytes(0) for cached in self.laws.cache)

    @property
    def kv_held_bytes(self) -> int:
        """Bytes of the storages that the library holds behind a prefill, states included, in its own type."""
        return self.batch * sum(cached.held_bytes(self.context) for cached in self.laws.cache)

    @property
    def fits(self) -> bool:
        """Whether the batch fits at the context; true without a capacity."""
        return self.budget is None or self.placement.on_one(self.batch, self.context) <= self.budget.bytes

    @property
    def largest_context(self) -> int | None:
        """The longest context of the batch; None without a capacity, and where the cache does not grow."""
        return self._bounded(self.placement.largest_context(self.batch, self.budget.bytes)) if self.budget else None

    @property
    def largest_batch(self) -> int | None:
        """The most sequences of the context; None without a capacity, and for a model without bound."""
        return self._bounded(self.placement.largest_batch(self.context, self.budget.bytes)) if self.budget else None

    @staticmethod
    def _bounded(found: int) -> int | None:
        return None if found == MOST else found

    @property
    def devices_needed(self) -> int | None:
        """The fewest devices of that capacity for the batch and the context; None without a capacity."""
        if self.budget is None:
            return None
        return self.placement.devices_needed(self.batch, self.context, self.budget.bytes)

    @cached_property
    def table(self) -> Sequence[Row]:
        """What fits at other batches and contexts; none without a capacity."""
        if self.budget is None:
            return ()
        room, placed = self.budget.bytes, self.placement
        found = [(batch, placed.largest_context(batch, room), True) for batch in BATCHES]
        found += [(placed.largest_batch(context, room), context, False) for context in CONTEXTS]
        return [
            Row(batch, context, of_batch, self.pace.tokens_at_most(batch, context))
            for batch, context, of_batch in found
            if batch and context and MOST not in (batch, context)
        ]

    def __repr__(self) -> str:
        """One line."""
        name, each = self.model.trace.model.name, self.kv_bytes_per_token
        return f"<Serving of {name}: {self.batch} x {self.context:,} tokens, {each:,} bytes of cache a token>"


def serve(model: str | Subject, setup: Setup, wanted: Wanted) -> Serving:
    """The answer for one model; WrongUse and BadInput for what cannot be asked, NoCache, NoLaw, tracing's errors."""
    context, asked_context = tokens(wanted.context), wanted.context is not None
    form = None if wanted.weights in ("", CONFIG) else parse_form(wanted.weights)
    demand(wanted)
    budget, means = _budget(wanted)
    on, notes = _device(wanted, budget)
    served = engine.served(model, replace(setup, batch=None))
    laws = laws_of(served)
    demand_growing(laws, wanted)
    form, weights, more = _stored(served, form, wanted)
    placement = Placement(laws, weights, wanted.gpus, KV[wanted.kv] if wanted.kv else 0, wanted.page)
    context = context or min(CONTEXT, served.positions or CONTEXT)
    kv = wanted.kv or plain_form(next((c.dtype for c in laws.cache if not c.is_state), served.dtype)).typed
    pace = Pace(placement, served.chosen, served.dtype, form, on)
    notes = [*served.notes, *means, *notes, *more, *_doubts(served, placement, context)]
    if laws.prefill_to is not None and context > laws.prefill_to:
        notes.append(PREFILL_TO.format(f"{laws.prefill_to:,}"))
    return Serving(
        served, laws, pace, setup.batch or 1, context, form, kv, wanted, setup.batch is not None, asked_context,
        budget, notes,
    )  # fmt: skip


def bare(model: str | Subject, setup: Setup) -> Serving:
    """The answer of which the figures of a setup are read, whatever its batch and text; raises what `serve` raises."""
    return serve(model, without_sizes(setup), Wanted())


def without_sizes(setup: Setup) -> Setup:
    """The setup without what the laws of a cache do not depend on."""
    return replace(setup, training=None, batch=None, seq_len=None)


def _cached(serving: Serving, setup: Setup) -> int:
    """Bytes of the cache of a batch of texts of `seq_len` tokens, states included."""
    return serving.placement.cache(setup.batch or 1, setup.seq_len or serving.context)


FIGURES: Mapping[str, Callable[[Serving, Setup], int]] = {
    CACHE: lambda serving, _: serving.kv_bytes_per_token,
    CACHED: _cached,
}
"""The figures that laws and sweeps know."""


def _budget(wanted: Wanted) -> tuple[Budget | None, list[str]]:
    """The capacity of each device, and a note where a family's name stands for one of its members."""
    if not wanted.fit:
        return None, []
    member = member_of_family(str(wanted.fit))
    if member is None:
        return parse_budget(wanted.fit, wanted.reserve), []
    budget = replace(parse_budget(member.name, wanted.reserve), typed=str(wanted.fit))
    note = means_another(str(wanted.fit), member)
    return budget, [note] if note else []


def _device(wanted: Wanted, budget: Budget | None) -> tuple[Hardware | None, list[str]]:
    """The device that times are of: that of --on, else the one of --fit. BadInput for times without any."""
    if wanted.on:
        found = target(wanted.on)
        return found.hardware, [found.note] if found.note else []
    hardware = budget.hardware if budget else None
    if hardware is None or hardware.bandwidth is None or not hardware.peaks:
        if wanted.generate is not None:
            raise WrongUse("--generate asks for a time, and no device was named.", "add  --on h100")
        return None, []
    return hardware, []


def _stored(served: Served, form: Form | None, wanted: Wanted) -> tuple[Form, Stored, list[str]]:
    """How weights are stored: as asked for, else as the configuration says, else in the model's own type."""
    method, computes_in = served.stored or ("", "")
    if wanted.weights == CONFIG and not computes_in:
        reason = (
            f"it is not known how {method} stores weights"
            if method
            else "its configuration states no quantization of them"
        )
        raise WrongUse(f"--weights config: {reason}.", "write  --weights int4:128")
    if form is None and computes_in:
        note = f"weights as its config's quantization ({method}) stores them: --weights bf16 for another form"
        return Form(computes_in, 0), stored(served.weights, None, served.dtype), [note]
    chosen = form or plain_form(served.dtype)
    doubt = f"weights counted as {chosen.typed}: it is not known how its config's quantization ({method}) stores them"
    notes = [f"{doubt}; --weights int4:128 for another form"] if method and not form and not computes_in else []
    return chosen, stored(served.weights, chosen, served.dtype), notes


def _doubts(served: Served, placement: Placement, context: int) -> list[str]:
    """What the figures rest on."""
    notes = []
    if served.positions and context > served.positions:
        notes.append(f"a context of {context:,} is beyond the {served.positions:,} positions that it is built for")
    if placement.weights.every and not served.chosen:
        notes.append("the experts that a token is sent to are not stated: a step is taken to read all of them")
    if meeting := placement.laws.meeting:
        layers = ", ".join(path or "the model itself" for path in meeting)
        notes.append(MEETING.format(layers, f"{sum(meeting.values()):,}"))
    uneven = placement.uneven() if placement.devices > 1 else []
    if uneven:
        heads = sorted({cached.heads for cached in uneven})
        named = f"{', '.join(map(str, heads))} heads do" if heads != [1] else "1 head does"
        notes.append(
            f"{named} not divide among {placement.devices} devices: some hold more of the cache, or all the same"
        )
    return notes
