"""From a reference to a trace: parse, build without data, run once, record. Torch is imported here and no further.

reference -> load -> module -> inputs -> tracer -> Trace
"""

from __future__ import annotations

from contextlib import nullcontext
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcalc.engine.cache import kept, last_hit, why_not_kept
from archcalc.engine.load.references import BuiltIn, Code, Exported, StoredTrace, parse
from archcalc.engine.setup import Setup, Training, by_recipe
from archcalc.engine.subject import Subject
from archcalc.engine.watch import Watch, unwatched
from archcalc.errors import BadReference, WrongUse, unreadable

if TYPE_CHECKING:
    from torch import nn

    from archcalc.engine.serving import Served
    from archcalc.tracing import Counted, Trace

__all__ = [
    "BuiltIn",
    "Setup",
    "StoredTrace",
    "Subject",
    "Training",
    "definition",
    "demand_known",
    "last_hit",
    "other_counts",
    "parse",
    "read",
    "served",
    "trace",
    "why_not_kept",
]


def trace(
    model: str | nn.Module | type[nn.Module] | Subject,
    setup: Setup | None = None,
    inputs: Any = None,
    watch: Watch = unwatched,
) -> Trace:
    """Run a model once on tensors without data and return the record of it.

    `inputs`, where given, are what forward receives and replace those of the setup. `model` is a reference (a
    built-in name, package.module:EXPR, path/to/file.py:EXPR, a stored trace), a module, which stays as it is, or a
    class of modules, which is built. `watch` is called for each op that is computed on values, under --data.
    Raises the errors of archcalc.errors: wrong names and inputs (exit code 2), failing models (3).
    """
    if isinstance(model, Subject):
        inputs = model.inputs if inputs is None else inputs
        model = model.model
    setup = by_recipe(setup or Setup())
    reference = _checked(model, setup, given=inputs is not None)
    if isinstance(reference, StoredTrace):
        return read(reference.path)

    def made() -> Trace:
        from archcalc.engine.devices.processor import one_thread
        from archcalc.engine.record.run import run

        with nullcontext() if setup.data else one_thread():
            return run(reference, setup, inputs, watch)

    return kept("run", reference, model, setup, made) if isinstance(model, str) and inputs is None else made()


def served(model: str | nn.Module | type[nn.Module] | Subject, setup: Setup | None = None) -> Served:
    """Run a model with its cache a few times: prefills and decode steps, as the studies of serving need them.

    Raises NoCache for a model that keeps none, and the errors of `trace`.
    """
    inputs = model.inputs if isinstance(model, Subject) else None
    model = model.model if isinstance(model, Subject) else model
    setup = setup or Setup()
    reference = _checked(model, setup, given=inputs is not None)
    if isinstance(reference, StoredTrace):
        raise WrongUse(f"{model} is a stored trace of one run: serve needs the model itself.", "name the model")
    if isinstance(reference, Exported):
        raise WrongUse(f"{model} is an exported program, which takes no cache: serve needs the model.", "name it")
    from archcalc.engine.devices.processor import one_thread
    from archcalc.engine.record.cached_runs import served

    with nullcontext() if setup.data else one_thread():
        return served(reference, setup, inputs)


def definition(model: str | nn.Module | type[nn.Module], setup: Setup | None = None) -> Trace:
    """Build a model and return a trace of its modules and parameters alone: no input, no forward pass, no op calls.

    Raises the errors of `trace`, and CannotImport for lazy modules, which get their shapes from a run.
    """
    setup = setup or Setup()
    reference = _checked(model, setup, given=False)
    if isinstance(reference, StoredTrace):
        return read(reference.path)

    def made() -> Trace:
        from archcalc.engine.devices.processor import one_thread
        from archcalc.engine.record.definition import defined

        with nullcontext() if setup.data else one_thread():
            return defined(reference, setup)

    return kept("definition", reference, model, setup, made) if isinstance(model, str) else made()


def _checked(model: Any, setup: Setup, given: bool) -> Any:
    """Parse a model's reference, and raise the errors that need no torch."""
    if setup.training and "auto" in setup.training.checkpoint:
        raise WrongUse(
            "--checkpoint auto chooses what to compute again so that a training step fits: it belongs to memory --fit.",
            "type  archcalc memory MODEL --train --fit 24GiB --checkpoint auto",
        )
    reference = parse(model) if isinstance(model, str) else model
    if isinstance(reference, StoredTrace) and (setup != Setup() or given):
        raise WrongUse(
            f"{model} is a stored trace: its inputs, knobs and dtype cannot be changed.",
            "trace the model again with the new settings",
        )
    if not isinstance(model, str) and not hasattr(model, "forward"):
        demand_module(model)
    demand_known(model)  # a misspelt name need not wait for torch
    if not setup.data and (setup.seed, setup.data_limit) != (Setup.seed, Setup.data_limit):
        option = "--seed" if setup.seed != Setup.seed else "--data-limit"
        raise WrongUse(f"{option} is of the values of --data.", "add  --data")
    return reference


def demand_module(model: Any) -> None:
    """BadReference for an object that is neither a module nor a program of torch.export, with what to pass."""
    if type(model).__name__ == "ExportedProgram":
        return
    from archcalc.engine.load.given_models import why_none

    name = type(model).__name__
    reason, hint = why_none(model)
    raise BadReference(name, reason, hint)


def demand_known(*models: Any) -> None:
    """Raise what is wrong with references by their form, their name in the catalogue, or their file, without torch."""
    for model in models:
        reference = parse(model) if isinstance(model, str) else model
        if isinstance(reference, BuiltIn):
            from archcalc.networks import catalogue

            catalogue.resolve(reference.name)
        elif isinstance(reference, Code) and reference.is_file and not isfile(reference.where):
            raise BadReference(reference.text, f"there is no file {reference.where}")
        elif isinstance(reference, Exported):
            from archcalc.engine.load.exported.archive import demand_archive

            demand_archive(reference.path)


def other_counts(model: str | nn.Module | type[nn.Module] | Subject, setup: Setup) -> tuple[Counted, ...]:
    """MACs of a model by torch's FlopCounterMode and by fvcore. Raises the errors of `trace`."""
    from archcalc.engine.alone import alone
    from archcalc.engine.load.build import load
    from archcalc.engine.other_counters import counts

    values = model.inputs if isinstance(model, Subject) else None
    model = model.model if isinstance(model, Subject) else model
    reference = parse(model) if isinstance(model, str) else model
    if isinstance(reference, StoredTrace):
        raise WrongUse(f"{model} is a stored trace: other counters need the model itself.", "name the model")
    with alone():
        return counts(load(reference, setup), setup, values)


def read(path: str) -> Trace:
    """The trace stored in a file."""
    from archcalc.tracing import Trace

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadReference(path, f"the file cannot be read ({unreadable(error)})") from None
    return Trace.from_json(text, path)
