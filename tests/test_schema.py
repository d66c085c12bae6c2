"""docs/schema.json is what the code promises, and every command keeps it, on models of every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archcalc.cli.commands import ORDER
from archcalc.render.formats.as_json import dumps
from archcalc.render.promise import promises, schema
from tests.helpers import ROOT, run, run_fresh
from tests.regenerate import SCHEMA

pytestmark = pytest.mark.usefixtures("shared_traces")

COMMANDS = (
    "list", "list 'resnet*'", "devices", "devices 'rtx*'", "show resnet-18", "summary resnet-18", "shapes resnet-18",
    "params resnet-18 gpt2", "flops resnet-18", "flops resnet-18 --backward", "memory resnet-18",
    "speed resnet-20 --on rtx4090 --on a100-80g", "speed resnet-20 --on h100 --sweep-batch 1,8",
    "serve gpt2 --context 512 --fit rtx4090", "serve gpt2 --batch 2 --on h100",
    "memory resnet-20 --fit rtx4090 --batch 2", "memory resnet-20 --train --per-sample --no-changes",
    "memory bottleneck-block --train --fit 64MiB",
    "memory resnet-20 --batch 8 --train --fit 9MiB --checkpoint auto --no-changes",
    "explain resnet-18", "explain resnet-18 conv1", "explain conv2d",
    "traffic resnet-20", "lint shufflenet-v1",
    "compare resnet-18 resnet-34", "verify resnet-20", "law resnet-20 --over batch --figure macs --measure 2:4:2",
    "law --table self-attention", "sweep resnet-20 --set batch=1,2",
    "plan gpt2[layers=2] --gpus 2 --on a100-80g", "diff resnet-18 resnet-34",
    f"check {ROOT}/docs/examples/guard.toml", "cache info", "params nothing-like-it", "params resnet-18 --set depht=3",
)  # fmt: skip
WITHOUT_JSON = {"init", "report", "snapshot"}
"""Commands whose answer has a form of its own."""


def valid(text: str) -> Any:
    answer = json.loads(text)
    jsonschema.validate(answer, schema())
    return answer


def test_the_file_is_what_the_code_promises() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == dumps(schema()), "run  python -m tests.regenerate"
    jsonschema.Draft202012Validator.check_schema(schema())


def test_every_command_has_a_promise_and_a_case() -> None:
    commands = set(ORDER) - WITHOUT_JSON
    assert {promise.command for promise in promises()} == commands
    assert {line.split()[0] for line in COMMANDS} == commands


@pytest.mark.parametrize("line", COMMANDS)
def test_an_answer_keeps_the_schema(line: str) -> None:
    import shlex

    ran = run(*shlex.split(line), "--json")
    answer = valid(ran.out)
    assert ("error" in answer) == (ran.code == 2)


@pytest.mark.parametrize("key", ["rows", "totals", "command", "tool"])
def test_a_missing_key_is_seen(key: str) -> None:
    answer = json.loads(run("params", "resnet-20", "--json").out)
    del answer[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, schema())
    answer = json.loads(run("params", "resnet-20", "--json").out)
    del answer["totals"]["params_bytes"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, schema())


STUB = """
from torch import nn

def list_models():
    return ["tiny"]

def create_model(name, pretrained=False, **knobs):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    net.default_cfg = {"input_size": (3, 16, 16)}
    return net
"""


@pytest.mark.parametrize("command", ["summary", "params", "flops", "memory", "shapes", "explain", "compare", "verify"])
def test_a_model_of_a_library_keeps_it_too(command: str, tmp_path: Path) -> None:
    """A stand-in for timm: its source, and an input that its default_cfg declares."""
    (tmp_path / "timm.py").write_text(STUB)
    ran = run_fresh(command, "timm:tiny", "--json", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert ran.code == 0, ran.err
    answer = valid(ran.out)
    model = answer["models"][0] if command == "compare" else answer["model"]
    assert model["source"] == "timm"
