"""What an answer was asked, as it is typed: the model, its settings, and the commands to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.report import Report
from archcalc.engine.load.references import BuiltIn, InLibrary, parse
from archcalc.engine.setup import OF_BACKWARD, STEP, keys_of, settings
from archcalc.errors import BadReference
from archcalc.render.around import GIVEN
from archcalc.render.document import Table
from archcalc.render.layers import Selection
from archcalc.text import units
from archcalc.text.spelling import setting
from archcalc.tracing import Input, Trace

BESIDE = ("lora", "lengths", "data", "seed")
"""Settings that stand among the assumptions of an answer, not with its model or its inputs."""
STEPS = {"memory": ("--train", keys_of(STEP)), "speed": ("--train", keys_of(STEP)),
         "flops": ("--backward", OF_BACKWARD)}  # fmt: skip
"""Commands that measure a training step: their option for it, and the settings of the step that they take."""


def next_commands(report: Report, *commands: str) -> list[str]:
    """The commands to try next, ready to paste, with the settings of this one; none for a module without a name."""
    model = report.trace.model
    if model.source == "module":
        return []
    alone = model.source == "builtin" and not report.trace.assumptions.get("lora")
    own = [command.partition(" ") for command in commands if alone or command != "show"]
    told = [(name, as_typed(report.trace, name), options) for name, _, options in own]
    return [f"next: {' · '.join(' '.join(filter(None, ('archcalc', *words))) for words in told)}"]


def deeper(command: str, selection: Selection, table: Table) -> list[str]:
    """The same command one level deeper, if the table folded layers and no depth was chosen."""
    folded = any(row.get("modules", 1) > 1 and row["path"][:1] != "[" for row in table.rows)
    return [f"{command} --depth 2"] if folded and selection.depth is None and not selection.layer else []


def as_typed(trace: Trace, command: str = "") -> str:
    """The model and its settings as they are typed behind a command, with the training step if that measures one."""
    model = trace.model
    parts = [shlex.quote(model.reference)]
    inside = _knobs_inside(model.reference)
    beside = {knob: value for knob, value in model.settings.items() if knob not in inside}
    parts += [f"--set {shlex.quote(f'{knob}={setting(value)}')}" for knob, value in beside.items()]
    dtype = str(trace.assumptions["dtype"])
    parts += [f"-i {shlex.quote(_input(given, dtype))}" for given in trace.inputs if given.origin in GIVEN]
    origins = sorted({given.origin for given in trace.inputs if given.origin.startswith("--inputs ")})
    parts += [f"--inputs {shlex.quote(origin.removeprefix('--inputs '))}" for origin in origins]
    fixed = model.source == "exported"  # its type and its mode cannot be typed
    option, keys = STEPS.get(command, ("", ())) if trace.steps else ("", ())
    step = [option, *_options(trace, keys)] if option else []
    by_recipe = "recipe" in keys and trace.assumptions.get("recipe")
    if dtype != trace.assumptions.get("config_dtype", "float32") and not fixed and not by_recipe:
        parts.append(f"--dtype {shlex.quote(dtype)}")
    in_mode = ["--mode train"] if trace.assumptions["mode"] == "train" and not fixed else []
    return " ".join([*parts, *_options(trace, BESIDE), *(step or in_mode)])


def _options(trace: Trace, keys: Sequence[str]) -> list[str]:
    """Those of some settings that are among the assumptions of an answer, and not the defaults."""
    options = []
    for row in (settings()[key] for key in keys):
        default = getattr(row.owner, row.name)
        value = trace.assumptions.get(row.name, default)
        if value is True and value != default:
            options.append(row.option)
        elif value != default:
            several = value if isinstance(value, tuple) else (value,)
            typed = map(str, several) if row.typed.many else [",".join(map(str, several))]
            options += [f"{row.option} {shlex.quote(each)}" for each in typed]
    return options


def _knobs_inside(reference: str) -> Mapping[str, Any]:
    """The knobs in the brackets of a reference; none where it is no reference, as a file of a trace may say."""
    try:
        parsed = parse(reference) if "[" in reference else None
    except BadReference:
        return {}
    return parsed.knobs if isinstance(parsed, BuiltIn | InLibrary) else {}


def _input(given: Input, default: str) -> str:
    """An input as it is typed."""
    dtype = "" if given.dtype == default else f"{given.dtype}:"
    return f"{given.name}={dtype}{units.shape(given.shape)}"
