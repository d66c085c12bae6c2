"""Laws against traces at random members of their domains, near and far: they must hold wherever they say so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archcalc
from archcalc.analyses.metrics import metric_named
from archcalc.engine.setup import Setup, Training
from archcalc.studies.law.envelope import bounds, highest
from archcalc.studies.law.lattice import Lattice
from archcalc.studies.law.members import at_point
from archcalc.studies.law.polynomials import Formula, value
from archcalc.studies.law.stretches import stretches

pytestmark = pytest.mark.usefixtures("shared_traces")

FARTHEST = 100_000
DEEPEST = 220
"""The same where a knob makes more layers, which have to be built."""
STEP = Setup(training=Training())
PEAK = ("peak_bytes", "saved_total_bytes")

# network, setup, knobs, figures, the number of members: 200 in the default part
QUICK = [
    ("multi-head-attention", STEP, ["seq_len", "d_model"], ["peak_bytes"], 30),
    ("conv", STEP, ["in_channels", "out_channels"], ["params", *PEAK], 110),
    ("lstm-cell", STEP, ["input_size", "hidden_size"], ["peak_bytes"], 20),
    ("conv", Setup(training=Training(), device="cpu"), ["batch", "size"], ["peak_bytes"], 40),
]
SLOW = [
    ("multi-head-attention", STEP, ["seq_len", "d_model"], ["macs", *PEAK], 200),
    ("multi-head-attention", STEP, ["batch", "seq_len", "d_model"], PEAK, 200),
    ("encoder-layer", STEP, ["seq_len", "d_model"], ["macs", "graph_depth", *PEAK], 200),
    ("encoder-layer", Setup(training=Training(), device="cpu"), ["seq_len"], PEAK, 100),
    ("bottleneck-block", STEP, ["in_channels=out_channels", "width", "size"], PEAK, 200),
    ("dense-block", Setup({"bottleneck": False}, training=Training("sgd")), ["growth_rate=in_channels", "size"],
     ["live:cat+native_batch_norm", *PEAK], 200),
    ("resnet-20", STEP, ["batch", "size"], PEAK, 60),
    ("resnet-20", STEP, ["batch"], PEAK, 60),
    ("densenet-bc-cifar", STEP, ["depth"], ["params", *PEAK], 12),
]  # fmt: skip


def some_members(on: Sequence[Lattice], number: int) -> list[tuple[int, ...]]:
    """Members of a domain, as many near its start as far from it; a corner and the farthest members first."""
    draw = random.Random(1)
    farthest = [DEEPEST if lattice.knob == "depth" else FARTHEST for lattice in on]
    ends = [min(lattice.until or end, end) for lattice, end in zip(on, farthest, strict=True)]

    def drawn(lattice: Lattice, end: int) -> int:
        steps = (end - lattice.start) // lattice.step
        return lattice.start + lattice.step * min(steps, int((steps + 1) ** draw.random()) - 1)

    last = [end - (end - lattice.start) % lattice.step for lattice, end in zip(on, ends, strict=True)]
    corners = [tuple(lattice.start for lattice in on), tuple(last)]
    return corners + [tuple(map(drawn, on, ends)) for _ in range(number - len(corners))]


def hold(network: str, setup: Setup, over: list[str], figures: Sequence[str], number: int) -> None:
    result = archcalc.law(network, over, figures, setup=setup)
    assert [law.figure for law in result.laws] == list(figures)
    each = [some_members(law.lattice, -(-number // len(figures))) for law in result.laws]
    for law, points in zip(result.laws, each, strict=True):
        metric = metric_named(law.figure)
        one_pass = setup if metric.trains else replace(setup, training=None)
        for point in points:
            report = archcalc.analyze(network, setup=at_point(one_pass, dict(zip(over, point, strict=True))))
            assert (point, metric.of(report)) == (point, law.value(point))
            assert law.has(point)


@pytest.mark.parametrize(("network", "setup", "over", "figures", "number"), QUICK)
def test_laws_hold_on_their_whole_domain(
    network: str, setup: Setup, over: list[str], figures: list[str], number: int
) -> None:
    hold(network, setup, over, figures, number)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "setup", "over", "figures", "number"), SLOW)
def test_laws_of_larger_networks_hold_on_their_whole_domain(
    network: str, setup: Setup, over: list[str], figures: list[str], number: int
) -> None:
    hold(network, setup, over, figures, number)


COEFFICIENTS = st.integers(-20, 30).map(Fraction)
IN_ONE_KNOB = st.dictionaries(st.tuples(st.integers(-1, 4)), COEFFICIENTS, min_size=1, max_size=5)
IN_TWO_KNOBS = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(-1, 2)), COEFFICIENTS, min_size=1, max_size=6)


@given(formulas=st.lists(IN_ONE_KNOB, min_size=1, max_size=5), start=st.integers(1, 9), step=st.integers(1, 4))
def test_stretches_are_the_highest_formula_at_every_value(formulas: list[Formula], start: int, step: int) -> None:
    found = stretches(formulas, start, step)
    for number in [*range(start, start + 60 * step, step), start + 10**6 * step]:
        here = [formula for formula, first, last in found if first <= number and (last is None or number <= last)]
        assert [value(formula, [number]) for formula in here] == [max(value(formula, [number]) for formula in formulas)]


@settings(max_examples=30, deadline=None)
@given(formulas=st.lists(IN_TWO_KNOBS, min_size=2, max_size=5), starts=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_what_is_left_out_is_nowhere_the_highest(formulas: list[Formula], starts: tuple[int, int]) -> None:
    """Nor do the inequalities of a piece leave out a piece that exceeds it."""
    kept = highest(formulas, starts)
    walls = [bounds(kept, number, starts) for number in range(len(kept))]
    for distances in product((0, 1, 2, 3, 5, 9, 30, 400, 10**5), repeat=2):
        point = [start + distance for start, distance in zip(starts, distances, strict=True)]
        top = max(value(formula, point) for formula in formulas)
        assert max(value(formula, point) for formula in kept) == top
        for formula, wall in zip(kept, walls, strict=True):
            inside = all(value(formula, point) >= value(other, point) for other in wall)
            assert inside == (value(formula, point) == top)
