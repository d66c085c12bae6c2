"""Everything the command line answers, as functions: a model in, a typed result out.

A model is a reference ("densenet-121", "mynet:Net", "net.py:make(width=2)", "timm:NAME", "trace.json"), a module, which
is only read, or a class of modules, which is built. `inputs` are what forward receives: tensors (their values are not
used), shapes such as (2, 3, 224, 224), or texts such as "int64:2x77"; one alone, several in a list, or a dict by
argument name. All functions take the same keywords: `setup`, and those of its settings that people type (`Keywords` in
`archcalc.engine.setup`). They raise ArchcalcError, which has a hint and an exit code. A result prints as its answer,
and has `to_markdown`, `to_latex`, `to_json` and `to_dataframe`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from archcalc.analyses.metrics import demand_figure_of_step
from archcalc.engine.setup import Keywords, Setup, setup_from
from archcalc.engine.subject import Subject
from archcalc.errors import WrongUse
from archcalc.python_words import in_python
from archcalc.tracing import Trace

if TYPE_CHECKING:
    from torch import nn

    from archcalc.analyses.explain.lines import Explanation
    from archcalc.analyses.lint.lint import Linted
    from archcalc.analyses.report import Report
    from archcalc.studies.compare import SideBySide
    from archcalc.studies.full_report import FullReport
    from archcalc.studies.guard.check import CheckRun
    from archcalc.studies.guard.comparison import Comparison
    from archcalc.studies.guard.snapshot import Snapshot
    from archcalc.studies.largest_batch import Fitted
    from archcalc.studies.law.law import Laws
    from archcalc.studies.plan.plan import Plan
    from archcalc.studies.recompute.recompute import Recomputed
    from archcalc.studies.serve.serve import Serving
    from archcalc.studies.serve.wanted import Wanted
    from archcalc.studies.speed.speed import Speeds
    from archcalc.studies.sweep.sweep import Swept
    from archcalc.studies.verify.verify import Verification

F = TypeVar("F", bound=Callable[..., Any])


def with_keywords(function: F) -> F:
    """Show the keywords one by one in the signature, where help and completion look for them; errors name them."""
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if name == "train" else None, annotation=kind
        )
        for name, kind in ((name, ref.__forward_arg__) for name, ref in Keywords.__annotations__.items())
    ]

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with in_python():
            return function(*args, **kwargs)

    run.__signature__ = signature.replace(parameters=[*kept, *shown])  # type: ignore[attr-defined]
    return cast("F", run)


@with_keywords
def trace(model: str | nn.Module | type[nn.Module], inputs: Any = None, **how: Unpack[Keywords]) -> Trace:
    """Run a model once on tensors without data and record every op, tensor and storage."""
    from archcalc import engine

    return engine.trace(model, setup_from(how), inputs)


@with_keywords
def analyze(model: str | nn.Module | type[nn.Module] | Trace, inputs: Any = None, **how: Unpack[Keywords]) -> Report:
    """Every figure of a model: parameters, MACs, shapes and memory, by layer and in sum.

    >>> import archcalc
    >>> archcalc.analyze("densenet-121").params
    7978856
    """
    from archcalc.analyses import analyze

    if not isinstance(model, Trace):
        return analyze(trace(model, inputs, **how))
    setup_from(how)  # refuses wrong keywords
    if inputs is not None or any(value is not None and value is not False for value in how.values()):
        raise WrongUse("a trace is of one run: its inputs and settings cannot be changed.", "pass the model itself")
    return analyze(model)


@with_keywords
def params(model: str | nn.Module | type[nn.Module], **how: Unpack[Keywords]) -> Report:
    """Parameters and buffers from the definition alone: a report without inputs and without a run.

    WrongUse for keywords that say what a run gets or how it goes.
    """
    from archcalc.analyses import Params, analyze
    from archcalc.engine import definition

    setup = setup_from(how)
    for key in ("batch", "size", "seq_len", "images", "mode", "train", "device", "lengths", "data", "seed"):
        if how.get(key):
            raise WrongUse(f"params takes no {key}: parameters come from the definition alone.", "leave it out")
    return analyze(definition(model, setup), (Params(),))


@with_keywords
def law(
    model: str | nn.Module | type[nn.Module],
    over: str | Sequence[str],
    figures: str | Sequence[str] = (),
    inputs: Any = None,
    measure: Sequence[int | tuple[int, ...]] = (),
    **how: Unpack[Keywords],
) -> Laws:
    """Figures as exact formulas in knobs, or in batch, size and seq_len; `measure` traces members beside the laws.

    A member to measure is a value of the one knob, or a tuple of one value for each knob.
    `figures` are names such as "macs" or "peak_bytes"; a common choice without them.
    """
    from archcalc.studies.law.law import laws

    setup = setup_from(how)
    _demand_use_of_step(setup, _several(figures))
    return laws(Subject(model, inputs), setup, _several(over), _several(figures), measure)


@with_keywords
def sweep(
    model: str | nn.Module | type[nn.Module],
    values: str | Sequence[str],
    figures: str | Sequence[str] = ("params", "macs"),
    inputs: Any = None,
    where: str | Sequence[str] = (),
    sort: str = "",
    **how: Unpack[Keywords],
) -> Swept:
    """The figures of a grid of members: "depth=40:250:30" is a range, "growth_rate=12,24" are alternatives.

    `where` is a condition such as "macs < 1e9", or several that all have to hold; `sort` a knob or a figure.
    Members are measured one after another.
    """
    from archcalc.studies.sweep.sweep import Choice, Workers
    from archcalc.studies.sweep.sweep import sweep as study

    setup, names = setup_from(how), _several(figures)
    _demand_use_of_step(setup, names)
    return study(Subject(model, inputs), setup, _several(values), names, Choice(where, sort), workers=Workers(1))


@with_keywords
def largest_batch(
    model: str | nn.Module | type[nn.Module],
    memory: str | int,
    inputs: Any = None,
    reserve: str | int | None = None,
    **how: Unpack[Keywords],
) -> Fitted:
    """The largest batch whose peak is within `memory`: bytes, "24GiB", or a device such as "rtx4090".

    With `batch` the answer says whether that one fits. `reserve` is set aside, bytes, "1GiB" or "5%"; without it a
    device has its own and a size none. `changes` of the result are traced when they are read. BadInput for what is no
    memory, UnknownDevice for a name that no device or that several have.
    """
    from archcalc.studies.budget import parse_budget
    from archcalc.studies.largest_batch import largest_batch as study

    return study(Subject(model, inputs), setup_from(how), parse_budget(memory, reserve))


@with_keywords
def speed(
    model: str | nn.Module | type[nn.Module],
    inputs: Any = None,
    on: str | Sequence[str] = (),
    batches: Sequence[int] = (),
    **how: Unpack[Keywords],
) -> Speeds:
    """The least time of a pass, or with `train` of a step, on each device of `on`, and what bounds it, by layer.

    A device is a name such as "rtx4090" or "h100", a file "my.toml", figures "tflops=312,gbps=2039", or "cpu": this
    machine, measured. `devices` of the result have `bounds` with seconds; `by_batch` are those at each of `batches`.
    WrongUse without a device, UnknownDevice, NoPeak for numbers that a device has no peak for.
    """
    from archcalc.studies.speed.speed import speed as study

    return study(Subject(model, inputs), setup_from(how), _several(on), batches)


@with_keywords
def serve(
    model: str | nn.Module | type[nn.Module],
    inputs: Any = None,
    wanted: Wanted | Mapping[str, Any] | None = None,
    **how: Unpack[Keywords],
) -> Serving:
    """Serving a decoder: its cache, its weights as stored, prefill and decode, what fits, tokens a second at most.

    `wanted` says what is asked, by the names of the command's options: {"context": "32k", "fit": "h100", "gpus": 2}.
    The result has `kv_bytes_per_token`, `kv_bytes`, `fits`, `largest_context`, `largest_batch`, and `pace` for times.
    NoCache for a model without a cache, WrongUse for a name or a value that is unknown.
    """
    from archcalc.studies.serve.serve import serve as study
    from archcalc.studies.serve.wanted import Wanted

    setup = setup_from(how)
    if setup.training or setup.seq_len:
        raise WrongUse("serve takes no train and no seq_len.", 'write  serve(model, wanted={"context": "32k"})')
    known = [field.name for field in fields(Wanted)]
    unknown = [name for name in wanted if name not in known] if isinstance(wanted, Mapping) else []
    if unknown:
        raise WrongUse(f"serve is asked nothing called '{unknown[0]}'.", f"choose among  {', '.join(known)}")
    asked = Wanted(**wanted) if isinstance(wanted, Mapping) else wanted or Wanted()
    return study(Subject(model, inputs) if inputs is not None or not isinstance(model, str) else model, setup, asked)


@with_keywords
def recompute(
    model: str | nn.Module | type[nn.Module],
    memory: str | int,
    inputs: Any = None,
    reserve: str | int | None = None,
    **how: Unpack[Keywords],
) -> Recomputed:
    """The modules to compute again in backward so that a training step is within `memory` with the least extra work.

    With `batch` the answer is for that one, else for the largest that fits. `memory` and `reserve` are as in
    `largest_batch`. `patterns` of the result are for Training(checkpoint=...). WrongUse for patterns in `train`.
    """
    from archcalc.studies.budget import parse_budget
    from archcalc.studies.recompute.recompute import recompute as study

    return study(Subject(model, inputs), setup_from(how), parse_budget(memory, reserve))


@with_keywords
def plan(
    model: str | nn.Module | type[nn.Module],
    gpus: int,
    inputs: Any = None,
    on: str = "",
    layout: Mapping[str, Any] | None = None,
    global_batch: int | None = None,
    tp_plan: Mapping[str, str] | None = None,
    **how: Unpack[Keywords],
) -> Plan:
    """A training step on `gpus` devices: memory a rank, bytes sent, the least time, and the layouts that fit.

    `on` is a device such as "h100-sxm". `layout` fixes degrees, such as {"tp": 8, "pp": 4, "zero": 1, "sp": True}, or
    the machines, such as {"node": 8, "link": "nvlink4", "network": "ib-ndr", "reserve": "5%"}; what it leaves out is
    searched. `tp_plan` says how layers are divided, by patterns of their paths: {"layers.*.q_proj": "colwise"}.
    WrongUse for degrees that do not make the number of devices, UnknownDevice for a name that is no device's.
    """
    from archcalc.studies.plan.layout import asked_of
    from archcalc.studies.plan.plan import Place, Work, parse_styles
    from archcalc.studies.plan.plan import plan as study

    degrees = dict(layout or {})
    machines = {key: degrees.pop(key) for key in ("reserve", "link", "network", "node") if key in degrees}
    styles = parse_styles([f"{pattern}={style}" for pattern, style in (tp_plan or {}).items()])
    place = Place(on, **machines)
    return study(Subject(model, inputs), setup_from(how), asked_of(gpus, degrees), place, Work(global_batch, styles))


@with_keywords
def verify(model: str | nn.Module | type[nn.Module], inputs: Any = None, **how: Unpack[Keywords]) -> Verification:
    """Our figures beside those of papers, libraries and other counters, with the reason of each difference."""
    from archcalc.studies.verify.verify import verified

    return verified(Subject(model, inputs), setup_from(how))


def check(file: str | Path = "", only: str | Sequence[str] = ()) -> CheckRun:
    """The budgets of archcalc.toml or pyproject.toml against their models; `only` names some of the checks."""
    from archcalc.studies.guard import check as study

    path = study.found_file(str(file))
    return study.run(path, study.checks_of(path, _several(only)))


@with_keywords
def snapshot(model: str | nn.Module | type[nn.Module], inputs: Any = None, **how: Unpack[Keywords]) -> Snapshot:
    """Figures by layer to keep and to compare; with `train` also the peak of a training step."""
    from archcalc.studies.guard.sources import taken

    return taken(Subject(model, inputs), setup_from(how))


@with_keywords
def diff(
    old: str | nn.Module | type[nn.Module] | Snapshot,
    new: str | nn.Module | type[nn.Module] | Snapshot,
    inputs: Any = None,
    **how: Unpack[Keywords],
) -> Comparison:
    """The layers that changed between two networks. Each side is a model, a snapshot, or the path of a snapshot.

    A snapshot file must hold one model. With `train` the peaks of a training step are compared too.
    """
    from archcalc.studies.guard.comparison import compared_two

    return compared_two(old, new, setup_from(how), inputs)


@with_keywords
def explain(
    model: str | nn.Module | type[nn.Module], layer: str = "", inputs: Any = None, **how: Unpack[Keywords]
) -> Explanation:
    """The formulas of a layer's output, parameters and MACs: in letters, then with its numbers."""
    from archcalc.analyses.explain.lines import explained

    report = analyze(model, inputs, **how)
    return explained(report, report.layers[layer])


@with_keywords
def lint(
    model: str | nn.Module | type[nn.Module] | Trace,
    inputs: Any = None,
    only: str | Sequence[str] = (),
    threshold: Mapping[str, float] | None = None,
    ignore: str | Sequence[str] = (),
    **how: Unpack[Keywords],
) -> Linted:
    """Findings by the four guidelines for fast networks, and faults that a trace proves; with `train` those of a step.

    `only` are codes such as "G1", `threshold` the most that rules let pass, by code, `ignore` globs of paths, alone or
    behind a code ("C1:head*"). WrongUse for a code that no rule has, NoSuchLayer for a glob that matches no layer.
    """
    from archcalc.analyses.lint.lint import lint as findings
    from archcalc.analyses.lint.lint import strictness_of

    bounds = [f"{code}={number}" for code, number in (threshold or {}).items()]
    strictness = strictness_of(_several(only), bounds, _several(ignore))
    return findings(model if isinstance(model, Trace) else trace(model, inputs, **how), strictness)


@with_keywords
def compare(*models: str | nn.Module | type[nn.Module], inputs: Any = None, **how: Unpack[Keywords]) -> SideBySide:
    """Several networks side by side, on the same inputs if some are given."""
    from archcalc.studies.compare import side_by_side

    if not models:
        raise WrongUse("compare needs models.", 'write  archcalc.compare("resnet-50", "densenet-121")')
    return side_by_side([Subject(model, inputs) for model in models], setup_from(how))


@with_keywords
def report(
    *models: str | nn.Module | type[nn.Module], inputs: Any = None, on: str = "", **how: Unpack[Keywords]
) -> FullReport:
    """Every figure of a model, or of two with what changed, for a page: `report("resnet-50").save("report.html")`.

    The page is one HTML file with a treemap, a timeline of live bytes and the layer table; with `on`, a device such as
    "h100", also the least time by layer and the roofline. WrongUse for another number of models; saving needs jinja2.
    """
    from archcalc.studies.full_report import full_report

    subjects = [Subject(model, inputs) if inputs is not None else model for model in models]
    return full_report(subjects, setup_from(how), on=on)


def _demand_use_of_step(setup: Setup, figures: Sequence[str]) -> None:
    """WrongUse for a training step that none of the figures is of; the default figures of laws are in part."""
    if setup.training and figures:
        demand_figure_of_step(figures, "train")


def _several(names: str | Sequence[str]) -> list[str]:
    return list(names) if isinstance(names, (list, tuple)) else [cast("str", names)]
