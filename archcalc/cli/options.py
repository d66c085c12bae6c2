"""The options that commands share, as one object: how to build, what to show, how to print."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any

import typer

from archcalc.engine import Setup, Training
from archcalc.errors import BadInput, WrongUse
from archcalc.render.layers import ALL, Selection
from archcalc.text.units import parse_shape


@dataclass(frozen=True)
class Options:
    """All shared options with their defaults; a command that does not offer one sees its default."""

    set_: Annotated[list[str], typer.Option("--set", metavar="KNOB=VALUE", help="Set a knob; repeatable.")]
    input_: Annotated[
        list[str],
        typer.Option("-i", "--input", metavar="[NAME=][DTYPE:]SHAPE", help="An input of forward; repeatable."),
    ]
    inputs: Annotated[
        str, typer.Option("--inputs", metavar="PKG:FUNCTION", help="A function that makes what forward receives.")
    ]
    offline: Annotated[bool, typer.Option("--offline", help="hf:ORG/NAME from the local cache, without the hub.")]
    batch: Annotated[int | None, typer.Option("--batch", min=1, metavar="N", help="Batch size.")]
    size: Annotated[str, typer.Option("--size", metavar="N|HxW", help="Height and width of the image.")]
    seq_len: Annotated[int | None, typer.Option("--seq-len", min=1, metavar="N", help="Length of the sequence.")]
    dtype: Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="Floating type of weights and inputs.")]
    mode: Annotated[str, typer.Option("--mode", metavar="eval|train", help="train: dropout acts, auxiliary heads run.")]
    train: Annotated[bool, typer.Option("--train", help="A training step: forward, loss, backward, optimizer.")]
    optimizer: Annotated[
        str, typer.Option("--optimizer", metavar="NAME", help="sgd, momentum, adam, adamw, adafactor or lion.")
    ]
    loss: Annotated[str, typer.Option("--loss", metavar="NAME", help="sum, mean, cross-entropy or mse.")]
    frozen: Annotated[
        list[str], typer.Option("--frozen", metavar="GLOB", help="Layers that are not trained; repeatable.")
    ]
    checkpoint: Annotated[
        list[str],
        typer.Option("--checkpoint", metavar="GLOB", help="Layers that are recomputed in backward; repeatable."),
    ]
    grad_accumulation: Annotated[
        int, typer.Option("--grad-accumulation", min=1, metavar="N", help="Batches before the optimizer's turn.")
    ]
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Whose kernels and allocator are assumed: cpu or cuda.")
    ]
    attention: Annotated[
        str, typer.Option("--attention", metavar="NAME", help="The kernel: auto, math, flash or efficient.")
    ]
    amp: Annotated[str, typer.Option("--amp", metavar="bf16|fp16", help="Autocast: forward in mixed precision.")]
    strict: Annotated[bool, typer.Option("--strict", help="An op without a rule is an error (exit 3), not a note.")]
    depth: Annotated[int | None, typer.Option("--depth", min=0, metavar="N", help="Fold below this depth.")]
    layer: Annotated[str, typer.Option("--layer", metavar="GLOB", help="Only layers whose path matches.")]
    top: Annotated[int | None, typer.Option("--top", min=1, metavar="N", help="Only the N largest rows.")]
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help="Order by a key of the JSON rows.")]
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")]
    format_: Annotated[
        str, typer.Option("-f", "--format", metavar="FORMAT", help="table, plain, json, csv, md or latex.")
    ]
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")]
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No notes on stderr.")]
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say on stderr how long each step took.")]

    @property
    def setup(self) -> Setup:
        """How to build and run."""
        return Setup(
            knobs=parse_settings(self.set_),
            inputs=tuple(self.input_),
            batch=self.batch,
            size=parse_image_size(self.size),
            seq_len=self.seq_len,
            dtype=self.dtype,
            mode=self.mode,
            inputs_from=self.inputs,
            offline=self.offline,
            training=self._training(),
            device=self.device,
            attention=self.attention,
            amp=self.amp,
        )

    def _training(self) -> Training | None:
        """The training step that was asked for; WrongUse for options of one without --train."""
        asked = [name for name in STEP if getattr(self, name) != DEFAULTS[name]]
        if not self.train:
            if asked:
                raise WrongUse(
                    f"--{asked[0].replace('_', '-')} is an option of a training step.",
                    "add  --train  (flops: --backward)",
                )
            return None
        if self.mode != DEFAULTS["mode"]:
            raise WrongUse("--train and --mode do not go together: a training step runs in train mode.", "choose one")
        return Training(self.optimizer, self.loss, tuple(self.frozen), tuple(self.checkpoint), self.grad_accumulation)

    def selection(self, for_machine: bool) -> Selection:
        """What to show: machines get every layer unless told otherwise, people a folded table."""
        depth = ALL if for_machine and self.depth is None and self.top is None else self.depth
        return Selection(depth, self.layer, self.top, self.sort, zeros=for_machine or self.depth is not None)


DEFAULTS: dict[str, Any] = {
    "set_": [], "input_": [], "inputs": "", "offline": False, "batch": None, "size": "", "seq_len": None,
    "dtype": "float32", "mode": "eval",
    "train": False, "optimizer": "adamw", "loss": "sum", "frozen": [], "checkpoint": [],
    "grad_accumulation": 1, "device": "", "attention": "auto", "amp": "",
    "strict": False, "depth": None, "layer": "", "top": None, "sort": "",
    "json_": False, "format_": "", "output": "", "quiet": False, "verbose": False,
}  # fmt: skip
BUILDING = ("set_", "input_", "inputs", "offline", "batch", "size", "seq_len", "dtype", "mode")
STEP = ("optimizer", "loss", "frozen", "checkpoint", "grad_accumulation")
TRAINING = ("train", *STEP)
FROZEN = ("frozen", "checkpoint")
KERNELS = ("device", "attention", "amp")
COMPLETE = ("strict",)
CHOOSING = ("depth", "layer", "top", "sort")
PRINTING = ("json_", "format_", "output", "quiet", "verbose")


def shared(*groups: tuple[str, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some groups; it receives them as its keyword argument `options`."""
    names = {name for group in groups for name in group}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        annotations = inspect.get_annotations(Options, eval_str=True)
        own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "options"]
        offered = [
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[f.name], annotation=annotations[f.name]
            )
            for f in fields(Options)
            if f.name in names
        ]

        @wraps(command)
        def run(**given: Any) -> None:
            taken = {parameter.name: given.pop(parameter.name) for parameter in offered}
            command(**given, options=Options(**{**DEFAULTS, **taken}))

        run.__signature__ = inspect.Signature([*own, *offered])  # type: ignore[attr-defined]
        return run

    return decorate


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """KNOB=VALUE pairs, the values read as numbers, lists, true or false, else as words.

    >>> parse_settings(["depth=169", "block_config=6,12,24,16", "shortcut=B", "memory_efficient=true"])
    {'depth': 169, 'block_config': (6, 12, 24, 16), 'shortcut': 'B', 'memory_efficient': True}
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        knob, equals, value = setting.partition("=")
        if not equals or not knob.strip():
            raise WrongUse(f"'--set {setting}' is not a setting.", "write  --set KNOB=VALUE")
        name = knob.strip().replace("-", "_")
        if name in parsed:
            raise WrongUse(f"--set {name} is given twice.", "give each knob once")
        parsed[name] = parse_value(value.strip())
    return parsed


def parse_value(text: str) -> Any:
    """A number, a list, true, false or none, else a word."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def parse_image_size(text: str) -> tuple[int, int] | None:
    """'288' or '224x320' as height and width; None for no size."""
    if not text:
        return None
    try:
        sizes = parse_shape(text)
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise BadInput(f"'--size {text}' is not a size.", "write  --size 288  or  --size 224x320")
    return sizes[0], sizes[-1]
