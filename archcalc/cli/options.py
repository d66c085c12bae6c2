"""The options that commands share: those of the table of settings, and how to choose and print what is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, wraps
from typing import Annotated, Any, get_type_hints

import typer

from archcalc.cli.output import demand_ending, demand_format, demand_output, files_named, tell
from archcalc.engine.cache import caching
from archcalc.engine.choices import DECAY_IN_PLACE
from archcalc.engine.setup import BUILDING, INPUT, KERNELS, STEP, Row, Setup, Training, keys_of, settings, setup_of
from archcalc.errors import WrongUse
from archcalc.render.layers import ALL, Selection

TRAIN, COMPLETE, CHOOSING, PRINTING = "train", "complete", "choosing", "printing"
"""Groups of options that are not settings of a run."""
ORDER = (BUILDING, INPUT, TRAIN, STEP, KERNELS, COMPLETE, CHOOSING, PRINTING)
"""The groups as the help lists them."""
TITLES = {
    BUILDING: "Model",
    INPUT: "Input",
    TRAIN: "Training step",
    STEP: "Training step",
    KERNELS: "Device",
    COMPLETE: "Layers shown",
    CHOOSING: "Layers shown",
    PRINTING: "Output",
}


@dataclass(frozen=True)
class Options:
    """The options of a command; an option that the command does not offer has its default.

    `typed` are the settings of the run that differ from their defaults, by their keys.
    """

    typed: Mapping[str, Any] = field(default_factory=dict)
    train: Annotated[
        bool, TRAIN, typer.Option("--train", help="A training step: forward, loss, backward, optimizer.")
    ] = False
    no_cache: Annotated[
        bool, BUILDING, typer.Option("--no-cache", help="Trace again: neither use nor keep stored traces.")
    ] = False
    strict: Annotated[
        bool, COMPLETE, typer.Option("--strict", help="An op without a rule is an error (exit 3), not a note.")
    ] = False
    depth: Annotated[
        int | None,
        CHOOSING,
        typer.Option(
            "--depth", min=0, metavar="N", help="Show layers down to this depth; default: chosen for the model."
        ),
    ] = None
    layer: Annotated[str, CHOOSING, typer.Option("--layer", metavar="GLOB", help="Only layers whose path matches.")] = (
        ""
    )
    top: Annotated[int | None, CHOOSING, typer.Option("--top", min=1, metavar="N", help="Only the N largest rows.")] = (
        None
    )
    sort: Annotated[
        str, CHOOSING, typer.Option("--sort", metavar="KEY", help="Order by a key of the JSON rows, such as params.")
    ] = ""
    unfold: Annotated[
        bool, CHOOSING, typer.Option("--unfold", help="Each of equal blocks by itself, not one row for all.")
    ] = False
    json_: Annotated[bool, PRINTING, typer.Option("--json", help="The same as --format json.")] = False
    format_: Annotated[
        str,
        PRINTING,
        typer.Option("-f", "--format", metavar="FORMAT", help="table, plain, json, csv, md or latex; default: table."),
    ] = ""
    output: Annotated[
        str,
        PRINTING,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write to a file; its ending names the format, such as .json or .md."
        ),
    ] = ""
    quiet: Annotated[bool, PRINTING, typer.Option("-q", "--quiet", help="No notes on stderr.")] = False
    verbose: Annotated[
        bool, PRINTING, typer.Option("-v", "--verbose", help="All footnotes; on stderr how long each step took.")
    ] = False

    @property
    def setup(self) -> Setup:
        """How to build and run; WrongUse for options of a training step without --train."""
        step = [key for key in keys_of(STEP) if key in self.typed]
        if not self.train and step:
            raise WrongUse(f"{settings()[step[0]].option} is an option of a training step.", "add  --train")
        if self.train and "mode" in self.typed:
            raise WrongUse("--train and --mode do not go together: a training step runs in train mode.", "choose one")
        return self._setup(self.train)

    def setup_with_step(self, figures: Sequence[str]) -> Setup:
        """The same with the training step that is described, for commands in which some figures need one.

        WrongUse if an option of the step is given and none of the figures, by name, is of one.
        """
        step = [key for key in keys_of(STEP) if key in self.typed]
        if step:
            from archcalc.analyses.metrics import demand_figure_of_step

            demand_figure_of_step(figures, settings()[step[0]].option)
        return self._setup(trains=True)

    def _setup(self, trains: bool) -> Setup:
        setup = setup_of(self.typed, trains)
        if setup.device:
            from archcalc.engine.devices import device_named

            device_named(setup.device)  # a wrong one is told before any model is traced
        return setup

    def demand_decay_in_bytes(self) -> None:
        """WrongUse for --weight-decay of an optimizer that decays in place, where only live bytes are shown."""
        name = self.typed.get("optimizer", Training.optimizer)
        if "weight_decay" in self.typed and name in DECAY_IN_PLACE:
            sentence = f"--weight-decay changes no bytes that {name} holds: it decays weights in place."
            raise WrongUse(sentence, "leave it out; what it moves:  archcalc traffic MODEL --train")

    def selection(self, for_machine: bool) -> Selection:
        """Which layers to show: all of them in machine formats unless told otherwise, a folded table otherwise."""
        depth = ALL if for_machine and self.depth is None and self.top is None else self.depth
        self.demand_folding(for_machine)
        zeros = for_machine or self.depth is not None
        return Selection(depth, self.layer, self.top, self.sort, zeros, self.unfold, each=for_machine)

    def demand_folding(self, for_machine: bool) -> None:
        """WrongUse for --unfold where every block has a row of its own anyway."""
        also = "--layer" if self.layer else "--depth" if self.depth is not None else ""
        if self.unfold and (for_machine or also):
            shows = f"with {also} each block has" if also else "in this format each block has"
            raise WrongUse(f"--unfold changes nothing: {shows} its own row.", "leave out  --unfold")


def without(options: Options, *keys: str) -> Options:
    """The options as if some settings had not been typed."""
    return replace(options, typed={key: value for key, value in options.typed.items() if key not in keys})


def shared(
    *wanted: str, further: Sequence[str] = (), form: str = "", draws: bool = False, own_endings: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some groups, or single ones by their keys, as its keyword argument `options`.

    A wrong format, and a file that cannot be written, are told before the command does anything. `further` are formats
    of the command's own; `form` is the name of its only one; `draws` says that it has pictures; with `own_endings` the
    command itself looks at the ending of its file.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "options"]
        offered = [parameter for group, parameter in _offered() if not {group, parameter.name}.isdisjoint(wanted)]

        @wraps(command)
        def run(**given: Any) -> None:
            options = {parameter.name: given.pop(parameter.name) for parameter in offered}
            rows = [row for key, row in settings().items() if key in options]
            typed = {row.key: value for row in rows if (value := options.pop(row.key)) != row.default}
            made = Options(typed, **options)
            demand_format(made.format_, made.output, made.json_, further, form)
            demand_output(made.output, files_named((*given.values(), typed.get("inputs", ""))))
            if not own_endings:
                demand_ending(made.output, bool(made.format_) or made.json_, form, draws)
            if not any(parameter.name == "no_cache" for parameter in offered):
                command(**given, options=made)
                return
            with caching(not made.no_cache) as folder:
                command(**given, options=made)
            for note in () if folder is None or made.quiet else folder.notes:
                tell(f"note: {note}")

        run.__signature__ = inspect.Signature([*own, *offered])  # type: ignore[attr-defined]
        return run

    return decorate


@cache
def _offered() -> list[tuple[str, inspect.Parameter]]:
    """Every option with its group, in the order of the help."""
    offered = [(row.typed.group, _parameter(row.key, row.default, *_option(row))) for row in settings().values()]
    hints = get_type_hints(Options, include_extras=True)
    for attribute in fields(Options):
        if attribute.name != "typed":
            group, option = hints[attribute.name].__metadata__
            offered.append(
                (
                    group,
                    _parameter(attribute.name, attribute.default, hints[attribute.name].__origin__, option),
                )
            )
    for group, parameter in offered:
        parameter.annotation.__metadata__[0].rich_help_panel = TITLES[group]
    return sorted(offered, key=lambda pair: ORDER.index(pair[0]))


def _option(row: Row) -> tuple[Any, Any]:
    """The type and the option of a setting."""
    typed = row.typed
    names = [*([typed.short] if typed.short else []), row.option]
    option = typer.Option(*names, metavar=typed.metavar or None, help=typed.help, min=typed.least)
    kind: Any = list[typed.kinds[0]] if typed.many else typed.kinds[0]  # type: ignore[name-defined]
    return (kind | None if row.default is None else kind), option


def _parameter(name: str, default: Any, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


__all__ = [
    "BUILDING",
    "CHOOSING",
    "COMPLETE",
    "INPUT",
    "KERNELS",
    "PRINTING",
    "STEP",
    "TRAIN",
    "Options",
    "shared",
    "without",
]
