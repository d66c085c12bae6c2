"""The settings of an answer on serving, and the checks that refuse wrong ones."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archcalc.errors import BadInput, WrongUse
from archcalc.studies.serve.laws import Laws
from archcalc.text.visible import shortened

KV = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
"""Bytes of an element of the cache, scales left out."""
TOKENS = re.compile(r"(\d{1,15})([km]?)", re.IGNORECASE)
UNITS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True)
class Wanted:
    """What is asked of a model: all as typed, None or '' for what was not.

    `context` are the tokens of each sequence, those generated included; `weights` and `kv` forms of storage; `on` a
    device for times, `fit` a capacity or a device; `gpus` as many of them; `page` the tokens of a page of the cache;
    `generate` tokens behind a prompt of the context.
    """

    context: str | int | None = None
    weights: str = ""
    kv: str = ""
    on: str = ""
    fit: str | int = ""
    gpus: int = 1
    reserve: str | int | None = None
    page: int = 1
    generate: int | None = None


def tokens(typed: str | int | None) -> int:
    """'32k' as 32,768 tokens; 0 for None. BadInput shows the form."""
    found = TOKENS.fullmatch(str(typed).strip()) if typed is not None else None
    if typed is not None and (found is None or int(found[1]) < 1):
        raise BadInput(f"'--context {shortened(str(typed))}' is no number of tokens.", "write  --context 32k  or  8192")
    return int(found[1]) * UNITS[found[2].lower()] if found else 0


def demand(wanted: Wanted) -> None:
    """WrongUse for options that are no numbers or forms, and for those that change nothing."""
    if wanted.kv and wanted.kv not in KV:
        hint = f"choose one of  {', '.join(KV)}"
        raise WrongUse(f"'--kv {shortened(wanted.kv)}' is no type of a cache's elements.", hint)
    if wanted.gpus != 1 and not (wanted.fit or wanted.on):
        raise WrongUse("--gpus changes nothing without a device.", "add  --fit 80GiB  or  --on h100")
    if wanted.reserve is not None and not wanted.fit:
        raise WrongUse("--reserve is of the capacity of --fit.", "add  --fit 80GiB")
    if wanted.generate is not None and not (wanted.on or wanted.fit):
        raise WrongUse("--generate asks for a time, and no device was named.", "add  --on h100")
    for option, value in (("--gpus", wanted.gpus), ("--page", wanted.page), ("--generate", wanted.generate)):
        if value is not None and value < 1:
            raise WrongUse(f"{option} {value} is not a number from 1.", f"write  {option} 2")


def demand_growing(laws: Laws, wanted: Wanted) -> None:
    """WrongUse for what is said of a cache that grows, where there is none."""
    if any(not cached.is_state for cached in laws.cache):
        return
    for option, given in (("--kv", bool(wanted.kv)), ("--page", wanted.page != 1)):
        if given:
            raise WrongUse(
                f"{option} changes nothing: its cache is a state that does not grow with the tokens.",
                f"leave {option} out",
            )
