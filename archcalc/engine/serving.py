"""Records of runs with a cache, for the studies of serving. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from archcalc.tracing import Call, Trace

IN_LIST = re.compile(r"^(?:[^.]+\.)*?\d+(?=\.|$)")
"""The path of a layer of a list, at the start of what is inside it."""


@dataclass(frozen=True)
class Kept:
    """One tensor of a cache after a run: its place there, and the id of its tensor in the trace.

    `window` are the tokens that a sliding window of its layer keeps at most, None without one.
    """

    place: str
    tensor: int
    window: int | None = None


@dataclass(frozen=True)
class CachedRun:
    """A prefill (`past` is 0) or a decode step of one token behind `past` others, and the cache that it leaves."""

    trace: Trace
    batch: int
    tokens: int
    past: int
    cache: tuple[Kept, ...]


@dataclass(frozen=True)
class Weight:
    """A parameter as a matrix may be quantized: `matrices` of `outputs` x `inputs`; no matrix has outputs 0.

    `role` is linear, head, embedding or other. `tied` says that an embedding is the head too. `experts` are the
    experts that it holds weights of (0 for none), of `of_experts` that its layer chooses among. `stored` are its bytes
    as a quantization of the configuration stores it, None where it stays as it is.
    """

    name: str
    elements: int
    role: str
    matrices: int = 1
    outputs: int = 0
    inputs: int = 0
    tied: bool = False
    experts: int = 0
    of_experts: int = 0
    stored: int | None = None


@dataclass(frozen=True)
class Latent:
    """Attention on a latent (MLA): heads, the rank of the latent, and the widths of keys, turned keys and values."""

    heads: int
    rank: int
    keys: int
    turned: int
    values: int


@dataclass(frozen=True)
class Served:
    """A model as it is served: its weights, its runs, and what its configuration states.

    `counts` are the layers that a path of the traces stands for. `chosen` are the experts that a token is sent to.
    `stored` is the quantization that the configuration states: its name, and the form of its products ('' where it is
    not known how it stores weights); `positions` the longest text it is built for.
    The second of the `prefills` is of two sequences, and so is a last one where these do not take twice the work of
    one; `chunked` are of whole chunks, where some ops work on chunks of
    `chunk` tokens. `beyond` are prefills and steps of the shortest texts and of a long one, from which windows that
    nothing states are seen.
    """

    weights: tuple[Weight, ...]
    prefills: tuple[CachedRun, ...]
    decodes: tuple[CachedRun, ...]
    counts: Mapping[str, int]
    dtype: str
    chosen: int = 0
    stored: tuple[str, str] | None = None
    positions: int | None = None
    chunk: int = 1
    chunked: tuple[CachedRun, ...] = ()
    latent: Latent | None = None
    beyond: tuple[CachedRun, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def trace(self) -> Trace:
        """The shortest prefill."""
        return self.prefills[0].trace

    @property
    def alone(self) -> list[CachedRun]:
        """The prefills and decode steps of one sequence, those in whole chunks left out."""
        return [run for run in (*self.prefills, *self.decodes, *self.beyond) if run.batch == 1]

    def layer_at(self, trace: Trace, call: Call) -> tuple[str, int]:
        """The layer of a list that a call runs in, and how many layers of the model it stands for."""
        path = trace.path(call)
        return layer_of(path), self.count(path)

    def count(self, path: str) -> int:
        """How many layers of the model the ops at a path stand for."""
        parts = path.split(".")
        return next((n for end in range(1, len(parts) + 1) if (n := self.counts.get(".".join(parts[:end])))), 1)


def layer_of(path: str) -> str:
    """The layer of a list that a path is in; the path itself outside of lists.

    >>> layer_of("model.layers.3.self_attn.q_proj"), layer_of("lm_head")
    ('model.layers.3', 'lm_head')
    """
    found = IN_LIST.match(path)
    return found[0] if found else path
