"""How a model is built and run: the one table of settings.

A setting is a field of `Setup` or `Training` with a `Setting` beside its type. Command-line options and their help, the
keys of check files and what `init` proposes are made from these fields; a new setting is one field here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, TypedDict, get_type_hints

from archcalc.engine import choices
from archcalc.engine.lora import checked_lora
from archcalc.engine.recipes import RECIPES
from archcalc.engine.setting_forms import (
    as_typed,
    checked_data_limit,
    checked_decay,
    parse_image_size,
    parse_lengths,
    parse_settings,
    several,
)
from archcalc.errors import BadInput, WrongUse
from archcalc.text.units import number

BUILDING, INPUT, STEP, KERNELS = "building", "input", "training step", "kernels"
"""The groups of settings: which model; what it gets and how it runs; how it is trained; which device's kernels run."""


@dataclass(frozen=True)
class Setting:
    """How a setting is typed: `help` and `metavar` of its option, and the values that a check file may give it.

    `key` is its name on the command line (--key) and in check files, by default the field's; `short` a second option.
    `kinds` are the types that it is typed as, the first on the command line; `many` lets it be repeated. `least` is the
    smallest number. `read` makes the field's value of what was typed, and raises WrongUse or BadInput.
    """

    help: str
    group: str
    metavar: str = ""
    key: str = ""
    short: str = ""
    kinds: tuple[type, ...] = (str,)
    many: bool = False
    least: int | None = None
    read: Callable[[Any], Any] = as_typed


@dataclass(frozen=True)
class Training:
    """A training step: forward, loss, backward, and the optimizer's update.

    `frozen` and `checkpoint` are patterns of layer paths: parameters that are not trained, and layers that are
    recomputed in backward. `accumulation` batches run forward and backward before the optimizer's update. With
    `keep_gradients` what autograd keeps and the gradients of activations live until backward ends, as in LuaTorch.
    A `weight_decay` of None is the optimizer's own. `recipe` is a name of archcalc.engine.recipes, in place of the
    setup's `dtype` and `amp`. `rounds` steps are traced: two show the steady state; in one the optimizer's state is
    only made at the end, for studies that add it.
    """

    optimizer: Annotated[
        str, Setting("sgd, momentum, adam, adamw, adafactor or lion.", STEP, "NAME", read=choices.optimizer)
    ] = "adamw"
    loss: Annotated[str, Setting("sum, mean, cross-entropy or mse.", STEP, "NAME", read=choices.loss)] = "sum"
    frozen: Annotated[
        tuple[str, ...], Setting("Layers that are not trained; repeatable.", STEP, "GLOB", many=True, read=several)
    ] = ()
    checkpoint: Annotated[
        tuple[str, ...],
        Setting("Layers that are recomputed in backward; repeatable.", STEP, "GLOB", many=True, read=several),
    ] = ()
    accumulation: Annotated[
        int,
        Setting("Batches before the optimizer's turn.", STEP, "N", key="grad_accumulation", kinds=(int,), least=1),
    ] = 1
    keep_gradients: Annotated[
        bool,
        Setting("Hold activations and their gradients until backward ends, as LuaTorch does.", STEP, kinds=(bool,)),
    ] = False
    recipe: Annotated[
        str,
        Setting(
            f"Precision of the step: {', '.join(RECIPES)}; in place of --dtype and --amp.",
            STEP,
            "NAME",
            read=choices.recipe,
        ),
    ] = ""
    rounds: int = 2
    weight_decay: Annotated[
        float | None,
        Setting(
            "Decay of the weights, 0 for none; the optimizer's own: 0.01 for adamw, else 0.",
            STEP,
            "RATE",
            kinds=(float, int),
            read=checked_decay,
        ),
    ] = None


@dataclass(frozen=True)
class Setup:
    """How to build and run a model. The defaults are the network's own.

    `inputs` are specifications such as "2x3x224x224" or "tokens=int64:1x77"; `batch`, `size` (height, width) and
    `seq_len` replace one axis of the default inputs; `images` is how many a model gets beside its text. An empty
    `dtype` is float32, or what a configuration of transformers states. `lora` are low-rank adapters, as
    "r=16,target=q_proj,v_proj". `mode` is eval or train: in a training forward
    pass dropout acts, batch norm takes its own statistics, and auxiliary heads run. `inputs_from` names a function,
    package.module:EXPR or path/to/file.py:EXPR, that gives what forward receives; `offline` forbids asking the hub
    for a config.json. `lengths` are those of a packed batch whose own lengths are unknown. With `data` random values,
    drawn with `seed`, are computed beside the run, up to `data_limit`. With `training` two whole steps are traced, in
    train mode. `device` names the device whose kernels are assumed ("cpu", "cuda"; "" for none); `attention` the
    kernel for it: auto (the device's own choice), math, flash or efficient; `amp` the lower precision of autocast:
    bf16 or fp16.
    """

    knobs: Annotated[
        Mapping[str, Any],
        Setting(
            "Set a knob, or a key of an hf: configuration; repeatable.",
            BUILDING,
            "KNOB=VALUE",
            "set",
            kinds=(str, dict),
            many=True,
            read=parse_settings,
        ),
    ] = field(default_factory=dict)
    inputs: Annotated[
        tuple[str, ...],
        Setting(
            "An input of forward, batch included: 2x3x224x224 or int64:2x77; repeatable.",
            INPUT,
            "[NAME=][DTYPE:]SHAPE",
            "input",
            "-i",
            many=True,
            read=several,
        ),
    ] = ()
    inputs_from: Annotated[
        str,
        Setting(
            "A function that returns what forward receives, such as mynet.py:batch.", INPUT, "PKG:FUNCTION", "inputs"
        ),
    ] = ""
    offline: Annotated[bool, Setting("hf:ORG/NAME from the local cache, without the hub.", BUILDING, kinds=(bool,))] = (
        False
    )
    batch: Annotated[
        int | None, Setting("Batch size; default: that of the inputs.", INPUT, "N", kinds=(int,), least=1)
    ] = None
    size: Annotated[
        tuple[int, int] | None,
        Setting(
            "Height and width of the image in pixels; default: those of the inputs.",
            INPUT,
            "N|HxW",
            kinds=(str, int),
            read=parse_image_size,
        ),
    ] = None
    seq_len: Annotated[
        int | None, Setting("Length of the sequence; default: that of the inputs.", INPUT, "N", kinds=(int,), least=1)
    ] = None
    images: Annotated[
        int | None, Setting("Images beside a text, 0 for none; default: 1.", INPUT, "N", kinds=(int,), least=0)
    ] = None
    dtype: Annotated[
        str,
        Setting(
            "Type of weights and inputs, such as bfloat16; default: float32, or the configuration's.",
            BUILDING,
            "DTYPE",
            read=choices.dtype,
        ),
    ] = ""
    lora: Annotated[
        str,
        Setting(
            "Low-rank adapters as PEFT makes them; all other parameters are frozen.",
            BUILDING,
            "r=N,target=NAME,...",
            kinds=(str, dict),
            read=checked_lora,
        ),
    ] = ""
    mode: Annotated[
        str, Setting("train: dropout acts, auxiliary heads run.", INPUT, "eval|train", read=choices.mode)
    ] = "eval"
    lengths: Annotated[
        tuple[int, ...] | None,
        Setting("Lengths of a packed batch; default: all are full.", INPUT, "N,N,...", read=parse_lengths),
    ] = None
    data: Annotated[
        bool, Setting("Compute on random values beside the run, for models that ask for them.", INPUT, kinds=(bool,))
    ] = False
    seed: Annotated[int, Setting("Seed of those values.", INPUT, "N", kinds=(int,), least=0)] = 0
    data_limit: Annotated[
        str, Setting("Memory that those values may take.", INPUT, "SIZE", read=checked_data_limit)
    ] = "8GiB"
    training: Training | None = None
    device: Annotated[
        str,
        Setting(
            "Kernels and allocator to assume, cpu or cuda; an NVIDIA device of --fit or --on implies cuda.",
            KERNELS,
            "NAME",
        ),
    ] = ""
    attention: Annotated[
        str,
        Setting(
            "Kernel of scaled_dot_product_attention: auto, math, flash or efficient.",
            KERNELS,
            "NAME",
            read=choices.attention,
        ),
    ] = "auto"
    amp: Annotated[str, Setting("Autocast: forward in mixed precision.", KERNELS, "bf16|fp16", read=choices.amp)] = ""

    @property
    def floats(self) -> str:
        """The type of floats: float32 where none was chosen."""
        return self.dtype or "float32"


@dataclass(frozen=True)
class Row:
    """One setting of the table: its key, its field in `owner` (Setup or Training), how it is typed, and its default.

    `default` is the value as it is typed: an empty list for what is repeatable, '' for a text that is not given.
    """

    key: str
    name: str
    owner: type
    typed: Setting
    default: Any

    @property
    def option(self) -> str:
        """The long option."""
        return f"--{self.key.replace('_', '-')}"


@cache
def settings() -> Mapping[str, Row]:
    """Every setting by its key, in the order of the help: building, input, the training step, kernels."""
    rows = {row.key: row for owner in (Setup, Training) for row in _rows(owner)}
    order = (BUILDING, INPUT, STEP, KERNELS)
    return dict(sorted(rows.items(), key=lambda item: order.index(item[1].typed.group)))


def _rows(owner: type) -> Iterator[Row]:
    hints = get_type_hints(owner, include_extras=True)
    for attribute in fields(owner):
        for typed in getattr(hints[attribute.name], "__metadata__", ()):
            default = (
                [] if typed.many else "" if attribute.default is None and str in typed.kinds else attribute.default
            )
            yield Row(typed.key or attribute.name, attribute.name, owner, typed, default)


def keys_of(*groups: str) -> tuple[str, ...]:
    """The keys of the settings in some groups."""
    return tuple(key for key, row in settings().items() if row.typed.group in groups)


OF_BACKWARD = ("frozen", "checkpoint")
"""Settings of a training step that decide what backward computes."""
STATED_ELSEWHERE = ("knobs", "inputs", "inputs_from", "offline", "batch", "size", "seq_len", "images", "data_limit")
"""Settings that an answer states with its model and its inputs; all others are among its assumptions."""
WHERE_SET = ("lora", "lengths", "data", "seed", "weight_decay")
"""Settings that are among the assumptions of an answer only if they differ from their defaults, or draw with data."""


def assumed(setup: Setup) -> dict[str, Any]:
    """The settings that an answer states as its assumptions, by name; those of a training step if it has one."""
    owners = {Setup: setup, Training: setup.training}
    rows = [row for row in settings().values() if owners[row.owner] is not None and row.name not in STATED_ELSEWHERE]
    rows.sort(key=lambda row: row.owner is Training)
    stated = {row.name: getattr(owners[row.owner], row.name) for row in rows}
    plain = [row.name for row in rows if row.name in WHERE_SET and stated[row.name] == getattr(row.owner, row.name)]
    unused = [name for name in plain if not (name == "seed" and setup.data)]
    return {name: value for name, value in stated.items() if name not in unused}


def setup_of(typed: Mapping[str, Any], trains: bool) -> Setup:
    """The setup that typed settings mean, by their keys; with a training step if `trains`.

    >>> setup_of({"size": 288, "optimizer": "sgd", "frozen": "stem"}, trains=True).training.frozen
    ('stem',)
    """
    values: dict[type, dict[str, Any]] = {Setup: {}, Training: {}}
    for key, value in typed.items():
        row = settings()[key]
        values[row.owner][row.name] = row.typed.read(value)
    training = Training(**values[Training])
    choices.weight_decay(training.optimizer, training.weight_decay)
    return Setup(**values[Setup], training=training if trains else None)


def by_recipe(setup: Setup) -> Setup:
    """The setup with the `dtype` and `amp` that its recipe means; WrongUse if they are set beside a recipe.

    >>> by_recipe(Setup(training=Training(recipe="amp-bf16"))).amp
    'bf16'
    """
    name = setup.training.recipe if setup.training else ""
    if not name:
        return setup
    recipe = RECIPES[choices.recipe(name)]
    for option, value, default in (("--dtype", setup.dtype, Setup.dtype), ("--amp", setup.amp, Setup.amp)):
        if value != default:
            sentence = f"--recipe and {option} do not go together: --recipe {name} sets the precision of the step."
            raise WrongUse(sentence, f"leave {option} out, or leave --recipe out and give --dtype and --amp")
    return replace(setup, dtype=recipe.dtype, amp=recipe.amp)


def _typed(size: Any) -> str:
    """A size as it is typed; a whole number may be longer than Python writes."""
    return number(size) if type(size) is int else str(size)


def _size(size: Any) -> tuple[int, int] | None:
    """The height and width that a keyword gives."""
    return parse_image_size("x".join(map(_typed, size if isinstance(size, tuple | list) else [size])))


READERS: Mapping[str, Callable[[Any], Any]] = {
    "size": _size,
    "dtype": lambda dtype: str(dtype).removeprefix("torch."),
    "lora": checked_lora,
    "lengths": parse_lengths,
}
"""Keywords whose values have another form in a Setup."""


class Keywords(TypedDict, total=False):
    """The settings that people type in Python, beside `setup` for all others.

    `size` is one number or (height, width), `dtype` a name or a dtype of torch; `lora` are adapters, such as
    "r=16,target=q_proj". `train` asks for a training step: True
    or a Training. `data` computes on values drawn with `seed`; `lengths` are those of a packed batch.
    """

    setup: Setup | None
    knobs: Mapping[str, Any] | None
    batch: int | None
    size: int | tuple[int, int] | None
    seq_len: int | None
    images: int | None
    dtype: str | None
    lora: str | Mapping[str, Any] | None
    mode: str | None
    train: bool | Training
    device: str | None
    lengths: Sequence[int] | None
    data: bool | None
    seed: int | None


def setup_from(keywords: Keywords) -> Setup:
    """The setup that keywords mean: `setup` with what the others say in its place; WrongUse for an unknown one.

    >>> setup_from({"batch": 8, "size": 288, "train": Training("sgd")}).size
    (288, 288)
    """
    values: dict[str, Any] = {key: value for key, value in keywords.items() if value is not None}
    unknown = [key for key in keywords if key not in Keywords.__annotations__]
    if unknown:
        known = ", ".join(Keywords.__annotations__)
        raise WrongUse(f"there is no keyword '{unknown[0]}'.", f"keywords  {known}; all others:  setup=Setup(...)")
    setup: Setup = values.pop("setup", None) or Setup()
    train = values.pop("train", False)
    for key in ("batch", "seq_len"):
        if key in values and (type(values[key]) is not int or values[key] < 1):
            raise BadInput(f"{key}={values[key]!r} is not a size.", "sizes are whole numbers from 1")
    if "images" in values and (type(values["images"]) is not int or values["images"] < 0):
        raise BadInput(f"images={values['images']!r} is not a number of images.", "write  images=1, or 0 for none")
    values |= {key: read(values[key]) for key, read in READERS.items() if key in values}
    if not isinstance(train, bool | Training):
        raise WrongUse(f"train={train!r} is not a training step.", 'write  train=True  or  train=Training("adamw")')
    if train:
        values["training"] = train if isinstance(train, Training) else setup.training or Training()
    return replace(setup, **values)
