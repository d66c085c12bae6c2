"""The library: all that the command line answers, with typed results that print themselves."""

from __future__ import annotations

import doctest
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.analyses import Analysis, Backward, Flops, Memory, Params, Shapes, Traffic, analyze
from archcalc.analyses.bound import Bound
from archcalc.errors import BadInput, BadReference, NoSuchLayer, WrongUse
from archcalc.hardware import device
from archcalc.render.faces import PAGES
from archcalc.text import faces
from tests.helpers import ROOT, run, run_fresh

pytestmark = pytest.mark.usefixtures("shared_traces")

NET = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
FUNCTIONS = (
    "analyze trace law lint sweep largest_batch recompute plan speed verify snapshot diff explain compare report serve"
).split()


def test_the_page_shows_what_python_gives() -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "library.md"), module_relative=False)
    assert tried >= 20
    assert failed == 0


def test_the_names_of_the_package() -> None:
    names = {
        *FUNCTIONS,
        "check",
        "params",
        "Setup",
        "Training",
        "Report",
        "Layer",
        "Trace",
        "ArchcalcError",
        "__version__",
    }
    assert set(dir(archcalc)) == names == set(archcalc.__all__)
    assert all(getattr(archcalc, name) is not None for name in names)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        archcalc.nothing  # noqa: B018


def test_the_package_is_light() -> None:
    """Importing it imports neither torch nor any room but text."""
    code = (
        "import sys, archcalc; rooms = {m.split('.')[1] for m in sys.modules if m.startswith('archcalc.')}; "
        "sys.exit('torch' in sys.modules or rooms != {'text', 'version'})"
    )
    assert run_fresh(code=code).code == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_keywords_are_in_every_signature(name: str) -> None:
    parameters = inspect.signature(getattr(archcalc, name)).parameters
    assert {"setup", "knobs", "batch", "size", "seq_len", "dtype", "mode", "train", "device"} <= set(parameters)


@pytest.mark.parametrize(
    ("inputs", "how", "shape", "dtype"),
    [
        ((1, 3, 8, 8), {"batch": 4}, (4, 3, 8, 8), "float32"),
        ((1, 3, 8, 8), {"size": 16}, (1, 3, 16, 16), "float32"),
        ((1, 3, 8, 8), {"size": (16, 24), "batch": 2}, (2, 3, 16, 24), "float32"),
        ("1x3x8x8", {"batch": 4, "dtype": "bfloat16"}, (4, 3, 8, 8), "bfloat16"),
        ((1, 3, 8, 8), {"dtype": torch.float64, "size": "16x8"}, (1, 3, 16, 8), "float64"),
        (torch.zeros(1, 3, 8, 8), {"batch": 4, "dtype": "float16"}, (4, 3, 8, 8), "float16"),
        ({"input": (1, 3, 8, 8)}, {"batch": 5}, (5, 3, 8, 8), "float32"),
    ],
)
def test_sizes_and_dtype_are_applied_to_given_shapes(inputs: Any, how: Any, shape: Any, dtype: str) -> None:
    (given,) = archcalc.trace(NET, inputs, **how).inputs
    assert (given.shape, given.dtype) == (shape, dtype)


def test_integers_keep_their_dtype_and_sequences_their_axis() -> None:
    tokens = nn.Embedding(10, 4)
    (given,) = archcalc.trace(tokens, "int64:1x7", batch=3, seq_len=5, dtype="bfloat16").inputs
    assert (given.shape, given.dtype) == ((3, 5), "int64")
    (given,) = archcalc.trace("resnet-18", (1, 3, 64, 64), batch=32).inputs
    assert given.shape == (32, 3, 64, 64)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: archcalc.trace(nn.Linear(3, 4), (2, 3), seq_len=4), BadInput, "seq_len=4 does not apply"),
        (lambda: archcalc.trace(nn.Linear(3, 4), (2, 3), size=4), BadInput, "no input has such an axis"),
        (lambda: archcalc.analyze(nn.Linear, (2, 3)), BadReference, r"pass  Linear\(\.\.\.\)"),
        (lambda: archcalc.analyze(nn.Linear(3, 4), (2, 3), knobs={"width": 2}), WrongUse, "takes no knobs, and width"),
        (lambda: archcalc.analyze("resnet-18", bach=2), WrongUse, "no keyword 'bach'"),  # type: ignore[call-arg]
        (lambda: archcalc.analyze("resnet-18").layers["conv11"], NoSuchLayer, "layers look like  conv1 "),
        (lambda: archcalc.analyze("resnet-20", size="large"), BadInput, "is not a size"),
        (lambda: archcalc.analyze("resnet-20", batch="4"), BadInput, "batch='4' is not a size"),  # type: ignore[arg-type]
        (lambda: archcalc.analyze("resnet-20", batch=0), BadInput, "whole numbers from 1"),
        (lambda: archcalc.analyze("resnet-20", train="sgd"), WrongUse, "train='sgd' is not a training step"),
        (lambda: archcalc.analyze(archcalc.trace("resnet-20"), batch=4), WrongUse, "cannot be changed"),
        (archcalc.compare, WrongUse, "compare needs models"),
        (lambda: archcalc.law("resnet-18", "deepness"), archcalc.ArchcalcError, "deepness"),
        (lambda: archcalc.check("nowhere.toml"), archcalc.ArchcalcError, "cannot be read"),
    ],
)
def test_wrong_use_is_told(call: Any, error: type[archcalc.ArchcalcError], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


class Plain(nn.Module):
    """A class that needs no arguments."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(4, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def test_a_class_is_built() -> None:
    assert archcalc.analyze(Plain, (1, 4)).params == 20
    assert archcalc.analyze(Plain, (1, 4), knobs={"width": 8}).params == 40
    assert archcalc.analyze(Plain, (1, 4)).trace.model.name == "Plain"


def test_studies_take_modules_with_their_inputs() -> None:
    """A law over the batch of a module at hand, in closed form: 8·6·6 · 3·3·3 each."""
    laws = archcalc.law(NET, "batch", "macs", inputs=(1, 3, 8, 8))
    (law,) = laws.laws
    assert {powers: int(value) for powers, value in law.formula.items()} == {(1,): 8 * 36 * 27}
    swept = archcalc.sweep(Plain, ["width=2,4"], "params", inputs=(1, 4))
    assert [row["params"] for row in swept.rows] == [10, 20]
    fitted = archcalc.largest_batch(nn.Linear(4, 4, bias=False), 64 + 32 * 10, (1, 4))
    assert fitted.fit.batch == 10  # 64 bytes of weights, 16 of input and 16 of output a sample
    assert archcalc.diff(NET, NET, inputs=(1, 3, 8, 8)).changed is False


def results() -> dict[str, Any]:
    snapshot = archcalc.snapshot(NET, (1, 3, 8, 8))
    return {
        "Report": archcalc.analyze(NET, (1, 3, 8, 8)),
        "Fitted": archcalc.largest_batch(NET, "1MiB", (1, 3, 8, 8)),
        "Linted": archcalc.lint(NET, (1, 3, 8, 8), threshold={"G4": 0}),
        "Plan": archcalc.plan(NET, 2, (2, 3, 8, 8), on="h100-sxm"),
        "Recomputed": archcalc.recompute(NET, "1MiB", (1, 3, 8, 8)),
        "Snapshot": snapshot,
        "Comparison": archcalc.diff(snapshot, nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), inputs=(1, 3, 8, 8)),
        "SideBySide": archcalc.compare(NET, Plain, inputs="1x3x8x4"),
        "Explanation": archcalc.explain(NET, "0", (1, 3, 8, 8)),
        "Laws": archcalc.law(NET, "batch", "macs", inputs=(1, 3, 8, 8)),
        "Speeds": archcalc.speed(NET, (1, 3, 8, 8), on="rtx4090"),
        "Serving": archcalc.serve("gpt2", wanted={"context": "64"}),
        "Swept": archcalc.sweep(NET, "batch=1,2", "macs", inputs=(1, 3, 8, 8)),
        "Verification": archcalc.verify(NET, (1, 3, 8, 8)),
        "FullReport": archcalc.report(NET, inputs=(1, 3, 8, 8)),
        "CheckRun": archcalc.check(Path(ROOT / "docs" / "examples" / "guard.toml")),
    }


def test_every_result_shows_itself() -> None:
    """A line as its repr; text, Markdown, LaTeX, JSON, HTML and a data frame from the page of its command."""
    pandas = pytest.importorskip("pandas")
    made = results()
    assert set(made) == {kind.__name__ for kind in PAGES}
    for name, result in made.items():
        assert "\n" not in repr(result), name
        assert len(repr(result)) < 120
        text = str(result)
        assert text.count("\n") > 2
        assert "archcalc summary Sequential" not in text, "a module at hand cannot be typed"
        assert "|" in result.to_markdown()
        assert "tabular" in result.to_latex()
        assert "<table>" in result._repr_html_()
        document = json.loads(result.to_json())
        frame = result.to_dataframe()
        assert isinstance(frame, pandas.DataFrame)
        assert len(frame) == len(document["rows"])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("analyses", "verdict"),
    [
        ([Params()], "269,722 parameters"),
        ([Flops()], "40.55 M MACs"),
        ([Shapes()], "1x3x32x32"),
        ([Traffic()], "moves"),
        ([Memory()], "held_params_bytes 1.029 MiB"),
        ([Params(), Memory()], "peaks at"),
        ([Backward()], "backward_macs"),
        ([Bound(device("h100-sxm"))], "bound_fs"),
        ([], "no figure by layer"),
    ],
    ids=lambda case: "+".join(type(each).__name__ for each in case) if isinstance(case, list) else "",
)
def test_a_report_of_some_analyses_shows_these(analyses: list[Analysis], verdict: str, train: bool) -> None:
    """In a notebook, in text and as rows, whatever was asked for."""
    report = analyze(archcalc.trace("resnet-20", train=train), analyses)
    assert verdict in str(report).splitlines()[0]
    html = report._repr_html_()
    assert ("<table>" in html) == bool(analyses)
    rows = json.loads(report.to_json())["rows"]
    for key in rows[0].keys() & report.root.total.keys() if rows else ():
        assert sum(row[key] for row in rows) == report.totals[key], key
    assert bool(rows) == bool(analyses)


def test_parameters_without_a_run_show_themselves() -> None:
    report = archcalc.params("resnet-20")
    assert str(report).startswith("269,722 parameters · 1.029 MiB\n")
    assert "269,722" in report._repr_html_()


def test_html_is_escaped() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._modules["<script>&"] = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self._modules["<script>&"](x)

    html = archcalc.analyze(Odd(), (1, 4))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;&amp;" in html


def test_the_same_answer_as_the_command_line() -> None:
    ran = run("compare", "resnet-20", "resnet-32", "--json")
    assert archcalc.compare("resnet-20", "resnet-32").to_json() == ran.out
    assert len(faces.RENDERERS) == 1


def test_former_keys_warn_in_python_and_stay_in_json() -> None:
    report = archcalc.analyze(NET, (1, 3, 8, 8))
    assert report.totals["params_bytes"] == 4 * (8 * 27 + 8)
    with pytest.warns(DeprecationWarning, match="'param_bytes' is called 'params_bytes' now"):
        assert report.totals["param_bytes"] == report.totals["params_bytes"]
    answer = json.loads(run("params", "resnet-20", "--json").out)
    assert answer["totals"]["param_bytes"] == answer["totals"]["params_bytes"]
    assert all(row["buffer_bytes"] == row["buffers_bytes"] for row in answer["rows"])
    swept = json.loads(run("sweep", "resnet-20", "--set", "batch=1,2", "--figure", "param_bytes", "--json").out)
    assert swept["rows"][0]["params_bytes"] == swept["rows"][0]["param_bytes"]


def test_no_keyword_is_ignored():
    trace = archcalc.trace(NET, (1, 3, 8, 8))
    for how in ({"batch": 0}, {"mode": "eval"}, {"unknown": None}):
        with pytest.raises(archcalc.ArchcalcError):
            archcalc.analyze(trace, **how)
    with pytest.raises(archcalc.ArchcalcError, match="no figure is of a training step"):
        archcalc.sweep("resnet-20", "depth=20,32", train=True)
    with pytest.raises(archcalc.ArchcalcError, match="no figure is of a training step"):
        archcalc.law("resnet-20", "batch", "macs", train=archcalc.Training("sgd"))
    snapshot = archcalc.snapshot(NET, (1, 3, 8, 8))
    with pytest.raises(archcalc.ArchcalcError, match="both sides are files or snapshots"):
        archcalc.diff(snapshot, snapshot, inputs=(1, 3, 8, 8))


def test_a_diff_with_a_training_step_compares_its_peaks():
    wider = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU())
    difference = archcalc.diff(NET, wider, inputs=(1, 3, 8, 8), train=True)
    for model, snapshot in ((NET, difference.old), (wider, difference.new)):
        peak = archcalc.analyze(model, (1, 3, 8, 8), train=True).totals["peak_bytes"]
        assert snapshot.totals["train_peak_bytes"] == peak
    assert "training step" in str(difference)


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (
            lambda: archcalc.analyze("transformer", seq_len=7),
            "seq_len does not apply",
            "knobs={'src_len': 64, 'tgt_len': 64}",
        ),
        (lambda: archcalc.largest_batch("resnet-20", "24"), "'memory=24' has no unit.", "write  memory='24GiB'"),
        (
            lambda: archcalc.largest_batch("resnet-20", "rtx4090", device="cpu"),
            "device cpu and memory rtx4090 do not go together",
            "leave device out",
        ),
        (lambda: archcalc.analyze(nn.Bilinear(3, 4, 5)), "Bilinear needs an input", "try  inputs={'input1': "),
        (lambda: archcalc.analyze(nn.Linear(3, 4)), "Linear needs an input", "try  inputs='1x3x224x224'"),
        (
            lambda: archcalc.analyze("resnet-20", setup=archcalc.Setup(inputs=("1x3x8x8",)), size=5),
            "size and seq_len do not combine with inputs.",
            "write the shape into  inputs",
        ),
        (
            lambda: archcalc.analyze("resnet-20", train=archcalc.Training(checkpoint=("x",))),
            "no layer matches 'checkpoint x'",
            "it has  conv1",
        ),
    ],
)
def test_errors_name_keywords_and_no_options(call: Any, message: str, hint: str) -> None:
    with pytest.raises(archcalc.ArchcalcError) as error:
        call()
    assert message in error.value.message
    assert hint in error.value.hint
    assert not re.search(r"(?<![\w-])--?[a-z]", str(error.value))


def test_bytes_of_memory_need_no_unit_as_a_number() -> None:
    net = nn.Linear(4, 4, bias=False)  # 64 bytes of weights, 32 of input and output a sample
    assert archcalc.largest_batch(net, 64 + 32 * 10, (1, 4)).fit.batch == 10
    assert archcalc.largest_batch(net, 64 + 32 * 10, (1, 4), reserve=32 * 3).fit.batch == 7
    assert archcalc.largest_batch(net, 640, (1, 4), reserve="50%").fit.batch == 8  # (320 - 64) / 32
    asked = archcalc.largest_batch(net, 64 + 32 * 10, (1, 4), batch=11)
    assert (asked.fits, asked.asked, asked.fit.peaks) == (False, 11, {11: 64 + 32 * 11})
