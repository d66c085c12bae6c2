"""One kind of layer of a served model: what it keeps of a text, and what it multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from archcalc.studies.serve.curves import Line
from archcalc.studies.serve.moved import Moves


@dataclass(frozen=True)
class Cached:
    """One tensor of the cache in one kind of layer: `growing` elements a token and sequence, `fixed` a sequence.

    `layers` are the layers that have one like it, `path` the first of them; `window` the tokens that a sliding window
    lets it keep, those of an image in front of the text included. `heads` is the size of the axis that devices can
    divide. `width` are bytes of an element. `held` are bytes of the storage behind it by tokens, which a library may
    keep whole behind a slice.
    """

    place: str
    path: str
    layers: int
    growing: int
    fixed: int
    width: int
    dtype: str
    heads: int
    held: Line
    window: int | None = None

    @property
    def is_state(self) -> bool:
        """Whether its size does not depend on the tokens."""
        return not self.growing

    @property
    def in_front(self) -> int:
        """Tokens that every sequence has in front of its text, such as those of an image; 0 if the cache has none."""
        tokens, rest = divmod(self.fixed, self.growing) if self.growing else (0, 0)
        return 0 if rest else tokens

    def tokens(self, context: int, page: int = 1) -> int:
        """Tokens that are kept of a context: what is in front has a part of the window; in whole pages."""
        kept = context if self.window is None else min(context, self.window - self.in_front)
        return page * ceil(kept / page)

    def bytes(self, context: int, width: int = 0, page: int = 1) -> int:
        """Bytes of one sequence in all layers; `width` replaces the bytes of an element of what grows."""
        wide = width if width and self.growing else self.width
        return self.layers * wide * (self.growing * self.tokens(context, page) + self.fixed)

    def held_bytes(self, context: int) -> int:
        """Bytes of the storages that the library holds for one sequence behind a prefill, in all layers."""
        return self.layers * self.held(context)


@dataclass(frozen=True)
class Work:
    """MACs of the layers of one kind: of a prefill of n tokens, and of a decode step that sees n.

    prefill = pairs·n² + a_token·n + `once`, a quadratic in the chunks that n tokens are padded to; decode is `step`, a
    line in n. `window` are the tokens that a step sees at most, `stated` if a configuration says so, and `in_front` of
    them are no part of the n. `moved` are the bytes of its ops beside weights. `step_at_least` and `seen_at_least` are
    of an engine that works in MLA's latent.
    """

    path: str
    pairs: int
    a_token: int
    once: tuple[int, int, int]
    step: Line
    window: int | None
    step_at_least: int
    seen_at_least: int
    moved: Moves | None
    stated: int | None = None
    in_front: int = 0

    def prefill(self, tokens: int, chunk: int) -> int:
        """MACs as the library multiplies: every token with every other, masked or not, and whole chunks."""
        return self.pairs * tokens**2 + self.a_token * tokens + self._in_chunks(ceil(tokens / chunk))

    def _in_chunks(self, chunks: int) -> int:
        square, slope, start = self.once
        return square * chunks**2 + slope * chunks + start

    def prefill_at_least(self, tokens: int, chunk: int) -> int:
        """MACs without the products that the causal mask or a window hides, and without a last chunk that is padded."""
        every, window = tokens + self.in_front, self.kept(tokens) + self.in_front
        hidden = every**2 - every * window + window * (window - 1) // 2
        chunks = tokens // chunk if any(self.once[:2]) else 0
        others = self.a_token * tokens + max(0, self._in_chunks(chunks))
        return self.pairs * (tokens**2 - hidden) + others

    def kept(self, context: int) -> int:
        """Tokens of a context that a layer sees beside those in front."""
        return min(context, self.window - self.in_front) if self.window else context

    def kept_as_stated(self, context: int) -> int:
        """The same, of a window that a configuration states alone."""
        return min(context, self.stated - self.in_front) if self.stated else context
