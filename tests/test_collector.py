"""Old objects are put out of the garbage collector's sight once, by the outermost of nested blocks."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

import archcalc
from archcalc import engine
from archcalc.engine import Setup, Training
from archcalc.engine.collector import old_objects_frozen
from archcalc.engine.record.recorder import COMPILED
from archcalc.studies.gc_pauses import gc_paused


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_an_inner_block_leaves_the_outer_one_frozen() -> None:
    with old_objects_frozen():
        with gc_paused() as ran:
            ran(1)
            assert gc.get_freeze_count()
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_a_block_ends_when_its_code_raises() -> None:
    with pytest.raises(KeyError), old_objects_frozen():
        raise KeyError
    assert not gc.get_freeze_count()


@pytest.mark.parametrize("block", [old_objects_frozen, gc_paused])
def test_what_a_program_froze_itself_stays_frozen(block: object) -> None:
    gc.freeze()
    with block():  # type: ignore[operator]
        pass
    assert gc.get_freeze_count()


def leftovers(call: Callable[[torch.Tensor], object]) -> int:
    """How many objects a call on a tensor without data leaves for the collector."""
    x = torch.empty(2, 3, device="meta")
    gc.disable()
    try:
        with torch.inference_mode():
            gc.collect(1)
            call(x)
            return gc.collect(0)
    finally:
        gc.enable()


ATEN = torch.ops.aten
COMPILED_CALLS: dict[str, Callable[[torch.Tensor], object]] = {
    "view": lambda x: ATEN.view(x, [3, 2]),
    "_unsafe_view": lambda x: ATEN._unsafe_view(x, [3, 2]),
    "t": ATEN.t,
    "transpose": lambda x: ATEN.transpose(x, 0, 1),
    "permute": lambda x: ATEN.permute(x, [1, 0]),
    "expand": lambda x: ATEN.expand(x, [4, 2, 3]),
    "slice": lambda x: ATEN.slice(x, 0, 1),
    "select": lambda x: ATEN.select(x, 0, 1),
    "split": lambda x: ATEN.split(x, 1),
    "unsqueeze": lambda x: ATEN.unsqueeze(x, 0),
    "squeeze": ATEN.squeeze,
    "clone": ATEN.clone,
    "detach": ATEN.detach,
    "alias": ATEN.alias,
    "empty": lambda x: ATEN.empty([2, 3], device="meta"),
    "lift_fresh": ATEN.lift_fresh,
    "add_": lambda x: ATEN.add_(x, 1),
}


def test_compiled_ops_leave_nothing_for_the_collector() -> None:
    """The tracer does not collect after them; a call that makes a cycle is seen."""
    assert set(COMPILED_CALLS) == COMPILED - {"_local_scalar_dense"}  # whose result is never asked of torch
    assert {op for op, call in COMPILED_CALLS.items() if leftovers(call)} == set()
    assert leftovers(lambda x: (kept := [x]).append(kept))


class Deaths(nn.Linear):
    """A layer that tells when the last reference to one of its kind goes."""

    gone: ClassVar[list[str]] = []

    def __del__(self) -> None:
        self.gone.append("layer")


def stack() -> nn.Module:
    """Layers below a root: they have the hooks."""
    return nn.Sequential(Deaths(4, 4), Deaths(4, 2))


@pytest.mark.parametrize("training", [None, Training()])
def test_a_run_leaves_nothing_for_the_collector(training: Training | None) -> None:
    """Module and record are freed where the run ends: their hooks would keep both until a collection."""
    gc.disable()
    try:
        Deaths.gone.clear()
        trace = engine.trace("tests.test_collector:stack()", Setup(inputs=("2x4",), training=training))
        assert trace.calls
        assert Deaths.gone == ["layer", "layer"]
    finally:
        gc.enable()


class Loop(nn.Module):
    """A forward whose result goes into a list that holds itself, which reference counts never free."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: list[object] = [x * 2]
        kept.append(kept)
        return x + 1


def test_what_forward_leaves_in_cycles_is_not_taken_for_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is freed where the run ends, by a collection that leaves a program's old objects alone."""
    generations: list[int] = []
    collect = gc.collect

    def noted(generation: int = 2) -> int:
        generations.append(generation)
        return collect(generation)

    monkeypatch.setattr(gc, "collect", noted)
    gc.disable()
    try:
        trace = engine.trace("tests.test_collector:Loop", Setup(inputs=("2x4",)))
    finally:
        gc.enable()
    assert "constant" not in {storage.role for storage in trace.storages}
    assert 1 in generations
    assert 2 not in generations


class ImportsLate(nn.Module):
    """Two wide maps one after the other; the code that makes them imports a module that calls torch.fx.wrap."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.means(x) + self.means(x)

    def means(self, x: torch.Tensor) -> torch.Tensor:
        wide = torch.cat([x] * 100, 1)
        import_module("calls_wrap")
        return nn.functional.adaptive_avg_pool2d(wide, 1)


def test_an_import_within_a_run_keeps_no_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run, which imports, has the peak of the second: the input, one wide map, two results of 800 means."""
    (tmp_path / "calls_wrap.py").write_text("import torch.fx\n\ntorch.fx.wrap('len')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        peaks = [archcalc.analyze(ImportsLate(), (1, 8, 64, 64)).peak_bytes for _ in range(2)]
    finally:
        del sys.modules["calls_wrap"]
        torch.fx._symbolic_trace._wrapped_fns_to_patch.popitem()
    # 4·(8·64² + 800·64² + 2·800)
    assert peaks == [13_244_672, 13_244_672]
