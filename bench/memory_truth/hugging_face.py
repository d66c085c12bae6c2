"""Architectures of transformers in small: two layers, a small vocabulary, narrower where that is still too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.load.build import load
from archcalc.engine.load.declared_inputs import inputs_of
from archcalc.engine.load.hugging_face import CLASSES
from archcalc.engine.load.pretrained.facts import setting_of
from archcalc.engine.meta.known_values import kept
from archcalc.engine.record.run import prepared
from archcalc.engine.setup import Setup
from archcalc.networks.spec import Input
from bench.memory_truth.limits import demand_small

LAYERS, WORDS, TEXT, NARROWER = 2, 1_000, 64, 4
WIDE = 60_000_000
"""Parameters above which a model is made narrower."""
DEPTHS = """num_hidden_layers num_layers n_layer n_layers num_encoder_layers num_decoder_layers encoder_layers
    decoder_layers n_enc_layer n_dec_layer depth num_hidden_groups num_block""".split()
VOCABULARIES = "vocab_size n_vocab src_vocab_size tgt_vocab_size".split()
WIDTHS = """hidden_size intermediate_size d_model d_ff dim hidden_dim ffn_dim encoder_ffn_dim decoder_ffn_dim n_embd
    d_inner moe_intermediate_size shared_expert_intermediate_size mlp_dim embed_dim embedding_size
    n_inner encoder_hidden_size inner_dim""".split()
EXPERTS = "num_experts num_local_experts n_routed_experts moe_num_experts".split()


def architectures() -> list[str]:
    """The types of configuration that transformers has a bare model for."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(name for name in MODEL_MAPPING_NAMES if name in CONFIG_MAPPING_NAMES)


def small(name: str, batch: int) -> tuple[nn.Module, tuple[()], dict[str, Tensor]]:
    """The bare model of a type of configuration in small, and what its forward receives by name."""
    from bench.models import torchvision_ops

    torchvision_ops()
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    transformers.logging.set_verbosity_error()
    config = transformers.CONFIG_MAPPING[name]()
    special: dict[int, int] = {}
    for part in _parts(config):
        _shrink(part, special)
    if hasattr(config, "use_cache"):
        config.use_cache = False
    kind = getattr(transformers, CLASSES[name]) if name in CLASSES else MODEL_MAPPING[type(config)]
    kind = kind[0] if isinstance(kind, tuple | list) else kind
    if _parameters(kind, config) > WIDE:
        for part in _parts(config):
            _narrow(part)
    demand_small(_parameters(kind, config))
    module = kind(config)
    if any("experts" in path for path, _ in module.named_modules()):
        with suppress(ValueError, AttributeError):  # archcalc asks for these kernels where a model has them
            module.set_experts_implementation("grouped_mm")
    given = {one.name: _values(one, config) for one in inputs_of(module, Setup(batch=batch)).inputs}
    return module, (), given | (_with_media(module, batch) if len(given) > 1 and "input_ids" in given else {})


def _with_media(module: nn.Module, batch: int) -> dict[str, Tensor]:
    """The inputs of a model whose text holds the places of an image or a sound, as archcalc lays them; none for others.

    The model checks that there are as many places as it makes features.
    """
    setup = Setup(batch=batch)
    _, inputs = prepared(load(module, setup), setup)
    text = next((kept(tensor) for name, tensor in inputs.named if name == "input_ids"), None)
    if text is None or bool((text == text[0, 0]).all()):
        return {}
    known = {name: (tensor, kept(tensor)) for name, tensor in inputs.named}
    return {name: torch.randn(t.shape) if values is None else values.clone() for name, (t, values) in known.items()}


def _parameters(kind: Any, config: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in kind(config).parameters())


def _parts(config: Any) -> Iterator[Any]:
    """A configuration and all configurations inside it."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "to_dict"):
            yield from _parts(value)


def _shrink(config: Any, special: dict[int, int]) -> None:
    """Fewer layers, words and experts; `special` has the new number of each token that means something."""
    for key in DEPTHS:
        if isinstance(getattr(config, key, None), int):
            _set(config, key, min(getattr(config, key), LAYERS))
    for key in VOCABULARIES:
        if isinstance(getattr(config, key, None), int):
            _set(config, key, min(getattr(config, key), WORDS))
    for key in EXPERTS:
        if isinstance(count := setting_of(config, key), int):
            _set(config, key, min(count, 8))
    if isinstance(getattr(config, "layer_types", None), list):  # first one of each kind
        _set(config, "layer_types", [*dict.fromkeys(config.layer_types), *config.layer_types][:LAYERS])
    for key, value in list(vars(config).items()):
        if key.endswith(("_token_id", "_token_index")) and isinstance(value, int) and value >= WORDS:
            _set(config, key, special.setdefault(value, WORDS - 1 - len(special)))


def _narrow(config: Any) -> None:
    for key in WIDTHS:
        width = getattr(config, key, None)
        if isinstance(width, int) and width % NARROWER == 0 and width > 256:
            _set(config, key, width // NARROWER)


def _set(config: Any, key: str, value: Any) -> None:
    try:
        setattr(config, key, value)
    except (AttributeError, NotImplementedError):  # a property that is computed from another one
        return


def _values(one: Input, config: Any) -> Tensor:
    """An input with values: token numbers within the vocabulary, random floats."""
    sizes = {"seq_len": TEXT} if one.dtype == "int64" else {}
    shape = [sizes.get(axis, size) for axis, size in zip(one.axes, one.shape, strict=True)]
    if one.dtype == "int64":
        known = [getattr(part, key) for part in _parts(config) for key in VOCABULARIES if _is(part, key)]
        return torch.randint(3, max(4, min([WORDS, *known])), shape)
    return torch.randn(shape)


def _is(config: Any, key: str) -> bool:
    return isinstance(getattr(config, key, None), int)
