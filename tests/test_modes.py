"""A forward pass in training mode runs what evaluation leaves out, and nothing else changes."""

from __future__ import annotations

import pytest

from tests.helpers import report, run
from tests.regenerate import all_networks

HEAD_4A = 512 * 4 * 4 * 128 + 4 * 4 * 128 * 1024 + 1024 * 1000
HEAD_4D = 528 * 4 * 4 * 128 + 4 * 4 * 128 * 1024 + 1024 * 1000


def test_auxiliary_heads_run_in_training_alone() -> None:
    """GoogLeNet's two, in closed form: 1x1 convolution to 128 channels at 4 x 4, 1,024 units, 1,000 classes."""
    evaluated, trained = (report("googlenet", knobs={"aux_heads": True}, mode=mode) for mode in ("eval", "train"))
    assert trained.macs - evaluated.macs == HEAD_4A + HEAD_4D
    assert trained.params == evaluated.params
    assert len(trained.trace.output_tensors) == 3


@pytest.mark.parametrize("name", ["densenet-121", "bert-base", "lstm"])
def test_contractions_are_the_same_in_both_modes(name: str) -> None:
    evaluated, trained = (report(name, mode=mode, batch=2) for mode in ("eval", "train"))
    assert trained.macs == evaluated.macs
    assert trained.output_shape == evaluated.output_shape
    ops = {call.op for call in trained.trace.calls}
    assert ("aten.bernoulli_.float" in ops) == (name == "bert-base")


def test_batch_norm_over_one_value_says_what_to_type() -> None:
    ran = run("flops", "resnet-18", "--mode", "train", "--size", "32")
    assert ran.code == 3
    assert "--batch 2" in ran.err
    assert run("flops", "resnet-18", "--mode", "train", "--size", "32", "--batch", "2", "-q").code == 0


def test_a_mode_that_is_none_is_wrong_use() -> None:
    ran = run("flops", "resnet-18", "--mode", "test")
    assert ran.code == 2
    assert "eval, train" in ran.err


@pytest.mark.parametrize("name", all_networks())
def test_every_network_has_a_drawing(name: str) -> None:
    """`show` prints it."""
    assert all_networks()[name].drawing.strip()
