"""Texts: token numbers, masks, positions, boxes on a page."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.engine.load.pretrained.facts import CONFIG, OURS, TOKENS, Facts, Made
from archcalc.networks.spec import Input

AXES = ("batch", "seq_len")


def length_of_text(facts: Facts) -> int:
    """Tokens of a text: as asked for, or ours, or the most that the model has positions for."""
    longest = next(
        (
            value
            for name in ("max_position_embeddings", "max_target_positions", "n_positions", "max_seq_len")
            if isinstance(value := getattr(facts.text, name, None), int) and value > 0
        ),
        TOKENS,
    )
    return facts.size("seq_len", min(TOKENS, longest))


def origin_of_text(facts: Facts) -> str:
    """Where the length of a text comes from."""
    if facts.was_asked("batch", "seq_len", "images"):
        return "option"
    return OURS if length_of_text(facts) == TOKENS else f"{CONFIG}: no more positions"


def tokens(facts: Facts, name: str) -> Made:
    """Ordinary tokens."""
    shape = (facts.batch, length_of_text(facts))
    origin = origin_of_text(facts)
    return Made(Input(name, AXES, shape, "int64"), origin, constant(shape, facts.ordinary))


def zeros_beside_text(facts: Facts, name: str) -> Made:
    """One number for each token, 0."""
    shape = (facts.batch, length_of_text(facts))
    return Made(Input(name, AXES, shape, "int64"), origin_of_text(facts), constant(shape, 0))


def ones_beside_text(facts: Facts, name: str) -> Made:
    """A mask that hides nothing."""
    shape = (facts.batch, length_of_text(facts))
    return Made(Input(name, AXES, shape, "int64"), origin_of_text(facts), constant(shape, 1))


def boxes(facts: Facts, name: str) -> Made:
    """A box on the page for each token."""
    shape = (facts.batch, length_of_text(facts), 4)
    return Made(Input(name, (*AXES, "box"), shape, "int64"), origin_of_text(facts), constant(shape, 0))


def constant(shape: tuple[int, ...], value: float, dtype: torch.dtype = torch.int64) -> Tensor:
    """A tensor of one value, which takes the memory of one element."""
    return torch.full((), value, dtype=dtype).expand(shape)


MAKERS = {
    "input_ids": tokens,
    "decoder_input_ids": tokens,
    "bbox": boxes,
    "mm_token_type_ids": zeros_beside_text,
    "moe_mm_token_type_ids": zeros_beside_text,
}
