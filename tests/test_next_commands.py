"""The commands that an answer proposes: they run as they are pasted, with what the answer was asked."""

from __future__ import annotations

import shlex

import pytest

from tests.helpers import run

STEP = "--train --recipe pure-bf16 --optimizer sgd --loss cross-entropy --frozen layer1* --grad-accumulation 2"


def proposed(out: str) -> list[list[str]]:
    """The words of each proposed command, without `archcalc`."""
    line = next(line for line in out.splitlines() if line.startswith("next: "))
    return [shlex.split(command)[1:] for command in line.removeprefix("next: ").split(" · ")]


@pytest.mark.parametrize(
    "typed",
    [
        "params resnet-20 --dtype float16",
        "flops gpt2 --convention half-causal --seq-len 16",
        "flops resnet-20 --backward --checkpoint layer1*",
        "traffic resnet-20 --fused --batch 2",
        "speed resnet-20 --on a100 --amp bf16 --train --keep-gradients",
        f"speed resnet-20 --on a100 --on h100 {STEP} --weight-decay 0.1",
        "speed conv --on a100 --mode train --data --seed 3",
    ],
)
def test_one_level_deeper_is_the_same_question(typed: str) -> None:
    """The same verdict, over more layers; every other proposal runs, too."""
    ran = run(*typed.split())
    deeper, *others = commands = proposed(ran.out)
    if deeper[-2:] == ["--depth", "2"]:
        again = run(*deeper)
        assert again.out.splitlines()[0] == ran.out.splitlines()[0]
        assert len(again.out) > len(ran.out)
    assert {run(*command).code for command in (others or commands)} == {0}


def test_a_step_stays_a_step_where_the_next_command_measures_one() -> None:
    """Parameters, MACs and layers are those of a forward pass; memory and time are those of what was asked."""
    line = run("speed", "resnet-20", "--on", "a100", *STEP.split(), "--weight-decay", "0.1").out.splitlines()[-1]
    options = "--optimizer sgd --loss cross-entropy --frozen 'layer1*' --grad-accumulation 2 --recipe pure-bf16"
    assert f"archcalc memory resnet-20 --train {options} --weight-decay 0.1" in line
    assert "archcalc flops resnet-20 --dtype bfloat16 --backward --frozen 'layer1*'" in line
    line = run("memory", "resnet-20", "--train", "--no-changes").out.splitlines()[-1]
    assert line == "next: archcalc summary resnet-20 --mode train · archcalc flops resnet-20 --backward"
    assert "mode" not in run("memory", "resnet-20").out.splitlines()[-1]
