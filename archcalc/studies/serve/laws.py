"""Laws of serving: elements of a cache, and MACs, in tokens and batch, exact for the runs that they come from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from archcalc.engine.serving import CachedRun, Kept, Served
from archcalc.errors import NoLaw
from archcalc.ops.registry import macs_of
from archcalc.tracing import element_size

IN_LIST = re.compile(r"^(?:[^.]+\.)*?\d+(?=\.|$)")
"""The path of a layer of a list, at the start of what is inside it."""
HEAD = "head"


@dataclass(frozen=True)
class Cached:
    """One tensor of the cache in one kind of layer: `growing` elements a token and sequence, `fixed` a sequence.

    `layers` are the layers that have one like it, `path` the first of them; `window` the tokens that a sliding window
    lets it keep. `heads` is the size of the axis that devices can divide. `width` are bytes of an element. `held` and
    `held_fixed` are bytes of the storage behind it, which a library may keep whole behind a slice.
    """

    place: str
    path: str
    layers: int
    growing: int
    fixed: int
    width: int
    dtype: str
    heads: int
    held: int
    held_fixed: int
    window: int | None = None

    @property
    def is_state(self) -> bool:
        """Whether its size does not depend on the tokens."""
        return not self.growing

    def tokens(self, context: int, page: int = 1) -> int:
        """Tokens that are kept of a context: at most the window, in whole pages."""
        kept = context if self.window is None else min(context, self.window)
        return page * ceil(kept / page)

    def bytes(self, context: int, width: int = 0, page: int = 1) -> int:
        """Bytes of one sequence in all layers; `width` replaces the bytes of an element of what grows."""
        wide = width if width and self.growing else self.width
        return self.layers * wide * (self.growing * self.tokens(context, page) + self.fixed)

    def held_bytes(self, context: int) -> int:
        """Bytes of the storages that the library holds for one sequence behind a prefill, in all layers."""
        return self.layers * (self.held * context + self.held_fixed)


@dataclass(frozen=True)
class Work:
    """MACs of the layers of one kind: of a prefill of n tokens, and of a decode step that sees n.

    prefill = pairs·n² + a_token·n + `once`, a quadratic in the chunks that n tokens are padded to; decode = step +
    seen·n. `step_at_least` and `seen_at_least` are those of an engine that works in the latent of MLA.
    """

    path: str
    pairs: int
    a_token: int
    once: tuple[int, int, int]
    step: int
    seen: int
    window: int | None
    step_at_least: int
    seen_at_least: int

    def prefill(self, tokens: int, chunk: int) -> int:
        """MACs as the library multiplies: every token with every other, masked or not, and whole chunks."""
        return self.pairs * tokens**2 + self.a_token * tokens + self._in_chunks(ceil(tokens / chunk))

    def _in_chunks(self, chunks: int) -> int:
        square, slope, start = self.once
        return square * chunks**2 + slope * chunks + start

    def prefill_at_least(self, tokens: int, chunk: int) -> int:
        """MACs without the products that the causal mask or a window hides, and without a last chunk that is padded."""
        window = self.kept(tokens)
        seen = tokens * window - window * (window - 1) // 2
        chunks = tokens // chunk if any(self.once[:2]) else 0
        return self.pairs * seen + self.a_token * tokens + max(0, self._in_chunks(chunks))

    def kept(self, context: int) -> int:
        """Tokens of a context that a layer sees."""
        return min(context, self.window or context)


@dataclass(frozen=True)
class Laws:
    """The cache and the work of a model by kinds of layer; `head` are MACs of the head for one position."""

    cache: Sequence[Cached]
    work: Sequence[Work]
    head: int
    chunk: int

    def prefill_macs(self, tokens: int, full_head: bool = False) -> int:
        """MACs of a prefill of one sequence, with the head on the last position or on all."""
        head = self.head * (tokens if full_head else 1)
        return sum(work.prefill(tokens, self.chunk) for work in self.work) + head

    def prefill_macs_at_least(self, tokens: int) -> int:
        """The same without what masks hide, and without padding."""
        return sum(work.prefill_at_least(tokens, self.chunk) for work in self.work) + self.head

    def decode_macs(self, context: int) -> int:
        """MACs of a decode step of one sequence that sees a context, its own token included, as the library runs it."""
        return sum(work.step + work.seen * work.kept(context) for work in self.work) + self.head

    def step_at_least(self) -> int:
        """MACs of a decode step with weights, in an engine."""
        return sum(work.step_at_least for work in self.work) + self.head

    def seen_at_least(self, context: int) -> int:
        """MACs of a decode step with its context, in an engine."""
        return sum(work.seen_at_least * work.kept(context) for work in self.work)


def laws_of(served: Served) -> Laws:
    """The laws of a model's runs; NoLaw where a run differs from what the others say."""
    short, twice, *_ = served.prefills
    cache = [_cached(served, kept) for kept in short.cache]
    windows = {cached.path: cached.window for cached in cache if cached.window}
    runs = (*served.prefills, *served.chunked, *served.decodes)
    macs = {id(run): _macs(served, run) for run in runs}
    for path, figure in macs[id(short)].items():
        if macs[id(twice)].get(path, 0) != 2 * figure:
            raise NoLaw(f"the MACs of {path}", "two sequences do not take twice what one takes")
    paths = sorted({path for figures in macs.values() for path in figures if path != HEAD}, key=_order)
    work = [_work(served, path, {run: macs[run].get(path, 0) for run in macs}, windows.get(path)) for path in paths]
    return Laws(cache, work, macs[id(served.decodes[0])].get(HEAD, 0), served.chunk)


def layer_of(path: str) -> str:
    """The layer of a list that a path is in; the path itself outside of lists.

    >>> layer_of("model.layers.3.self_attn.q_proj"), layer_of("lm_head")
    ('model.layers.3', 'lm_head')
    """
    found = IN_LIST.match(path)
    return found[0] if found else path


def _order(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]


def _cached(served: Served, kept: Kept) -> Cached:
    twice, runs = served.prefills[1], [run for run in served.prefills if run.batch == 1]
    shapes = [_shape(run, kept.place) for run in runs]
    elements = [prod(shape) for shape in shapes]
    held = [_held(run, kept.place) for run in runs]
    times = [run.tokens for run in runs]
    growing, fixed = _line(times, elements, f"the cache {kept.place}")
    storing, stored = _line(times, held, f"the storage of the cache {kept.place}")
    if prod(_shape(twice, kept.place)) != 2 * elements[0]:
        raise NoLaw(f"the cache {kept.place}", "two sequences do not take twice what one takes")
    trace = runs[0].trace
    tensor = trace.tensors[kept.tensor]
    birth = trace.storages[tensor.storage].birth
    path = layer_of(trace.path(trace.calls[birth])) if birth >= 0 else kept.place
    token_axis = next((axis for axis, (a, b) in enumerate(zip(*shapes[:2], strict=True)) if a != b), 0)
    others = [size for axis, size in enumerate(shapes[0][:-1]) if axis not in (0, token_axis)]
    width = element_size(tensor.dtype)
    return Cached(
        kept.place, path, served.count(path), growing, fixed, width, tensor.dtype, others[0] if others else 1,
        storing, stored, kept.window if growing else None,
    )  # fmt: skip


def _shape(run: CachedRun, place: str) -> tuple[int, ...]:
    found = next((kept for kept in run.cache if kept.place == place), None)
    if found is None:
        raise NoLaw(f"the cache {place}", f"it is missing behind {run.tokens} tokens")
    return run.trace.tensors[found.tensor].shape


def _held(run: CachedRun, place: str) -> int:
    """Bytes of the storage of a tensor; 0 if a tensor before it in the cache shares it."""
    found: dict[int, str] = {}
    for kept in run.cache:
        found.setdefault(run.trace.tensors[kept.tensor].storage, kept.place)
    tensor = run.trace.tensors[next(kept.tensor for kept in run.cache if kept.place == place)]
    return run.trace.storages[tensor.storage].bytes if found[tensor.storage] == place else 0


def _line(times: Sequence[int], values: Sequence[int], what: str) -> tuple[int, int]:
    """Slope and start of the line through the first two points, on which the others must lie."""
    slope, rest = divmod(values[1] - values[0], times[1] - times[0])
    start = values[0] - slope * times[0]
    if rest or any(start + slope * time != value for time, value in zip(times, values, strict=True)):
        shown = ", ".join(f"{time} tokens {value:,}" for time, value in zip(times, values, strict=True))
        raise NoLaw(what, f"it is not a part for each token and a fixed one: {shown}")
    return slope, start


def _square(times: Sequence[int], values: Sequence[int], what: str) -> tuple[int, int, int]:
    """The quadratic through the first three points, on which the others must lie."""
    (a, b, c), (f, g, h) = times[:3], values[:3]
    first, second = (g - f) * (c - b), (h - g) * (b - a)
    pairs, rest = divmod(second - first, (b - a) * (c - b) * (c - a))
    slope, more = divmod(g - f - pairs * (b * b - a * a), b - a)
    start = f - pairs * a * a - slope * a
    law: Callable[[int], int] = lambda n: pairs * n * n + slope * n + start  # noqa: E731
    if rest or more or any(law(time) != value for time, value in zip(times, values, strict=True)):
        shown = ", ".join(f"{time} tokens {value:,}" for time, value in zip(times, values, strict=True))
        raise NoLaw(what, f"they are no polynomial of degree 2 in the tokens: {shown}")
    return pairs, slope, start


def _work(served: Served, path: str, macs: Mapping[int, int], window: int | None) -> Work:
    of, what = path or "the model", "the MACs of a prefill in"
    short = [(run.tokens, macs[id(run)]) for run in served.prefills if run.batch == 1]
    pairs, a_token, start = _square(*_columns(short), f"{what} {of}")
    once = (0, 0, start)
    if served.chunked:
        rest = [
            (run.tokens // served.chunk, macs[id(run)] - pairs * run.tokens**2 - a_token * run.tokens)
            for run in served.chunked
        ]
        once = _square(*_columns(rest), f"{what} whole chunks in {of}")
    decodes = [(run.past + 1, macs[id(run)]) for run in served.decodes]
    seen, step = _line(*_columns(decodes), f"the MACs of a decode step in {of}")
    return Work(path, pairs, a_token, once, step, seen, window, *_in_latent(served, path, step, seen))


def _in_latent(served: Served, path: str, step: int, seen: int) -> tuple[int, int]:
    """MACs of a decode step that works in the latent of MLA, where the library makes keys and values of it first.

    Queries meet the latent itself, and its weighted sum is projected once: DeepSeek-V2, section 2.1.2.
    """
    latent = served.latent
    if latent is None or not seen:
        return step, seen
    layers = served.count(path)
    expanded = layers * latent.heads * (latent.keys + latent.turned + latent.values)
    inside = layers * latent.heads * (2 * latent.rank + latent.turned)
    return (step + seen - expanded, inside) if inside < seen else (step, seen)


def _columns(points: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [time for time, _ in points], [value for _, value in points]


def _macs(served: Served, run: CachedRun) -> Mapping[str, int]:
    """MACs by layer, all layers like it included; those of the head apart."""
    trace = run.trace
    rows = trace.tensors[trace.output_tensors[0]].shape[-1]
    found: dict[str, int] = defaultdict(int)
    for call in trace.calls:
        macs = macs_of(trace, call)
        if not macs:
            continue
        path = trace.path(call)
        count = served.count(path)
        layer = layer_of(path)
        is_head = layer == path and any(trace.tensors[out].shape[-1:] == (rows,) for out in call.outputs)
        found[HEAD if is_head else layer] += count * macs
    return found
