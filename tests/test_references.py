"""Reference implementations give the same numbers: torchvision, timm and transformers with the same weights on CPU.

Equal counts can hide a wrong wire. Slow, and skipped where the library is not installed: `pytest -m slow`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.models import torchvision_ops
from tests.regenerate import all_networks

pytestmark = pytest.mark.slow
TORCHVISION: list[tuple[str, str, dict[str, Any], dict[str, Any], int]] = [
    # ours, theirs, our knobs, their arguments, image size
    ("resnet-18", "resnet18", {}, {}, 64),
    ("resnet-50", "resnet50", {}, {}, 64),
    ("resnext-50-32x4d", "resnext50_32x4d", {}, {}, 64),
    ("wrn-50-2", "wide_resnet50_2", {}, {}, 64),
    ("densenet-121", "densenet121", {}, {}, 64),
    ("shufflenet-v2-0.5x", "shufflenet_v2_x0_5", {"classifier_bias": True}, {}, 64),
    ("vgg-11", "vgg11", {}, {}, 224),
    ("vgg-16", "vgg16_bn", {"batch_norm": True}, {}, 224),
    ("alexnet", "alexnet", {}, {}, 224),
    ("inception-v3", "inception_v3", {}, {"aux_logits": False, "init_weights": False}, 299),
]
TIMM: list[tuple[str, str, int]] = [
    ("densenet-169", "densenet169", 96),
    ("xception", "legacy_xception", 128),
    ("inception-v4", "inception_v4", 160),
    ("inception-resnet-v2", "inception_resnet_v2", 160),
    ("se-resnet-50", "legacy_seresnet50", 97),
    ("se-resnext-50-32x4d", "legacy_seresnext50_32x4d", 97),
    ("senet-154", "legacy_senet154", 97),
]


@pytest.mark.parametrize(("ours", "theirs", "knobs", "arguments", "size"), TORCHVISION, ids=[p[0] for p in TORCHVISION])
def test_torchvision_computes_the_same(
    ours: str, theirs: str, knobs: dict[str, Any], arguments: dict[str, Any], size: int
) -> None:
    torchvision_ops()
    models = pytest.importorskip("torchvision.models")
    _same_image_network(ours, knobs, _quietly(lambda: getattr(models, theirs)(**arguments)), size)


@pytest.mark.parametrize(("ours", "theirs", "size"), TIMM, ids=[p[0] for p in TIMM])
def test_timm_computes_the_same(ours: str, theirs: str, size: int) -> None:
    torchvision_ops()
    timm = _quietly(lambda: pytest.importorskip("timm"))
    other = timm.create_model(theirs)
    for pool in other.modules():
        if isinstance(pool, nn.MaxPool2d) and pool.ceil_mode:  # Caffe's pooling, which rounds up in place of padding
            pool.ceil_mode, pool.padding = False, 1
    _same_image_network(ours, {}, other, size)


def test_transformers_bert_computes_the_same() -> None:
    transformers = _transformers()
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    other = transformers.BertModel(transformers.BertConfig(**sizes, layer_norm_eps=1e-5)).eval()
    mine = _ours("bert-base", {"layers": 2, "d_model": 32, "heads": 4, "d_ff": 64})
    tokens, segments = torch.randint(30_000, (2, 11)), torch.randint(2, (2, 11))
    seen = torch.arange(11) < torch.tensor([[11], [7]])  # the second text is shorter
    texts = {"input_ids": tokens, "token_type_ids": segments, "attention_mask": seen.long()}
    my_inputs = (tokens, segments, seen[:, None, None])
    _copy(_running(other, **texts), _running(mine, *my_inputs))
    with torch.no_grad():
        my_states, my_pooled = mine(*my_inputs)
        theirs = other(**texts)
    torch.testing.assert_close(my_states[seen], theirs.last_hidden_state[seen], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(my_pooled, theirs.pooler_output, rtol=1e-4, atol=1e-5)


def test_transformers_gpt2_computes_the_same() -> None:
    transformers = _transformers()
    torch.manual_seed(0)
    other = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4)).eval()
    mine = _ours("gpt2", {"layers": 2, "d_model": 32, "heads": 4})
    tokens, mask = torch.randint(50_000, (2, 11)), torch.ones(1, 1, 11, 11).tril().bool()
    _copy(_running(other, tokens), _running(mine, tokens, mask))
    with torch.no_grad():
        torch.testing.assert_close(mine(tokens, mask), other(tokens).logits, rtol=1e-4, atol=1e-5)


def _ours(name: str, knobs: dict[str, Any]) -> nn.Module:
    network = all_networks()[name]
    return network.build(**network.configured(knobs)).eval()


def _same_image_network(ours: str, knobs: dict[str, Any], other: nn.Module, size: int) -> None:
    mine, other = _ours(ours, knobs), other.eval()
    _randomise(other)
    x = torch.randn(2, 3, size, size)
    _copy(_running(other, x), _running(mine, x))
    with torch.no_grad():
        torch.testing.assert_close(mine(x), other(x), rtol=1e-3, atol=1e-4)


def _transformers() -> Any:
    """Transformers, or skip; where torchvision is installed it imports that too, on first use."""
    torchvision_ops()
    return _quietly(lambda: pytest.importorskip("transformers"))


def _quietly(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def _randomise(module: nn.Module) -> None:
    """Statistics that a wrong order would show in."""
    torch.manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_mean, -0.1, 0.1)
            nn.init.uniform_(one.running_var, 0.5, 1.5)
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.1, 0.1)


def _running(module: nn.Module, *args: Any, **kwargs: Any) -> list[nn.Module]:
    """The modules with weights of their own, in the order they run."""
    ran: list[nn.Module] = []
    with_weights = [one for one in module.modules() if any(p is not None for p in one._parameters.values())]
    hooks = [one.register_forward_hook(lambda it, *_: ran.append(it)) for one in with_weights]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    return ran


def _copy(source: list[nn.Module], target: list[nn.Module]) -> None:
    """Every module of `target` gets the weights of the first of `source` that is left and has its sizes."""
    copied: set[int] = set()
    for one in source:
        if id(one.weight) in copied:  # tied: GPT-2's head is its embedding
            continue
        copied.add(id(one.weight))
        for weights in _pieces(one):
            sizes = [value.squeeze().shape for value in weights.values()]
            other = next(it for it in target if [v.squeeze().shape for v in it.state_dict().values()] == sizes)
            target.remove(other)
            if isinstance(one, nn.Conv2d) and isinstance(other, nn.Conv2d) and one.kernel_size != other.kernel_size:
                _turn(one)
            shapes = {name: value.shape for name, value in other.state_dict().items()}
            other.load_state_dict({name: value.reshape(shapes[name]) for name, value in weights.items()})
    assert not target


def _pieces(one: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The weights of a module, as ours hold them: GPT-2's are transposed there, and three projections are one."""
    if type(one).__name__ != "Conv1D":
        yield one.state_dict()
        return
    in_features, out_features = one.weight.shape
    parts = 3 if out_features == 3 * in_features else 1
    for weight, bias in zip(one.weight.chunk(parts, 1), one.bias.chunk(parts), strict=True):
        yield {"weight": weight.T, "bias": bias}


def _turn(convolution: nn.Conv2d) -> None:
    """A 1x7 becomes a 7x1: Inception v4's released net orders some pairs otherwise than its paper's figures."""
    height, width = convolution.kernel_size
    assert 1 in (height, width)
    convolution.kernel_size = (width, height)
    convolution.padding = tuple(convolution.padding)[::-1]
    convolution.weight = nn.Parameter(convolution.weight.transpose(2, 3).contiguous())
