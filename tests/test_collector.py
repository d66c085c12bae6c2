"""Old objects are put out of the garbage collector's sight once, by the outermost of nested blocks."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from archcalc.engine.collector import old_objects_frozen
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
