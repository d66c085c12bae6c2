"""Units: what is printed can be read back, keeps its order and never shows a fifth figure."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archcalc.text import units

COUNTS = st.integers(min_value=0, max_value=10**30)
SIZES = st.integers(min_value=0, max_value=2**80)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.000 k"), (999_499, "999.5 k"), (999_949, "999.9 k"), (999_950, "1.000 M")],
)
def test_counts_at_the_edges_of_a_prefix(value: int, expected: str) -> None:
    assert units.si(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1023, "1023 B"), (1024, "1.000 KiB"), (2**20 - 1, "1.000 MiB"), (1023 * 1024, "1,023 KiB"), (2**40, "1.000 TiB")],
)
def test_sizes_at_the_edges_of_a_unit(value: int, expected: str) -> None:
    assert units.size(value) == expected


@given(COUNTS)
def test_a_count_reads_back_within_half_a_unit_of_its_last_figure(value: int) -> None:
    assert abs(units.parse_count(units.si(value)) - value) <= max(value, 1) * 0.0005 + 1


@given(SIZES)
def test_a_size_reads_back_within_half_a_unit_of_its_last_figure(value: int) -> None:
    assert abs(units.parse_size(units.size(value)) - value) <= max(value, 1) * 0.0005 + 1


@given(COUNTS, COUNTS)
def test_the_order_of_counts_survives(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert units.parse_count(units.si(low)) <= units.parse_count(units.si(high))


@given(SIZES)
@example(1_048_064)
def test_at_most_four_figures(value: int) -> None:
    """A zero in front of the point is none: 1,023.5 KiB is 0.9995 MiB."""
    number = units.size(value).split()[0]
    assert len(number.replace(",", "").replace(".", "").lstrip("0")) <= 4


@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=1))
def test_shapes_read_back(dimensions: list[int]) -> None:
    assert units.parse_shape(units.shape(dimensions)) == tuple(dimensions)


@given(COUNTS)
@example(10**28 + 1)
def test_exact_counts_read_back_exactly(value: int) -> None:
    assert units.parse_count(units.exact(value)) == value


@pytest.mark.parametrize("text", ["", "x", "1x", "axb", "1.5x2", "-1x3", "1x²"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a shape"):
        units.parse_shape(text)


@pytest.mark.parametrize("text", ["", "GiB", "12 parsecs", "1.2.3 M", "ten"])
def test_what_is_no_number_is_refused(text: str) -> None:
    for parse in (units.parse_count, units.parse_size):
        with pytest.raises(ValueError, match="is not a"):
            parse(text)
