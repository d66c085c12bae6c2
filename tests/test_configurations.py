"""What models of the hub's configurations ask of a run: experts and their rows, finite values, lent sizes, caches.

The modules have what models of transformers have, so that the library is not needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archcalc
from archcalc import Setup
from archcalc.engine.load.pretrained.library_defaults import defaults_lent
from tests.helpers import report
from tests.test_pretrained import ROWS, WIDTH, Config, Seeing

EXPERTS, INNER, TOKENS = 4, 6, 5
ONE = 2 * WIDTH * INNER
"""Multiply-adds of one token by one expert of two matrices."""


class Expert(nn.Module):
    """Two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, INNER, bias=False), nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x))


class Listed(nn.Module):
    """Experts in a list, each with all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(Expert() for _ in range(EXPERTS))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(-1)
        return sum((expert(x) * shares[..., i, None] for i, expert in enumerate(self.experts)), torch.zeros_like(x))


class Masked(Listed):
    """The mask of the chosen expert taken for its number, as in transformers' NLLB-MoE: 0 or 1 in each of 4 places."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.view(-1, WIDTH)
        chosen = functional.one_hot(self.gate(rows).argmax(-1), EXPERTS)
        mask = functional.one_hot(chosen, EXPERTS).permute(2, 1, 0)
        out = torch.zeros_like(rows)
        for number in mask.sum((-1, -2)).gt(0).nonzero():
            _, token = torch.where(mask[number[0]])
            out.index_add_(0, token, self.experts[int(number[0])](rows[token]))
        return out.view_as(x)


class Chosen(Listed):
    """Each token goes to its experts alone."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.view(-1, WIDTH)
        mask = functional.one_hot(self.gate(rows).topk(2, -1)[1], EXPERTS).permute(2, 1, 0)
        out = torch.zeros_like(rows)
        for number in mask.sum((-1, -2)).gt(0).nonzero():
            _, token = torch.where(mask[number[0]])
            out.index_add_(0, token, self.experts[int(number[0])](rows[token]))
        return out.view_as(x)


class Flat(nn.Module):
    """Matrices of all experts one below another, as in DBRX; all of them with all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.zeros(EXPERTS * INNER, WIDTH)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        up, down = self.up.view(EXPERTS, INNER, WIDTH), self.down.view(EXPERTS, INNER, WIDTH)
        return sum((functional.linear(x, up[i]) @ down[i] for i in range(EXPERTS)), torch.zeros_like(x))


class Holder(nn.Module):
    """A module whose experts are a module of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = Flat()

    def forward(self, x: Tensor) -> Tensor:
        return self.experts(x)


class Layers(nn.Module):
    """A text through two layers of experts."""

    main_input_name = "input_ids"

    def __init__(self, kind: Callable[[], nn.Module], chosen: int) -> None:
        super().__init__()
        self.config = Config(num_experts=EXPERTS, num_experts_per_tok=chosen)
        self.table = nn.Embedding(ROWS, WIDTH)
        self.layers = nn.ModuleList(kind() for _ in range(2))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.table(input_ids)
        for layer in self.layers:
            x = x + layer(x)
        return x


def of_experts(made: Any) -> list[str]:
    return [note for note in made.notes if "experts of a layer" in note]


@pytest.mark.parametrize("kind", [Listed, Holder])
@pytest.mark.parametrize(("chosen", "others"), [(1, 3), (3, 1), (4, 0)])
def test_a_loop_over_all_experts_with_all_tokens_is_said(kind: Any, chosen: int, others: int) -> None:
    """2 layers of 4 experts, 2·5 tokens, 2·8·6 multiply-adds each: those beyond the chosen are told."""
    made = report(Layers(kind, chosen), f"int64:2x{TOKENS}")
    gates = 2 * 2 * TOKENS * WIDTH * EXPERTS if kind is Listed else 0
    assert made.macs == gates + 2 * 2 * TOKENS * EXPERTS * ONE
    beyond = 2 * 2 * TOKENS * others * ONE
    assert of_experts(made) == (
        [
            f"all 4 experts of a layer run on every token, as the model's own code has it; its config sends a token "
            f"to {chosen}: {beyond:,} MACs are of the others"
        ]
        if others
        else []
    )


def test_the_work_of_a_training_step_is_told_once() -> None:
    made = report(Layers(Listed, 1), f"int64:1x{TOKENS}", train=True)
    assert f"{2 * TOKENS * 3 * ONE:,} MACs are of the others" in of_experts(made)[0]


def test_experts_that_get_no_more_than_the_chosen_tokens_have_no_note() -> None:
    made = report(Layers(Chosen, 2), f"int64:2x{TOKENS}")
    assert made.macs == 2 * 2 * TOKENS * (WIDTH * EXPERTS + 2 * ONE)
    assert not of_experts(made)
    assert any(note.startswith("balanced routing") for note in made.notes)


def test_experts_whose_rows_do_not_follow_the_router() -> None:
    """Of 4 places of a mask 3 hold 0 and one holds 1, whatever is chosen: 4 rows a token, in a real run as well."""
    model = Layers(Masked, 1)
    made = report(model, f"int64:2x{TOKENS}")
    (said,) = of_experts(made)
    assert said == (
        "the experts of a layer multiply 4 rows for each token (3 in 0, 1 in 1, none in others), as the model's own "
        f"code has it; its router sends a token to 1: {2 * 2 * TOKENS * 3 * ONE:,} MACs are beyond those of the chosen"
    )
    assert not any(note.startswith("balanced routing") for note in made.notes)
    rows: dict[str, int] = {}
    for path, member in model.named_modules():
        if isinstance(member, Expert):
            member.register_forward_hook(lambda _, args, out, path=path: rows.update({path: args[0].shape[0]}))
    model(torch.randint(0, ROWS, (2, TOKENS)))
    assert rows == {f"layers.{i}.experts.{n}": 2 * TOKENS * count for i in range(2) for n, count in ((0, 3), (1, 1))}


# ---- values that are taken to be finite ----


class Guarded(nn.Module):
    """Raises an error for NaN, clamps what overflowed, and goes another way where values are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if torch.isnan(x).any():
            raise ValueError("NaN")
        assert x.isfinite().all()
        if x.isinf().any(dim=-1).any() or not torch.isfinite(x.sum()):
            x = self.linear(x.clamp(-100, 100))
        return x


@pytest.mark.parametrize("sizes", [(3, WIDTH), (1000, 1000, WIDTH)])
def test_values_are_taken_to_be_finite(sizes: tuple[int, ...]) -> None:
    made = report(Guarded(), sizes)
    assert made.macs == made.trace.tensors[made.trace.input_tensors[0]].shape[-2] * (sizes[0] if sizes[2:] else 1) * 64
    assert "numbers taken to be finite decided what ran" in made.notes


def test_with_data_they_are_asked() -> None:
    model = Guarded()
    with torch.no_grad():
        model.linear.weight.fill_(torch.inf)
    with pytest.raises(archcalc.errors.ForwardFailed, match="NaN"):
        archcalc.trace(model, torch.zeros(3, WIDTH), setup=Setup(data=True))


def test_a_number_in_front_of_a_tensor() -> None:
    """`torch.add(0.5, x)` hands a number on as the first argument of an op for two tensors."""

    class Fronted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.add(0.5, torch.sub(1, torch.add(0.3, x > 0, alpha=0.5)), alpha=2)

    made = report(Fronted(), (3, WIDTH))
    assert made.output_shape == (3, WIDTH)


# ---- sizes of images, and what makes features ----


def lending(folder: Path, lent: str) -> Path:
    """A library of two models of which one is lent the other's image processor."""
    for name, text in (
        ("auto/image_processing_auto.py", f"MISSING_IMAGE_PROCESSOR_MAPPING_NAMES = dict({lent})"),
        ("finder/processing.py", "class Finder:\n    size = {'height': 48, 'width': 320}\n"
         "    def post_process_object_detection(self): ..."),
        ("sorter/processing.py", "class Sorter:\n    size = 384"),
    ):  # fmt: skip
        (folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / name).write_text(text)
    return folder / "__init__.py"


def test_a_processor_is_lent_to_models_whose_answer_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds objects gives its size; one that only prepares images for a classifier does not."""
    file = lending(tmp_path, "[('table', {'pil': 'Finder'}), ('resnet', {'pil': 'Sorter'}), ('odd', {'pil': 'None'})]")
    classes = {"Finder": "models.finder.processing", "Sorter": "models.sorter.processing"}
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__file__=str(file), _class_to_module=classes))
    defaults_lent.cache_clear()
    try:
        assert defaults_lent("table") == {"size": {"height": 48, "width": 320}}
        assert defaults_lent("resnet") == defaults_lent("odd") == defaults_lent("bert") == {}
    finally:
        defaults_lent.cache_clear()


class Around(nn.Module):
    """A model around another, whose function of features hands on all that it is given."""

    main_input_name = "input_ids"

    def __init__(self) -> None:
        super().__init__()
        self.model = Seeing()
        self.config = self.model.config

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.model.get_image_features(*args, **kwargs)

    def forward(self, input_ids: Tensor, pixel_values: Tensor | None = None) -> Tensor:
        return self.model(input_ids, pixel_values)


def test_features_come_from_the_function_that_names_what_it_takes() -> None:
    (tokens, _) = report(Around()).trace.inputs
    assert tokens.shape == (1, 128 + 16)


# ---- caches ----


class Step(nn.Module):
    """One layer of a decoder that looks at an encoder's states, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, seen: Tensor, past: Any) -> tuple[Tensor, Any]:
        new = self.linear(x)
        kept = new if past is None else torch.cat([past, new], 1)
        return x + (x @ kept.mT).softmax(-1) @ kept + seen.mean(1, keepdim=True), kept


class Encoded(SimpleNamespace):
    """What an encoder returns, in a form of its own."""


class Encoder(nn.Module):
    """A linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Any:
        return Encoded(states=self.linear(x), routed=None)


class Speaker(nn.Module):
    """An encoder and a decoder of 2 codebooks, whose rows lie behind one another.

    A cache is kept where it is asked for, by an argument that forward does not name.
    """

    main_input_name = "input_ids"

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(
            model_type="musicgen", is_encoder_decoder=True, use_cache=False, vocab_size=ROWS,
            decoder=Config(num_codebooks=2),
        )  # fmt: skip
        self.table, self.encoder = nn.Embedding(ROWS, WIDTH), Encoder()
        self.layers = nn.ModuleList(Step() for _ in range(4))

    def get_encoder(self) -> nn.Module:
        return self.encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        cache: Any = None,
        **given: Any,
    ) -> dict[str, Any]:
        if encoder_outputs is None:
            encoder_outputs = self.encoder(self.table(input_ids))
        assert encoder_outputs.routed is None  # a tuple has no such part
        assert decoder_input_ids is not None
        x = self.table(decoder_input_ids).unflatten(0, (-1, 2)).sum(1)  # N, T, C
        kept = []
        for layer, past in zip(self.layers, cache or [None] * len(self.layers), strict=True):
            x, new = layer(x, encoder_outputs.states, past)
            kept.append(new)
        assert all(isinstance(layer, Step) for layer in self.layers)  # also those that stand for one that runs
        return {"logits": x @ self.table.weight.T, "cache": kept if given.get("use_cache") else None}


def test_a_step_is_given_what_the_pass_before_it_left() -> None:
    """4 layers keep 8 numbers of 2 bytes a token; a step at 64 tokens: 8·8 and 2·64·8 a layer, and the head's 50·8."""
    made = archcalc.serve(Speaker(), wanted={"context": 64})
    assert made.kv_bytes_per_token == 4 * WIDTH * 2


# ---- hints, and the length that is asked for ----


class Tall(Layers):
    """A text with as many positions as its configuration states."""

    def __init__(self) -> None:
        super().__init__(Listed, 1)
        self.config.max_position_embeddings = 4
        self.places = nn.Embedding(4, WIDTH)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.table(input_ids) + self.places.weight


def test_a_text_that_is_longer_than_the_positions_is_told_how_many_there_are() -> None:
    with pytest.raises(archcalc.errors.ForwardFailed) as raised:
        archcalc.trace(Tall(), "int64:1x9")
    assert "seq_len=4  (its config has no more positions)" in raised.value.hint
    assert report(Tall(), "int64:1x4").output_shape == (1, 4, WIDTH)


class Narrow(Seeing):
    """Features of an image that are half as wide as the text, counted as transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.config.hidden_size = WIDTH
        self.tower = nn.Conv2d(3, WIDTH // 2, 2, stride=2)

    def forward(self, input_ids: Tensor, pixel_values: Tensor | None = None) -> Tensor:
        assert pixel_values is not None
        features = self.get_image_features(pixel_values)
        if features.shape[-1] != WIDTH:
            count = features.shape[1]
            raise ValueError(f"Image features and image tokens do not match, tokens: {count}, features: {count}")
        return super().forward(input_ids, pixel_values)


def test_features_of_another_width_are_told_from_too_few() -> None:
    with pytest.raises(archcalc.errors.ForwardFailed) as raised:
        archcalc.trace(Narrow())
    assert f"as wide as the text, {WIDTH}" in raised.value.hint


class Hears(nn.Module):
    """A text made from a sound."""

    main_input_name = "input_values"

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(is_encoder_decoder=True, vocab_size=ROWS)
        self.table = nn.Embedding(ROWS, WIDTH)

    def forward(self, input_values: Tensor, decoder_input_ids: Tensor) -> Tensor:
        return self.table(decoder_input_ids) + input_values.mean()


def test_the_length_asked_for_is_that_of_the_text_made_from_a_sound() -> None:
    sound, text = report(Hears(), seq_len=7).trace.inputs
    assert (sound.shape, sound.origin, text.shape) == ((1, 16_000), "1 s by default", (1, 7))
