"""Runs of a model with its cache: prefills, and decode steps of one token behind them.

What forward must be like: an argument of it has one of the names of CACHES, and it returns a cache under one of them,
or behind its first result. `use_cache`, where forward has it, is set. What came back is given again under that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.alone import alone
from archcalc.engine.load.build import Loaded, load
from archcalc.engine.load.declared_inputs import inputs_of
from archcalc.engine.load.inputs import dtype_named, parameters_of, with_inputs
from archcalc.engine.load.nested import parts, tensors_with_places
from archcalc.engine.load.pretrained.facts import is_pretrained
from archcalc.engine.load.references import BuiltIn
from archcalc.engine.meta.empty_modules import copy_without_data
from archcalc.engine.record.assumed_values import OTHERWISE
from archcalc.engine.record.cache_in_outputs import CACHES, asks_for_cache, encoder_of, returned_cache
from archcalc.engine.record.idle_choices import CHOSEN
from archcalc.engine.record.repeated_layers import Repeated, one_of_each_kind
from archcalc.engine.record.run import prepared, run_loaded
from archcalc.engine.record.weight_table import latent_of, number_of, stored_by_config, weights_of, with_ties
from archcalc.engine.serving import CachedRun, Kept, Served
from archcalc.engine.setup import Setup
from archcalc.engine.torch_private import storage_key
from archcalc.errors import ArchcalcError, BadInput, ForwardFailed, NoCache
from archcalc.ops.registry import macs_of
from archcalc.tracing import Input, Trace

TEXTS = ("decoder_input_ids", "target", "input_ids")
WINDOWS = ("sliding_window", "attention_chunk_size")
CHUNKS = ("chunk_size",)
LENGTHS = ("seq_len", "src_len", "tgt_len")
"""Knobs of networks that are lengths of texts."""
SMALLEST, MOST = 2, 16
"""Tokens of the shortest run."""
LONG = (131_072, 16_384, 2_048, 256)
"""Tokens of the long run that windows are looked for in: the first that the model takes."""
ASSUMED_DTYPE = "bfloat16"
STEP = (
    "step    one token after {} others and their cache: a model that takes none so has no decode step of its own\n"
    "try     its pass alone  archcalc flops {typed}  or  archcalc memory {typed}"
)


@dataclass
class _Found:
    """What a run returned: the cache, its tensors by place, and what an encoder made."""

    cache: Any = None
    kept: tuple[tuple[str, Tensor, int | None], ...] = ()
    encoded: Any = None


def served(reference: Any, setup: Setup, values: Any = None) -> Served:
    """The runs that the laws of serving are made of. NoCache for a model without one, and the errors of `trace`."""
    with alone():
        loaded = load(reference, setup)
        notes = []
        if not setup.dtype and loaded.dtype == "float32":
            setup = replace(setup, dtype=ASSUMED_DTYPE)
            notes.append(f"no 16-bit type is stated: {ASSUMED_DTYPE} is assumed; --dtype for another")
        setup = loaded.typed(setup)
        runs = _Runs(reference, loaded, setup, values)
        return runs.served(notes)


class _Runs:
    """The runs of one loaded model."""

    def __init__(self, reference: Any, loaded: Loaded, setup: Setup, values: Any) -> None:
        self.reference, self.loaded, self.setup, self.values = reference, loaded, setup, values
        self.parameters = parameters_of(loaded.module.forward)
        self.argument = next((name for name in self.parameters if name in CACHES), "")
        if not self.argument:
            raise self._no_cache()
        self.weights, self.stored = weights_of(loaded.module), stored_by_config(loaded.module)
        self.counts = one_of_each_kind(loaded.module)
        self.given = self._given()

    def served(self, notes: list[str]) -> Served:
        module = self.loaded.module
        short = self._short()
        chunk = number_of(module, CHUNKS) or 1
        prefills, decodes = [], []
        for tokens in (short, 2 * short, 3 * short):
            run, found = self._prefill(1, tokens)
            prefills.append(run)
            decodes.append(self._decode(run, found))
        two, found = self._prefill(2, short)
        prefills.insert(1, two)
        decodes.append(self._decode(two, found))
        prefills.append(self._prefill(1, 4 * short)[0])
        if _macs(two) != 2 * _macs(prefills[0]):
            prefills.append(self._prefill(2, 2 * short)[0])
        texts = [given for given in prefills[0].trace.inputs if given.shape == (1, short)]
        notes += ["the source is as long as the context"] if len(texts) > 1 else []
        of_images = [note for note in prefills[0].trace.notes if note.endswith(OTHERWISE["image"])]
        notes += [f"{note}; the context is the text beside them" for note in of_images]
        chunked = [self._prefill(1, chunk * times)[0] for times in (1, 2, 3, 4)] if chunk > 1 else []
        return Served(
            weights=with_ties(self.weights, prefills[0].trace),
            prefills=tuple(prefills),
            decodes=tuple(decodes),
            counts=self.counts,
            dtype=self.setup.floats,
            chosen=number_of(module, CHOSEN),
            stored=self.stored,
            positions=self._positions(),
            notes=tuple(notes),
            chunk=chunk,
            chunked=tuple(chunked),
            latent=latent_of(module),
            beyond=self._beyond(prefills),
        )

    def _no_cache(self) -> NoCache:
        """The error of a model that takes no cache, or that takes one and returns none."""
        model = self.loaded.model
        return NoCache(model.name, with_inputs(model.reference, self.setup), list(self.parameters), self.argument)

    def _beyond(self, prefills: Sequence[CachedRun]) -> tuple[CachedRun, ...]:
        """Runs of the shortest texts and of a long one, where windows are not stated or shorter than the other runs.

        A model whose ops grow in number with the tokens gets no long text.
        """
        stated = [n for name in WINDOWS if (n := number_of(self.loaded.module, (name,)))]
        short = prefills[0].tokens
        if is_pretrained(self.loaded.module) and not any(4 * short > window - 1 for window in stated):
            return ()
        loops = len({len(run.trace.calls) for run in prefills if run.batch == 1}) > 1
        runs: list[CachedRun] = []
        for tokens in (1, 2, 3):
            runs += self._both(tokens)
        for tokens in () if loops or stated else LONG:
            if long := self._both(tokens):
                return (*runs, *self._both(tokens // 2), *long)
        return tuple(runs)

    def _both(self, tokens: int) -> list[CachedRun]:
        """A prefill and a step behind it; none for a model that does not take so many tokens."""
        try:
            run, found = self._prefill(1, tokens)
            return [run, self._decode(run, found)]
        except ArchcalcError:
            return []

    def _short(self) -> int:
        """Tokens of the shortest run: the longest, of four times as many, is within every window and one chunk."""
        module = self.loaded.module
        windows = [(n - 1) // 5 for name in WINDOWS if (n := number_of(module, (name,)))]
        chunks = [n // 4 for name in CHUNKS if (n := number_of(module, (name,)))]
        return max(SMALLEST, min([MOST, *windows, *chunks]))

    def _positions(self) -> int | None:
        """The longest text that the model has positions for; None if it does not say."""
        own = self.loaded.model.config.get("max_len") if isinstance(self.reference, BuiltIn) else None
        stated = number_of(self.loaded.module, ("max_position_embeddings", "n_positions", "max_target_positions"))
        return own if isinstance(own, int) else stated or None

    def _given(self) -> tuple[Input, ...]:
        """The inputs that a caller gave, the first of them the text; none for a model that declares its own."""
        if self.values is None and not (self.setup.inputs or self.setup.inputs_from) and self.loaded.declared.inputs:
            return ()
        copied = replace(self.loaded, module=copy_without_data(self.loaded.module))
        _, inputs = prepared(copied, replace(self.setup, batch=None, seq_len=None), self.values)
        if not inputs.described or len(inputs.described[0].shape) < 2:
            raise BadInput("serve needs a text as the first input, batch x tokens.", "write  -i int64:1x16")
        return inputs.described

    def _prefill(self, batch: int, tokens: int) -> tuple[CachedRun, _Found]:
        loaded, setup = self._sized(batch, tokens)
        trace, found = self._run(loaded, setup, None, {})
        return CachedRun(trace, batch, tokens, 0, _kept(trace, found)), found

    def _decode(self, before: CachedRun, past: _Found) -> CachedRun:
        """One token behind a prefill."""
        described = before.trace.inputs
        text = next((i for name in TEXTS for i in described if i.name == name), described[0])
        shape = (text.shape[0], 1, *text.shape[2:])  # a batch of several codebooks has a row for each
        values = {text.name: torch.ones(shape, dtype=dtype_named(text.dtype))}
        values |= self._beside(described, text, before.tokens)
        given = {self.argument: past.cache}
        if past.encoded is not None and "encoder_outputs" in self.parameters:
            given["encoder_outputs"] = past.encoded
        setup = replace(self.setup, inputs=(), inputs_from="", batch=None, seq_len=None, images=None)
        try:
            trace, found = self._run(self.loaded, setup, values, given)
        except ForwardFailed as error:
            error.hint += f"\n{STEP.format(before.tokens, typed=with_inputs(self.loaded.model.reference, self.setup))}"
            raise
        return CachedRun(trace, before.batch, 1, before.tokens, _kept(trace, found))

    def _beside(self, described: tuple[Input, ...], text: Input, tokens: int) -> dict[str, Tensor]:
        """Inputs that a decode step needs beside its token: those that forward has no default for.

        A mask of tokens x tokens is of one row over all tokens then; others stay as they are.
        """
        needed = {}
        for given in described:
            parameter = self.parameters.get(given.name)
            if given is text or parameter is None or parameter.default is not parameter.empty:
                continue
            square = given.shape[-2:] == (tokens, tokens)
            shape = (*given.shape[:-2], 1, tokens + 1) if square else given.shape
            needed[given.name] = torch.empty(shape, dtype=dtype_named(given.dtype), device="meta")
        return needed

    def _sized(self, batch: int, tokens: int) -> tuple[Loaded, Setup]:
        """The model and the setup for a batch of texts of some tokens."""
        setup = self.setup
        if self.given:
            first = self.given[0].shape
            sizes = {first[0]: batch, first[1]: tokens}
            specs = []
            for given in self.given:
                text = given is self.given[0]
                shape = (batch, tokens, *first[2:]) if text else tuple(sizes.get(size, size) for size in given.shape)
                specs.append(f"{given.name}={given.dtype}:{'x'.join(map(str, shape))}")
            return self.loaded, replace(setup, inputs=tuple(specs), inputs_from="", batch=None, seq_len=None)
        setup = replace(setup, batch=batch, seq_len=tokens)
        if isinstance(self.reference, BuiltIn):
            lengths = {name: tokens for name in LENGTHS if name in self.loaded.model.config}
            setup = replace(setup, seq_len=None)
            sized = load(self.reference, replace(setup, knobs={**setup.knobs, **lengths}))
            return replace(self.loaded, declared=sized.declared), setup
        return replace(self.loaded, declared=inputs_of(self.loaded.module, setup)), setup

    def _run(self, loaded: Loaded, setup: Setup, values: Any, more: Mapping[str, Any]) -> tuple[Trace, _Found]:
        module = _copy(loaded.module)
        found = _Found()
        more = {**asks_for_cache(self.loaded.module, self.parameters), **more}
        module.register_forward_pre_hook(lambda _, args, kwargs: (args, {**kwargs, **more}), with_kwargs=True)
        module.register_forward_hook(lambda _, args, out: self._take(out, found))
        if (encoder := encoder_of(module)) is not None:
            encoder.register_forward_hook(lambda _, args, out: setattr(found, "encoded", out))
        trace = run_loaded(replace(loaded, module=module), setup, values)
        return trace, found

    def _take(self, out: Any, found: _Found) -> Any:
        """Note the cache of what forward returned; the answer are the logits and the tensors of the cache."""
        named = parts(out) if not isinstance(out, list | tuple) or hasattr(out, "_fields") else {}
        found.cache = returned_cache(out, self.parameters)
        if found.cache is None:
            raise self._no_cache()
        if found.encoded is None and (states := named.get("encoder_last_hidden_state")) is not None:
            found.encoded = (states,)
        found.kept = tuple(_tensors(found.cache))
        logits = named.get("logits", next(iter(named.values()), None)) if named else out[0]
        return (logits, *(tensor for _, tensor, _ in found.kept))


def _macs(run: CachedRun) -> int:
    return sum(macs_of(run.trace, call) or 0 for call in run.trace.calls)


def _copy(module: nn.Module) -> nn.Module:
    """A copy to register hooks on, in which the layers that stand for others listen."""
    copy = copy_without_data(module)
    for member in copy.modules():
        if isinstance(member, Repeated):
            member.listen()
    return copy


def _tensors(cache: Any) -> Iterator[tuple[str, Tensor, int | None]]:
    """The tensors of a cache with their places and windows: each place once, numbers of one element apart."""
    seen = set()
    for place, tensor in tensors_with_places("", cache):
        where = (storage_key(tensor), tensor.storage_offset(), tuple(tensor.shape))
        if tensor.dim() > 1 and where not in seen:
            seen.add(where)
            yield place, tensor, _window(cache, place)


def _window(cache: Any, place: str) -> int | None:
    value, window = cache, None
    for name in place.split("."):
        own = getattr(value, "sliding_window", None)
        window = own if type(own) is int else window
        inner = {str(key): item for key, item in parts(value).items()}
        value = inner.get(name)
    return window


def _kept(trace: Trace, found: _Found) -> tuple[Kept, ...]:
    """The tensors of the cache by their ids in the trace: its outputs behind the logits."""
    ids = trace.output_tensors[-len(found.kept) :] if found.kept else ()
    return tuple(Kept(place, tensor, window) for (place, _, window), tensor in zip(found.kept, ids, strict=True))
