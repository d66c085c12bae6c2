"""The settings that figures depend on, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.engine.devices import DEVICES, device_named
from archcalc.engine.setup import Setup, Training, by_recipe


def step_words(setup: Setup, dtype: str) -> str:
    """The training step that a setup describes: 'float32, adamw, loss sum'.

    `dtype` is the model's type of floats, which holds where the setup chooses none.
    """
    setup = by_recipe(setup)
    training = setup.training or Training()
    attention = "" if setup.attention == "auto" else setup.attention
    run = {"dtype": setup.dtype or dtype, "device": setup.device, "attention": attention, "amp": setup.amp}
    return ", ".join(words({**run, **vars(training)}))


def device_warnings(names: Sequence[str]) -> list[str]:
    """For each device among some names, once, that its figures were not compared with a real one."""
    warnings = (DEVICES[name].warning for name in dict.fromkeys(names) if name in DEVICES)
    return [warning for warning in warnings if warning]


def _device(name: str, processor: str) -> str:
    """The name of a device, the processor, and whether figures were compared with a real one; '' for none."""
    about = ", ".join(part for part in (processor, device_named(name).standing) if part)
    return f"{name} ({about})" if name and about else name


def words(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name, each in a word or two; those that are not named, or empty, are left out."""
    several = {key: ", ".join(map(str, settings.get(key) or ())) for key in ("frozen", "checkpoint")}
    batches = settings.get("accumulation", 1)
    parts = (
        ("", settings["dtype"]),
        ("recipe ", settings.get("recipe")),
        ("", optimizer_words(settings)),
        ("loss ", settings.get("loss")),
        ("device ", _device(str(settings.get("device") or ""), str(settings.get("processor") or ""))),
        ("attention ", settings.get("attention")),
        ("autocast ", settings.get("amp")),
        ("frozen ", several["frozen"]),
        ("checkpointed ", several["checkpoint"]),
        ("", "activations and their gradients held" if settings.get("keep_gradients") else ""),
    )
    named = [f"{before}{value}" for before, value in parts if value]
    return [*named, *([f"gradients of {batches} batches added up"] if batches != 1 else [])]


def optimizer_words(settings: Mapping[str, Any]) -> str:
    """The optimizer among settings by name, with its weight decay if one was set; '' without an optimizer.

    >>> optimizer_words({"optimizer": "sgd", "weight_decay": 0.0005})
    'sgd with weight decay 0.0005'
    """
    name, decay = str(settings.get("optimizer") or ""), settings.get("weight_decay")
    if decay is None:
        return name
    return f"{name} with weight decay {decay:g}" if decay else f"{name} without weight decay"
