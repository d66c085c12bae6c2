"""Bytes of weights as an engine stores them: few bits for matrices, the scales that go with them, the rest as it is.

Matrices of linear layers, of experts and of the head are quantized; embeddings, norms, biases and kernels of small
convolutions keep the model's own type. An embedding that is the head too keeps it as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from archcalc.engine.serving import Weight
from archcalc.errors import WrongUse
from archcalc.text.visible import shortened
from archcalc.tracing import element_size

PLAIN = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Forms without scales, by the name of their type in torch."""
BITS = {"fp8": 8, "int8": 8, "int4": 4, "mxfp4": 4}
SCALE = 2
"""Bytes of a scale, and of a zero: fp16 or bf16."""
BLOCK_SCALE = 4
"""Bytes of the scale of a block of fp8: fp32, as DeepSeek-V3 stores them."""
MICRO = 32
"""Numbers that share a scale of one byte in MXFP4."""
FORMS = "bf16, fp16, fp32, fp8, fp8:128, int8, int8:128, int4:128 or mxfp4"


@dataclass(frozen=True)
class Form:
    """How matrices are stored: a plain type, or `bits` a number with a scale for each `group` (0: the default)."""

    typed: str
    bits: int
    group: int = 0

    @property
    def name(self) -> str:
        """The name without the group."""
        return self.typed.partition(":")[0]

    def matrix(self, outputs: int, inputs: int) -> int:
        """Bytes of one matrix, its scales and zeros included.

        int8 has a scale for each output; int4, and int8 with a group, a scale and a zero for each group of inputs; fp8
        one scale in all, or one for each block; mxfp4 a byte for each 32 inputs.

        >>> Form("int4:32", 4, 32).matrix(10, 64)  # 10·64/2 + 10·2·(2 + 2)
        400
        >>> Form("int8", 8).matrix(10, 64), Form("bf16", 16).matrix(10, 64)  # 640 + 10·2; 640·2
        (660, 1280)
        """
        numbers = ceil(outputs * inputs * self.bits / 8)
        if self.name in PLAIN:
            return numbers
        if self.name == "mxfp4":
            return numbers + outputs * ceil(inputs / MICRO)
        if self.name == "fp8":
            blocks = ceil(outputs / self.group) * ceil(inputs / self.group) if self.group else 1
            return numbers + BLOCK_SCALE * blocks
        if not self.group:
            return numbers + SCALE * outputs
        return numbers + 2 * SCALE * outputs * ceil(inputs / self.group)


def parse_form(text: str) -> Form:
    """'int4:128' as a form; WrongUse lists the forms.

    >>> parse_form("int4:128")
    Form(typed='int4:128', bits=4, group=128)
    """
    name, colon, group = text.strip().lower().partition(":")
    name = {dtype: short for short, dtype in PLAIN.items()}.get(name, name)
    wrong = WrongUse(f"'--weights {shortened(text)}' is no form of weights.", f"choose one of  {FORMS}")
    if name in PLAIN and not colon:
        return Form(name, 8 * element_size(PLAIN[name]))
    if name not in BITS or (colon and (not group.isdigit() or int(group[:9]) < 1 or name == "mxfp4")):
        raise wrong
    if name == "int4" and not colon:
        raise WrongUse("--weights int4 needs the size of its groups.", "write  --weights int4:128")
    return Form(f"{name}{colon}{group}", BITS[name], int(group[:9] or 0))


def plain_form(dtype: str) -> Form:
    """The form of a type of torch."""
    names = {long: short for short, long in PLAIN.items()}
    return Form(names.get(dtype, dtype), 8 * element_size(dtype))


@dataclass(frozen=True)
class Stored:
    """Bytes of weights: all of them, those of embeddings that a step looks single rows up in, and those of experts.

    `experts` are the bytes of the experts of all layers together, `every` how many of them a layer chooses among.
    """

    total: int
    tables: int
    experts: int
    every: int

    def read(self, tokens: int, chosen: int) -> int:
        """Bytes that a pass over some tokens reads: all but the tables, and of the experts those that tokens reach."""
        rest = self.total - self.tables - self.experts
        return rest + ceil(self.experts * share_reached(tokens, chosen, self.every))


def share_reached(tokens: int, chosen: int, experts: int) -> float:
    """The share of the experts that some evenly routed tokens reach: 1 - (1 - k/E)^T.

    >>> share_reached(1, 2, 8), share_reached(2, 2, 8)  # 1/4; 1 - (3/4)^2
    (0.25, 0.4375)
    """
    if not experts or not chosen:
        return 1.0
    return 1.0 - (1.0 - chosen / experts) ** tokens


def stored(weights: Iterable[Weight], form: Form | None, dtype: str) -> Stored:
    """The bytes of weights in a form, or as the configuration says for None; the rest in the model's own type.

    The rest is what is no matrix, and embeddings; by a configuration what it does not quantize.
    """
    width = element_size(dtype)
    total = tables = experts = every = 0
    for weight in weights:
        bytes_ = _bytes(weight, form)
        bytes_ = weight.elements * width if bytes_ is None else bytes_
        total += bytes_
        if weight.role == "embedding" and not weight.tied:
            tables += bytes_
        if weight.of_experts:
            experts += bytes_
            every = max(every, weight.of_experts)
    return Stored(total, tables, experts, every)


def _bytes(weight: Weight, form: Form | None) -> int | None:
    """The bytes of a weight that is quantized; None for one that is not."""
    if form is None:
        return weight.stored
    matrix = weight.role in ("linear", "head")
    return weight.matrices * form.matrix(weight.outputs, weight.inputs) if matrix else None
