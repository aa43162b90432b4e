"""The rank test, against its definition written out."""

import itertools
import math

import pytest

from fairlead.verification import _rank
from fairlead.verification._rank import measure_lead


@pytest.fixture
def independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rank, "_measure_likeness", lambda _: 0.0)


def count_pairs(first: list[float], second: list[float]) -> float:
    return sum((one > other) + (one == other) / 2 for one in first for other in second)


@pytest.mark.usefixtures("independent")
@pytest.mark.parametrize(
    ("first", "second"),
    [([3, 5, 6, 9], [1, 2, 4]), ([3, 3, 6], [1, 3, 6, 2]), ([5, 5], [5, 1, 1]), ([2], [1])],
)
def test_lead_is_mann_whitneys_over_its_deviation_in_all_arrangements(first: list[float], second: list[float]) -> None:
    values, middle = [*first, *second], len(first) * len(second) / 2
    squares = []
    for chosen in itertools.combinations(range(len(values)), len(first)):
        rest = [values[place] for place in range(len(values)) if place not in chosen]
        squares.append((count_pairs([values[place] for place in chosen], rest) - middle) ** 2)
    deviation = math.sqrt(sum(squares) / len(squares))
    assert measure_lead(first, second) == pytest.approx((count_pairs(first, second) - middle) / deviation)


@pytest.mark.parametrize(
    ("first", "second"), [([], [1.0]), ([1.0], []), ([], []), ([1.0] * 9, [1.0] * 9), ([1.0, 2.0], [3.0, 2.0])]
)
def test_there_is_no_lead_where_nothing_lies_above(first: list[float], second: list[float]) -> None:
    assert measure_lead(first, second) == 0


def test_lead_is_smaller_where_neighbours_resemble_each_other() -> None:
    before = [float(value) for value in range(30)]
    mixed = [before[place * 7 % 30] for place in range(30)]
    above = [value + 25.5 for value in mixed]
    assert measure_lead(above, mixed) > 5
    assert 0 < measure_lead(sorted(above), before) < 2


def test_lead_of_series_without_any_variation_is_that_of_independent_ones() -> None:
    assert measure_lead([2.0] * 10, [1.0] * 10) == pytest.approx(100 / 2 / math.sqrt(100 / 12 * (21 - 1980 / 380)))
