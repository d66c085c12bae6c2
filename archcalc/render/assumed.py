"""The settings that figures depend on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.engine.setup import Setup, Training


def step_words(setup: Setup) -> str:
    """The training step that a setup describes: 'float32, adamw, loss sum'."""
    training = setup.training or Training()
    attention = "" if setup.attention == "auto" else setup.attention
    run = {"dtype": setup.floats, "device": setup.device, "attention": attention, "amp": setup.amp}
    return ", ".join(words({**run, **vars(training)}))


def words(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name, each in a word or two; those that are not named, or empty, are left out."""
    several = {key: ", ".join(map(str, settings.get(key) or ())) for key in ("frozen", "checkpoint")}
    batches = settings.get("accumulation", 1)
    parts = (
        ("", settings["dtype"]),
        ("", settings.get("optimizer")),
        ("loss ", settings.get("loss")),
        ("device ", settings.get("device")),
        ("attention ", settings.get("attention")),
        ("autocast ", settings.get("amp")),
        ("frozen ", several["frozen"]),
        ("checkpointed ", several["checkpoint"]),
    )
    named = [f"{before}{value}" for before, value in parts if value]
    return [*named, *([f"gradients of {batches} batches added up"] if batches != 1 else [])]
