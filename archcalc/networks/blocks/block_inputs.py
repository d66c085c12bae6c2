"""The inputs of blocks, which follow their knobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archcalc.networks.spec import Input

Inputs = Callable[[Mapping[str, Any]], tuple[Input, ...]]


def maps(size: int, knob: str = "in_channels") -> Inputs:
    """One feature map, N x C x H x W, with the channels of a knob."""

    def inputs(config: Mapping[str, Any]) -> tuple[Input, ...]:
        return (Input("x", ("batch", "channels", "height", "width"), (1, config[knob], size, size)),)

    return inputs


def positions(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """Sequences of features, N x n x d_model: one of seq_len positions, or the padded batch of `lengths`."""
    lengths = config.get("lengths") or (config["seq_len"],)
    return (Input("x", ("batch", "seq_len", "d_model"), (len(lengths), max(lengths), config["d_model"])),)


def positions_with_mask(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """The same, and a padding mask."""
    (x,) = positions(config)
    N, n, _ = x.shape
    return (x, Input("mask", ("batch", "one", "one", "seq_len"), (N, 1, 1, n), "bool"))


def masked_positions(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """One sequence of features, and a sequence mask."""
    n = config["seq_len"]
    return (*positions(config), Input("sequence_mask", ("one", "one", "seq_len", "seq_len"), (1, 1, n, n), "bool"))


def cross_inputs(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """The target so far, the encoder's output, and the padding mask of the source."""
    x, memory, _, mask = decoder_inputs(config)
    return (x, memory, mask)


def decoder_inputs(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """The target so far, the encoder's output, and both masks."""
    S, T, d = config["src_len"], config["tgt_len"], config["d_model"]
    return (
        Input("x", ("batch", "tgt_len", "d_model"), (1, T, d)),
        Input("memory", ("batch", "src_len", "d_model"), (1, S, d)),
        Input("sequence_mask", ("one", "one", "tgt_len", "tgt_len"), (1, 1, T, T), "bool"),
        Input("padding_mask", ("batch", "one", "one", "src_len"), (1, 1, 1, S), "bool"),
    )


def queries_keys_values(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """Q, K and V of all heads, and a mask."""
    h, n, m = config["heads"], config["n"], config["m"]
    axes = ("batch", "heads", "positions", "features")
    return (
        Input("Q", axes, (1, h, n, config["d_k"])),
        Input("K", axes, (1, h, m, config["d_k"])),
        Input("V", axes, (1, h, m, config["d_v"])),
        Input("mask", ("batch", "one", "queries", "keys"), (1, 1, n, m), "bool"),
    )


def step_of(states: int) -> Inputs:
    """One vector of a sequence and the state before it."""

    def inputs(config: Mapping[str, Any]) -> tuple[Input, ...]:
        H = config["hidden_size"]
        state = tuple(Input(name, ("batch", "hidden_size"), (1, H)) for name in ("h", "c")[:states])
        return (Input("x", ("batch", "input_size"), (1, config["input_size"])), *state)

    return inputs
