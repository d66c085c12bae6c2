"""Series in time: past values with what goes with them, and the states of an agent."""

from __future__ import annotations

from collections.abc import Callable

import torch

from archcalc.engine.load.pretrained.facts import Facts, Made
from archcalc.engine.load.pretrained.text import constant
from archcalc.networks.spec import Input

Maker = Callable[[Facts, str], Made]
AGENT = 20
"""Steps of an agent, where nothing states them."""


def _past(facts: Facts) -> int:
    """Steps of the past: the context and the longest lag."""
    lags = getattr(facts.config, "lags_sequence", None) or [0]
    length = facts.number("context_length", "prediction_length", default=512)
    return facts.size("seq_len", length + max(lags))


def _made(facts: Facts, name: str, steps: int, *more: int, dtype: str = "float32") -> Made:
    shape = (facts.batch, steps, *more)
    axes = ("batch", "seq_len", *(["features"] if more else []))
    return Made(Input(name, axes, shape, dtype), "option" if facts.was_asked("batch", "seq_len") else "its config")


def _variables(facts: Facts) -> tuple[int, ...]:
    """The axis of several series, where there is one."""
    if hasattr(facts.config, "num_input_channels"):
        return (facts.config.num_input_channels,)
    several = getattr(facts.config, "input_size", 1)
    return (several,) if isinstance(several, int) and several > 1 else ()


def past(facts: Facts, name: str) -> Made:
    """Values of the past, and with the same sizes which of them were observed."""
    return _made(facts, name, _past(facts), *_variables(facts))


def future(facts: Facts, name: str) -> Made:
    """Values of the future."""
    return _made(facts, name, facts.number("prediction_length", default=1), *_variables(facts))


def past_features(facts: Facts, name: str) -> Made:
    """Features of the time of each step of the past."""
    return _made(facts, name, _past(facts), getattr(facts.config, "num_time_features", 0))


def future_features(facts: Facts, name: str) -> Made:
    """Features of the time of each step of the future."""
    return _made(
        facts, name, facts.number("prediction_length", default=1), getattr(facts.config, "num_time_features", 0)
    )


def nothing_padded(facts: Facts, name: str) -> Made:
    """Zeros: no step is padding."""
    of = _made(facts, name, _past(facts), dtype="int64")
    return Made(of.input, of.origin, constant(of.input.shape, 0))


def frequency(facts: Facts, name: str) -> Made:
    """The kind of frequency of each series."""
    shape = (facts.batch, 1)
    return Made(Input(name, ("batch", "one"), shape, "int64"), "its config", constant(shape, 0))


def _of_agent(width: str) -> Maker:
    def make(facts: Facts, name: str) -> Made:
        return _made(facts, name, facts.size("seq_len", AGENT), getattr(facts.config, width, 1) if width else 1)

    return make


def timesteps(facts: Facts, name: str) -> Made:
    """The number of each step."""
    of = _made(facts, name, facts.size("seq_len", AGENT), dtype="int64")
    return Made(of.input, of.origin, torch.arange(of.input.shape[1]).expand(of.input.shape))


MAKERS: dict[str, Maker] = {
    "past_values": past,
    "past_observed_mask": past,
    "past_time_features": past_features,
    "future_values": future,
    "future_time_features": future_features,
    "past_values_padding": nothing_padded,
    "freq": frequency,
    "states": _of_agent("state_dim"),
    "actions": _of_agent("act_dim"),
    "rewards": _of_agent(""),
    "returns_to_go": _of_agent(""),
    "timesteps": timesteps,
}
