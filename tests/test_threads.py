"""A run is invisible to other threads: layers they build, what they print, what they draw; and runs do not mix."""

from __future__ import annotations

import io
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import archcalc
from tests.helpers import Screenless, run_fresh

MODELS = {
    "resnet-18": 1_814_073_344,
    "shufflenet-v2": 145_814_296,
    "densenet-121": 2_834_161_664,
    "vgg-11": 7_609_090_048,
}


def test_analyses_beside_a_thread_that_builds_and_one_that_draws() -> None:
    """Four analyses at once, beside 2,000 layers with their weights and a stream of torch's random numbers."""
    done = Event()
    without_weights: list[int] = []
    drawn: list[float] = []

    def build() -> None:
        for number in range(2000):
            if nn.Linear(4, 4).weight.is_meta:
                without_weights.append(number)

    def draw() -> None:
        while not done.is_set():
            drawn.append(torch.rand(()).item())

    torch.manual_seed(1)
    threads = [Thread(target=build), Thread(target=draw)]
    for thread in threads:
        thread.start()
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(MODELS, pool.map(lambda name: archcalc.analyze(name).macs, MODELS), strict=True))
    done.set()
    for thread in threads:
        thread.join()
    assert found == MODELS
    assert without_weights == []
    assert len(set(drawn)) > 0.99 * len(drawn)  # float32 has few of the same, a generator put back has many


class Loud(nn.Module):
    """Prints and draws in its constructor and in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(()).item() + random.random() + float(np.random.rand())
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        print("from the model", self.scale, torch.rand(()).item(), random.random(), float(np.random.rand()))
        return self.fc(x)


def test_generators_are_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    """What a run draws is the same every time, and the process's own generators go on where they were."""
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    module = Loud()
    again = torch.get_rng_state()
    printed = []
    for _ in range(2):
        archcalc.trace(module, (2, 4))
        printed.append(capsys.readouterr().err)
    assert printed[0] == printed[1] != ""
    assert torch.equal(torch.get_rng_state(), again)
    torch.set_rng_state(states[0])
    random.setstate(states[1])


def test_what_other_threads_print_goes_where_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    """And after overlapping runs stdout is stdout."""
    entered, printed = Event(), Event()

    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            print("from the model")
            entered.set()
            printed.wait(10)
            return x + 1

    def beside() -> None:
        entered.wait(10)
        print("from beside")
        printed.set()

    out, err = Screenless(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    thread = Thread(target=beside)
    thread.start()
    archcalc.trace(Waits(), (2, 2))
    thread.join()
    assert sys.stdout is out
    assert (out.getvalue(), err.getvalue()) == ("from beside\n", "from the model\n")


def test_a_path_and_streams_are_as_they_were() -> None:
    before = list(sys.path), sys.stdout
    archcalc.analyze("resnet-20")
    assert (list(sys.path), sys.stdout) == before


ONE_THREAD = """
from threading import Event, Thread
import torch
from torch import nn
import archcalc
from archcalc.engine.devices.processor import one_thread, threads

seen = []

class Layer(nn.Module):
    def forward(self, x):
        seen.append(torch.get_num_threads())
        return x

torch.set_num_threads(3)
archcalc.trace(Layer(), inputs=[(1, 2)])
archcalc.trace(Layer(), inputs=[(1, 2)], data=True)
with one_thread():
    print(torch.get_num_threads(), threads())
waiting = Event()
other = Thread(target=waiting.wait)
other.start()
archcalc.trace(Layer(), inputs=[(1, 2)])
waiting.set()
other.join()
print(torch.get_num_threads(), *seen)
"""


def test_constructors_use_one_thread_and_the_setting_comes_back() -> None:
    """A run with values keeps all of them, and so does a process with other threads, which share the setting.

    In a process of its own: that of the tests may have other threads. Figures of the CPU's kernels are those of all.
    """
    assert run_fresh(code=ONE_THREAD).out.split("\n")[:2] == ["1 3", "3 1 3 3"]
