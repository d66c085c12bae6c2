"""Laws of serving: elements of a cache, and MACs, in tokens and batch, exact for the runs that they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from archcalc.engine.serving import CachedRun, Kept, Served, layer_of
from archcalc.errors import NoLaw
from archcalc.ops.registry import macs_of
from archcalc.studies.serve.curves import Line, Point, line, square
from archcalc.studies.serve.layers import Cached, Work
from archcalc.studies.serve.moved import Moves, moved_by_layer, moves
from archcalc.tracing import element_size

HEAD = "head"


@dataclass(frozen=True)
class Laws:
    """The cache and the work of a model by kinds of layer; `head` are MACs of the head for one position.

    `prefill_to` are the tokens up to which the MACs of a prefill hold, None if no run differs from them. `shared` are
    MACs of a prefill that a batch does once, such as on positions; `meeting` those that a run of two sequences does
    beyond twice one's, by layer: an encoder that lets the images of a batch see one another.
    """

    cache: Sequence[Cached]
    work: Sequence[Work]
    head: int
    chunk: int
    prefill_to: int | None = None
    shared: int = 0
    meeting: Mapping[str, int] = field(default_factory=dict)

    def prefill_macs(self, tokens: int, batch: int = 1, full_head: bool = False) -> int:
        """MACs of a prefill, with the head on the last position or on all; no sequence of a batch sees another."""
        head = self.head * (tokens if full_head else 1)
        return self._of_batch(batch, sum(work.prefill(tokens, self.chunk) for work in self.work) + head)

    def prefill_macs_at_least(self, tokens: int, batch: int = 1) -> int:
        """The same without what masks hide, and without padding."""
        return self._of_batch(batch, sum(work.prefill_at_least(tokens, self.chunk) for work in self.work) + self.head)

    def _of_batch(self, batch: int, one: int) -> int:
        return batch * one - (batch - 1) * self.shared

    def decode_macs(self, context: int) -> int:
        """MACs of a decode step of one sequence that sees a context, its own token included, as the library runs it."""
        return sum(work.step(work.kept(context)) for work in self.work) + self.head

    def decode_moved(self, batch: int, context: int) -> int | None:
        """Bytes beside weights that the ops of a decode step read and write, as the library runs it; None without law.

        Windows that a configuration states cap what a step sees; others are in the law itself.
        """
        moved = [work.moved(batch, work.kept_as_stated(context)) if work.moved else None for work in self.work]
        known = [bytes_ for bytes_ in moved if bytes_ is not None]
        return sum(known) if len(known) == len(moved) else None

    def step_macs(self) -> int:
        """The part of a decode step's MACs that does not grow with its context."""
        return sum(work.step.start for work in self.work) + self.head

    def step_at_least(self) -> int:
        """MACs of a decode step with weights, in an engine."""
        return sum(work.step_at_least for work in self.work) + self.head

    def seen_at_least(self, context: int) -> int:
        """MACs of a decode step with its context, in an engine."""
        return sum(work.seen_at_least * work.kept(context) for work in self.work)


def laws_of(served: Served) -> Laws:
    """The laws of a model's runs; NoLaw where a run differs from what the others say."""
    short = served.prefills[0]
    cache = [_cached(served, kept) for kept in short.cache]
    stated = {cached.path: kept.window for cached, kept in zip(cache, short.cache, strict=True) if kept.window}
    front = {cached.path: cached.in_front for cached in cache if cached.in_front}
    runs = (*served.prefills, *served.chunked, *served.decodes, *served.beyond)
    macs = {id(run): _macs(served, run) for run in runs}
    beyond = _beyond_twice(served, macs)
    moved = {id(run): moved_by_layer(run, served.layer_at) for run in runs if run.past}
    paths = sorted({path for figures in (*macs.values(), *moved.values()) for path in figures} - {HEAD}, key=_order)
    work = [_work(served, path, macs, moved, stated.get(path), front.get(path, 0)) for path in paths]
    cache = [_seen(cached, work) for cached in cache]
    shared = sum(-more for more in beyond.values() if more < 0)
    meeting = {path: more for path, more in beyond.items() if more > 0}
    laws = Laws(cache, work, macs[id(served.decodes[0])].get(HEAD, 0), served.chunk, None, shared, meeting)
    whole = [(run, sum(macs[id(run)].values())) for run in served.beyond if not run.past]
    differ = any(laws.prefill_macs(run.tokens, full_head=True) != figure for run, figure in whole)
    return replace(laws, prefill_to=max(run.tokens for run in served.prefills) if differ else None)


def _beyond_twice(served: Served, macs: Figures) -> dict[str, int]:
    """The MACs that a prefill of two sequences does beyond twice those of one, by layer; fewer are below 0.

    NoLaw where they are not the same for two lengths, or in the head.
    """
    alone = {run.tokens: macs[id(run)] for run in served.prefills if run.batch == 1}
    twice = [(alone[run.tokens], macs[id(run)]) for run in served.prefills if run.batch == 2]
    beyond = {}
    for path in twice[0][0]:
        more = {two.get(path, 0) - 2 * one.get(path, 0) for one, two in twice}
        if more != {0} and (len(more) > 1 or len(twice) == 1 or path == HEAD):
            raise NoLaw(f"the MACs of {path}", "two sequences do not take twice what one takes")
        beyond[path] = more.pop()
    return beyond


def _seen(cached: Cached, work: Sequence[Work]) -> Cached:
    """A cache of which steps read no more than a window has that window, even if all of it is held."""
    seen = next((of.window for of in work if of.path == cached.path), None)
    if cached.is_state or seen is None:
        return cached
    return replace(cached, window=min(seen, cached.window or seen))


def _order(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]


def _cached(served: Served, kept: Kept) -> Cached:
    runs = [run for run in served.alone if not run.past]
    shapes = {run.tokens: _shape(run, kept.place) for run in runs}
    elements = line([(tokens, prod(shape)) for tokens, shape in shapes.items()], f"the cache {kept.place}")
    storing = line([(run.tokens, _held(run, kept.place)) for run in runs], f"the storage of the cache {kept.place}")
    twice = served.prefills[1]
    if prod(_shape(twice, kept.place)) != 2 * elements(twice.tokens):
        raise NoLaw(f"the cache {kept.place}", "two sequences do not take twice what one takes")
    trace = served.trace
    tensor = trace.tensors[kept.tensor]
    birth = trace.storages[tensor.storage].birth
    path = layer_of(trace.path(trace.calls[birth])) if birth >= 0 else kept.place
    few, many = (shapes[tokens] for tokens in (min(shapes), max(shapes)))
    token_axis = next((axis for axis, (a, b) in enumerate(zip(few, many, strict=True)) if a != b), 0)
    others = [size for axis, size in enumerate(few[:-1]) if axis not in (0, token_axis)]
    return Cached(
        kept.place, path, served.count(path), elements.slope, elements.start, element_size(tensor.dtype), tensor.dtype,
        others[0] if others else 1, storing, _window(served, kept, elements),
    )  # fmt: skip


def _window(served: Served, kept: Kept, elements: Line) -> int | None:
    """The window of a cache: stated, or the tokens at which a prefill, or a step behind a long one, stops keeping."""
    if not elements.slope:
        return None
    if kept.window:
        return kept.window
    far = max((run for run in served.beyond if run.past), key=lambda run: run.past, default=None)
    if elements.cap is None and far is not None:
        cap, rest = divmod(prod(_shape(far, kept.place)), elements.slope)
        return cap if not rest and cap < far.past else None
    return None if elements.cap is None else elements.cap + elements.start // elements.slope


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


Figures = Mapping[int, Mapping[str, int]]
"""Figures by run and layer."""


def _work(served: Served, path: str, macs: Figures, moved: Figures, window: int | None, in_front: int) -> Work:
    of, what = path or "the model", "the MACs of a prefill in"

    def products(run: CachedRun) -> int:
        return macs[id(run)].get(path, 0)

    short = [(run.tokens, products(run)) for run in served.prefills if run.batch == 1]
    pairs, a_token, start = square(short, f"{what} {of}")
    once = (0, 0, start)
    if served.chunked:
        rest = [(r.tokens // served.chunk, products(r) - pairs * r.tokens**2 - a_token * r.tokens)
                for r in served.chunked]  # fmt: skip
        once = square(rest, f"{what} whole chunks in {of}")
    decodes = [run for run in served.alone if run.past]
    step = line([(run.past + 1, products(run)) for run in decodes], f"the MACs of a decode step in {of}")
    least = _in_latent(served, path, step.start, step.slope)
    seen = window or (None if step.cap is None else step.cap + in_front)
    return Work(path, pairs, a_token, once, step, seen, *least, _moves(served, path, moved), window, in_front)


def _moves(served: Served, path: str, moved: Figures) -> Moves | None:
    """The law of the bytes that the ops of a step move in a layer."""

    def points(runs: Iterable[CachedRun]) -> list[Point]:
        return [(run.past + 1, moved[id(run)].get(path, 0)) for run in runs if run.past]

    two = [run for run in served.decodes if run.batch == 2]
    return moves(points(run for run in served.decodes if run.batch == 1), points(served.beyond), points(two)[0])


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


def _macs(served: Served, run: CachedRun) -> Mapping[str, int]:
    """MACs by layer, all layers like it included; those of the head, which runs behind all layers, apart."""
    trace = run.trace
    rows = trace.tensors[trace.output_tensors[0]].shape[-1]
    products = [(call, macs) for call in trace.calls if (macs := macs_of(trace, call))]
    paths = [trace.path(call) for call, _ in products]
    last = max((place for place, path in enumerate(paths) if layer_of(path) != path), default=-1)
    found: dict[str, int] = defaultdict(int)
    for place, (call, macs) in enumerate(products):
        layer, count = served.layer_at(trace, call)
        is_head = place > last and any(trace.tensors[out].shape[-1:] == (rows,) for out in call.outputs)
        is_head &= any(trace.storages[trace.tensors[tensor].storage].role == "parameter" for tensor in call.tensors())
        found[HEAD if is_head else layer] += count * macs
    return found
