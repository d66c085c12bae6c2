"""Low-rank adapters as they are typed: r=16,target=q_proj,v_proj. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archcalc.errors import WrongUse

ALL_LINEAR = "all-linear"
FORM = "write  --lora r=16,target=q_proj,v_proj  (also alpha=32,dropout=0.05; target=all-linear, or patterns)"
OTHERS = "other settings of PEFT (DoRA, biases): name a function that makes PEFT's module:  path/to/file.py:make"
NAMES = {"lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "target"}
"""PEFT's names of the parts, by the shorter ones."""


MOST = 2**20
"""The largest rank: no layer has as many inputs and outputs."""


@dataclass(frozen=True)
class Lora:
    """Adapters of rank `r` beside the layers that `targets` name, their product scaled by alpha / r.

    A target is a name such as q_proj, the end of a layer's path, or a pattern of these; or all-linear alone.
    """

    targets: tuple[str, ...]
    r: int = 8
    alpha: float = 8
    dropout: float = 0.0

    def __str__(self) -> str:
        parts = [f"r={self.r}", f"alpha={self.alpha:g}", *([f"dropout={self.dropout:g}"] if self.dropout else [])]
        return ",".join([*parts, f"target={','.join(self.targets)}"])


def parse_lora(typed: str | Mapping[str, Any]) -> Lora:
    """The adapters that a text, or a table of a check file, means; WrongUse for what is none.

    Without r and alpha they are PEFT's: 8 and 8.

    >>> parse_lora("r=16,target=q_proj,v_proj,alpha=32")
    Lora(targets=('q_proj', 'v_proj'), r=16, alpha=32.0, dropout=0.0)
    """
    parts: dict[str, str] = {}
    for name, value in _pairs(typed):
        known = NAMES.get(name, name)
        if known not in ("r", "alpha", "dropout", "target"):
            raise WrongUse(f"--lora has no '{name}'.", f"its parts are  r, alpha, dropout, target\n{OTHERS}\n{FORM}")
        if known in parts:
            raise WrongUse(f"--lora gives {known} twice.", FORM)
        parts[known] = value
    targets = tuple(filter(None, (name.strip() for name in parts.get("target", "").split(","))))
    if not targets:
        raise WrongUse("--lora names no target: which layers get adapters.", FORM)
    if twice := [target for target in targets if targets.count(target) > 1]:
        raise WrongUse(f"--lora names the target {twice[0]} twice.", "name it once")
    if ALL_LINEAR in map(str.lower, targets):
        if len(targets) > 1:
            raise WrongUse("--lora target=all-linear is every linear layer: no other target adds to it.", FORM)
        targets = (ALL_LINEAR,)
    r = _number(parts, "r", 8)
    if not 1 <= r <= MOST or r != int(r):
        raise WrongUse(f"--lora r={parts['r']} is not a rank.", f"a rank is a whole number from 1 to {MOST:,}")
    dropout = _number(parts, "dropout", 0)
    if not 0 <= dropout < 1:
        raise WrongUse(f"--lora dropout={parts['dropout']} is not a probability.", "write one from 0 to below 1")
    return Lora(targets, int(r), _number(parts, "alpha", 8), dropout)


def checked_lora(typed: str | Mapping[str, Any]) -> str:
    """The adapters that were typed, as a text that says all of them; '' for none.

    >>> checked_lora({"r": 4, "target_modules": ["query", "value"]})
    'r=4,alpha=8,target=query,value'
    """
    return str(parse_lora(typed)) if typed else ""


def _pairs(typed: str | Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts by their names; what has no '=' goes on with the part before it."""
    if isinstance(typed, Mapping):
        for name, value in typed.items():
            yield name, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return
    name, value = "", ""
    for part in typed.split(","):
        before, equals, after = part.partition("=")
        if not equals and not name:
            raise WrongUse(f"'--lora {typed}' is not a setting of adapters.", FORM)
        if equals and name:
            yield name, value
        name, value = (before.strip(), after.strip()) if equals else (name, f"{value},{part.strip()}")
    yield name, value


def _number(parts: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(parts.get(name, default))
        if not abs(value) < float("inf"):
            raise ValueError
    except ValueError:
        raise WrongUse(f"--lora {name}={parts[name]} is not a number.", FORM) from None
    return value
