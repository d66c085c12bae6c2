"""Recipes of precision: what each holds for a parameter, by hand and in a real run, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc import Setup, Training, engine
from archcalc.analyses.memory import live_bytes
from archcalc.analyses.training_states import States, training_states
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.recipes import RECIPES
from archcalc.engine.record.master_weights import OverMasters
from archcalc.engine.record.training_loop import Loss, optimizer_of, steps
from archcalc.errors import WrongUse
from archcalc.render.assumed import step_words
from tests.helpers import check_report, run

pytestmark = pytest.mark.usefixtures("shared_traces")

PARAMS = 64 * 32 + 32 + 32 * 8 + 8
"""Those of `net`, in four tensors: 2,344."""


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 8))


def states(recipe: str, optimizer: str = "adamw", **more: Any) -> States:
    made = training_states(engine.trace(net(), Setup(training=Training(optimizer, recipe=recipe, **more)), (4, 64)))
    assert made is not None
    return made


STEPS = 4 * 4
"""Adam counts the steps of each of four tensors in a float32 number."""
BYTES = (
    # weights, master weights, gradients, gradients in the optimizer's turn, moments
    ("fp32", 4, 0, 4, 4, 8),
    ("amp-bf16", 4, 0, 4, 4, 8),
    ("amp-fp16", 4, 0, 4, 4, 8),
    ("bf16-fp32-master", 2, 4, 2, 4, 8),  # 16, as in ZeRO, section 3.1
    ("fp16-fp32-master", 2, 4, 2, 4, 8),
    ("pure-bf16", 2, 0, 2, 2, 4),
)


@pytest.mark.parametrize(("recipe", "weights", "master", "gradients", "in_step", "moments"), BYTES)
def test_bytes_a_parameter(recipe: str, weights: int, master: int, gradients: int, in_step: int, moments: int) -> None:
    made = states(recipe)
    assert made.trained_params == PARAMS
    assert made.weights_bytes == weights * PARAMS
    assert made.master_bytes == master * PARAMS
    assert (made.gradients_bytes, made.step_gradients_bytes) == (gradients * PARAMS, in_step * PARAMS)
    assert made.optimizer_bytes == moments * PARAMS + STEPS
    assert set(made.state) == {"exp_avg", "exp_avg_sq", "step"}


def test_every_recipe_is_in_the_table_and_in_the_help() -> None:
    assert {recipe for recipe, *_ in BYTES} == set(RECIPES)
    shown = " ".join(run("memory", "--help").out.split())
    assert all(name in shown for name in RECIPES)


def test_the_states_of_other_optimizers() -> None:
    """Momentum keeps one float32 tensor of each master weight, SGD none."""
    momentum, sgd = states("bf16-fp32-master", "momentum"), states("bf16-fp32-master", "sgd")
    assert (momentum.optimizer_bytes, momentum.state) == (4 * PARAMS, ("momentum_buffer",))
    assert (sgd.optimizer_bytes, sgd.state) == (0, ())


def test_only_what_is_trained_has_master_weights() -> None:
    made = states("bf16-fp32-master", frozen=("0",))
    assert made.trained_params == 32 * 8 + 8
    assert made.master_bytes == 4 * (32 * 8 + 8)


def real_bytes(recipe: str) -> dict[str, dict[str, int]]:
    """A real run of the same loop: bytes of each kind of state when a phase of the second step begins."""
    chosen = RECIPES[recipe]
    dtype = getattr(torch, chosen.dtype)
    module = net().to(dtype).train()
    trained = list(module.parameters())
    optimizer = optimizer_of(Training("adamw", recipe=recipe), trained, foreach=False)
    masters = [master for _, master in optimizer.pairs] if isinstance(optimizer, OverMasters) else []
    seen: dict[str, dict[str, int]] = {}

    def mark(phase: str) -> None:
        state = [value for tensors in optimizer.state.values() for value in tensors.values()]
        kinds = {
            "weights": trained,
            "masters": masters,
            "gradients": [t.grad for t in (*trained, *masters) if t.grad is not None],
            "optimizer": state,
        }
        seen[phase] = {kind: sum(t.untyped_storage().nbytes() for t in tensors) for kind, tensors in kinds.items()}

    steps(module, Inputs((torch.zeros(4, 64, dtype=dtype),), {}, ()), Loss("sum"), optimizer, mark)
    return seen


ROLES = {"weights": "parameter", "masters": "master", "gradients": "gradient", "optimizer": "optimizer"}


@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if not recipe.amp])
def test_a_real_step_holds_the_same(recipe: str) -> None:
    """Second derivation: the storages of a run on real tensors, at the begin of forward and of the optimizer's turn."""
    trace = engine.trace(net(), Setup(training=Training("adamw", recipe=recipe)), (4, 64))
    step, real = trace.steps[-1], real_bytes(recipe)
    for phase, moment in (("forward", step.forward), ("optimizer", step.optimizer)):
        live = [storage for storage in trace.storages if storage.birth < moment and storage.live_at(moment)]
        ours = {kind: sum(s.bytes for s in live if s.role == role) for kind, role in ROLES.items()}
        assert ours == real[phase], phase


@pytest.mark.parametrize(
    ("recipe", "setup"),
    [
        ("fp32", Setup()),
        ("amp-bf16", Setup(amp="bf16")),
        ("amp-fp16", Setup(amp="fp16", device="cuda")),
        ("pure-bf16", Setup(dtype="bfloat16")),
    ],
)
def test_a_recipe_is_the_finer_settings_under_one_name(recipe: str, setup: Setup) -> None:
    plain = engine.trace(net(), replace(setup, training=Training()), (4, 64))
    named = engine.trace(net(), Setup(device=setup.device, training=Training(recipe=recipe)), (4, 64))
    assert live_bytes(named).timeline == live_bytes(plain).timeline
    keys = ("dtype", "amp")
    assert [named.assumptions[key] for key in keys] == [plain.assumptions[key] for key in keys]
    assert named.assumptions["recipe"] == recipe


def test_a_step_with_master_weights_adds_up_and_survives_json() -> None:
    trace = engine.trace("resnet-20", Setup(training=Training(recipe="bf16-fp32-master")))
    assert archcalc.Trace.from_json(trace.to_json()) == trace
    made = archcalc.analyze(trace)
    check_report(made)
    assert sum(s.bytes for s in trace.storages if s.role == "master") == 4 * made.params
    assert made.root.own["at_peak_bytes"] < 4 * made.params  # they stand at the layers of their parameters


def test_master_weights_keep_what_bfloat16_loses() -> None:
    """Steps of 1e-3 beside a weight of 1 are below bfloat16's half step of 2^-9: they add up only in float32."""

    def after(recipe: str) -> float:
        weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
        optimizer = optimizer_of(Training("sgd", recipe=recipe), [weight], foreach=False)  # lr 1e-3
        for _ in range(20):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
            optimizer.zero_grad()
            assert weight.grad is None
        return weight.item()

    assert after("pure-bf16") == 1.0
    assert after("bf16-fp32-master") == pytest.approx(1 - 20e-3, abs=2**-8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--train", "--recipe", "pure-bf16", "--dtype", "bfloat16"), "--recipe and --dtype do not go together"),
        (("--train", "--recipe", "fp32", "--amp", "bf16"), "--recipe and --amp do not go together"),
        (("--recipe", "fp32"), "--recipe is an option of a training step"),
        (("--train", "--recipe", "bf16"), "there is no recipe 'bf16'"),
    ],
)
def test_what_a_recipe_does_not_go_with(options: tuple[str, ...], words: str) -> None:
    ran = run("memory", "resnet-20", *options)
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""


def test_the_library_refuses_in_its_own_words() -> None:
    with pytest.raises(WrongUse, match="recipe and dtype do not go together"):
        archcalc.analyze(net(), (4, 64), dtype="bfloat16", train=Training(recipe="fp32"))


def test_the_page_says_bytes_a_parameter() -> None:
    ran = run("memory", "resnet-20", "--train", "--recipe", "bf16-fp32-master", "--optimizer", "adam")
    line = next(line for line in ran.out.splitlines() if "bytes a trained parameter" in line)
    assert line.startswith("recipe bf16-fp32-master: 16 bytes a trained parameter: weights 2 + master weights 4")
    assert "adam: master weights in float32" in ran.out
    answer = json.loads(run("memory", "resnet-20", "--train", "--recipe", "bf16-fp32-master", "--json").out)
    states_ = answer["training_states"]
    parts = ("weights_bytes", "master_bytes", "gradients_bytes", "optimizer_bytes")
    assert sum(states_[part] for part in parts) == states_["bytes"]
    assert answer["assumptions"]["recipe"] == "bf16-fp32-master"


def test_the_first_line_says_whose_bill_it_is() -> None:
    plain = run("memory", "resnet-20").out.splitlines()[1]
    assert plain.startswith("resnet-20 · tensors alone, no device's bill · ")
    assert "tensors alone" not in run("memory", "resnet-20", "--device", "cpu").out
    cuda = run("memory", "resnet-20", "--device", "cuda")
    assert "device cuda: not yet compared with a GPU" in cuda.out


NET = """
from torch import nn

def make(width=4):
    return nn.Linear(width, 2)
"""


def test_every_answer_on_cuda_says_that_no_gpu_was_asked(tmp_path: Path) -> None:
    """Sweeps with and without a training step, checks, JSON; a law says it in the words of its step."""
    (tmp_path / "net.py").write_text(NET)
    check = f'[[check]]\nmodel = "{tmp_path}/net.py:make"\ninput = "1x4"\ndevice = "cuda"\nmax_train_memory = "9 MiB"\n'
    (tmp_path / "archcalc.toml").write_text(check)
    model = f"{tmp_path}/net.py:make"
    for line in (
        f"sweep {model} -i 1x4 --set width=4 --figure macs --device cuda",
        f"sweep {model} -i 1x4 --set width=4 --figure peak_bytes --device cuda",
        f"memory {model} -i 1x4 --device cuda --json",
        f"check {tmp_path}/archcalc.toml",
    ):
        ran = run(*line.split())
        assert "not yet compared with a GPU" in ran.out, (line, ran)
    assert step_words(Setup(), "bfloat16") == "bfloat16, adamw, loss sum"  # what the configuration states
    assert step_words(Setup(dtype="float16"), "bfloat16") == "float16, adamw, loss sum"
    assert (
        step_words(Setup(device="cuda"), "float32")
        == "float32, adamw, loss sum, device cuda (not yet compared with a GPU)"
    )
    assert "compared" not in step_words(Setup(device="cpu"), "float32")
