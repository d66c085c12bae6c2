"""The cases that were chosen by hand: networks of the catalogue, modules of torch.nn and small GPTs, in many modes."""

from __future__ import annotations

from archcalc.engine.setup import Training
from bench.memory_models import MODELS
from bench.memory_truth.case import Case

CASES = (
    *(Case(name, 4) for name in ("resnet-18", "resnet-34", "resnet-50", "se-resnet-18", "wrn-40-4", "resnet-20")),
    *(Case(name, 2) for name in ("resnet-101", "resnext-50-32x4d", "se-resnet-50", "resnet-50-v1", "wrn-50-2")),
    *(Case(name, 2) for name in ("alexnet", "alexnet-2012", "vgg-11", "googlenet", "inception-v2", "inception-v3")),
    *(Case(name, 2) for name in ("inception-v4", "inception-resnet-v2", "xception", "se-inception-v2")),
    *(Case(name, 4) for name in ("densenet-121", "densenet-cifar", "densenet-bc-cifar")),
    Case("densenet-121", 4, knobs=(("memory_efficient", True),)),
    Case("densenet-bc-cifar", 8, Training("momentum"), (("memory_efficient", True),)),
    *(Case(name, 4) for name in ("shufflenet-v1", "shufflenet-v2-0.5x", "shufflenet-v2-1.0x", "shufflenet-v2-2.0x")),
    *(Case(name, 2) for name in ("rnn", "gru", "lstm", "lstm-ptb-small")),
    *(Case(name, 2) for name in ("encoder-layer", "decoder-layer", "multi-head-attention", "transformer-base")),
    Case("bert-base", 1, Training("adamw")),
    Case("gpt2", 1, Training("adamw")),
    *(Case("resnet-18", 4, Training(name)) for name in ("sgd", "momentum", "adamw", "adafactor", "lion")),
    Case("resnet-18", 4, Training("sgd", "cross-entropy")),
    Case("resnet-18", 4, Training("sgd", "mse")),
    Case("resnet-18", 4, Training("momentum", frozen=("layer1", "layer2"))),
    Case("resnet-18", 4, Training("momentum", checkpoint=("layer[1-4].*",))),
    Case("encoder-layer", 2, Training("adam", checkpoint=("feed_forward",))),
    Case("resnet-20", 4, Training("momentum", accumulation=4)),
    *(Case(name, 0) for name in MODELS),
    *(Case(name, 0, attention="math") for name in ("nn.TransformerEncoder", "nn.Transformer", "GPT")),
    Case("GPT", 0, Training("adamw", "cross-entropy")),
    Case("GPT", 0, Training("adamw", checkpoint=("blocks.*",))),
    Case("GPT", 0, Training("adamw", frozen=("blocks.0", "blocks.1", "words"))),
    Case("GPT", 0, Training("adamw", accumulation=4)),
    *(
        Case(name, 0, amp="bf16")
        for name in ("MLP", "nn.TransformerEncoder", "GPT", "GPT, wide", "nn.LSTMCell", "nn.GRU", "nn.LSTM")
    ),
    Case("GPT", 0, Training("adamw", checkpoint=("blocks.*",)), amp="bf16"),
    Case("encoder-layer", 2, amp="bf16"),
    Case("resnet-18", 4, amp="bf16"),
)
