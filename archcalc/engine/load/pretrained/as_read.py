"""Transformers replaces some values of a config.json, and spells some classes otherwise: both are found here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

TIED = "tie_word_embeddings"


def read_otherwise(settings: Mapping[str, Any], config: Any, within: str = "") -> Iterator[str]:
    """A note for each switch or number of a config.json that the configuration made from it has another value for.

    T5Config makes `tie_word_embeddings` true, for instance, whatever the file says. `within` is the part's own name.
    """
    for key, stated in settings.items():
        read = vars(config).get(key)
        if isinstance(stated, Mapping) and hasattr(read, "to_dict"):
            yield from read_otherwise(stated, read, f"{within}{key}.")
        elif type(stated) in (bool, int, float) and type(read) in (bool, int, float) and read != stated:
            yield f"its config says {within}{key}={json.dumps(stated)}; transformers reads it as {json.dumps(read)}"
    if not within:
        yield from _tied_by_the_whole(settings, config)


def _tied_by_the_whole(settings: Mapping[str, Any], config: Any) -> Iterator[str]:
    """A note where the text's part ties no embeddings and the library goes by the whole, which says nothing."""
    part = settings.get("text_config")
    apart = isinstance(part, Mapping) and part.get(TIED) is False and TIED not in settings
    if apart and vars(config).get(TIED) is True:
        read = "transformers goes by the whole, which ties them unless it says so"
        yield f"its config says text_config.{TIED}=false; {read}: --set {TIED}=false for a head of its own"


def named_alike(model_type: str, name: str) -> str:
    """The class of a model type that ends as a class of the hub's own code does, so does the same task; '' if none.

    MPTForCausalLM is transformers' MptForCausalLM, and RWForCausalLM its FalconForCausalLM.
    """
    from transformers.models.auto import modeling_auto

    task = name.partition("For")[2]
    tables = [table for key, table in vars(modeling_auto).items() if key.endswith("_MAPPING_NAMES")]
    listed = [table[model_type] for table in tables if model_type in table]
    classes = [each for value in listed for each in ((value,) if isinstance(value, str) else value)]
    return next((each for each in classes if task and each.partition("For")[2] == task), "")
