"""The settings that figures depend on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.engine.setup import Setup, Training


def step_words(setup: Setup) -> str:
    """The training step that a setup describes: 'float32, adamw, loss sum'."""
    training = setup.training or Training()
    attention = "" if setup.attention == "auto" else setup.attention
    said = {"dtype": setup.dtype, "device": setup.device, "attention": attention, "amp": setup.amp}
    return ", ".join(words({**said, **vars(training)}))


def words(said: Mapping[str, Any]) -> list[str]:
    """Settings by name, each in a word or two; those that are not named, or empty, are left out."""
    several = {key: ", ".join(map(str, said.get(key) or ())) for key in ("frozen", "checkpoint")}
    batches = said.get("accumulation", 1)
    parts = (
        ("", said["dtype"]),
        ("", said.get("optimizer")),
        ("loss ", said.get("loss")),
        ("device ", said.get("device")),
        ("attention ", said.get("attention")),
        ("autocast ", said.get("amp")),
        ("frozen ", several["frozen"]),
        ("checkpointed ", several["checkpoint"]),
    )
    named = [f"{before}{value}" for before, value in parts if value]
    return [*named, *([f"gradients of {batches} batches added up"] if batches != 1 else [])]
