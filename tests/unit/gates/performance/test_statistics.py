"""Statistics that a few bad rounds do not bend."""

import pytest

from fairlead.gates.performance.statistics import Estimate, compare_pairs, estimate_median, growth, percentile, slope


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 1, 1), (2, 1, 2), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (15, 4, 12), (18, 5, 14)],
)
def test_the_interval_of_a_median_has_the_ranks_of_the_sign_test(count: int, low: int, high: int) -> None:
    found = estimate_median(list(range(count, 0, -1)))
    assert (found.low, found.high) == (low, high)
    assert found.median == (count + 1) / 2


def test_one_wild_round_among_many_moves_neither_the_median_nor_the_interval() -> None:
    calm = [1.0] * 11
    assert estimate_median([*calm, 900.0]) == Estimate(1.0, 1.0, 1.0)


def test_pairs_are_compared_each_with_its_neighbour() -> None:
    # The machine is three times as slow in the second round; the ratio does not know.
    assert compare_pairs([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == Estimate(2.0, 2.0, 2.0)


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_pairs([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("value", "spanned"), [(0.9, False), (1.0, True), (1.2, True), (1.3, True), (1.31, False)])
def test_an_interval_spans_what_lies_between_its_ends(value: float, *, spanned: bool) -> None:
    assert Estimate(1.1, 1.0, 1.3).spans(value) is spanned


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 50), (95, 95), (99.5, 100), (100, 100)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 95) == 7.0


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([], 0.0),
        ([(1.0, 5.0)], 0.0),
        ([(1.0, 5.0), (1.0, 9.0)], 0.0),
        ([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 2.0),
        ([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 700.0), (4.0, 9.0), (5.0, 11.0), (6.0, 13.0)], 2.0),
    ],
)
def test_a_slope_is_the_median_over_all_pairs(points: list[tuple[float, float]], wanted: float) -> None:
    assert slope(points) == wanted


def test_growth_is_that_of_the_second_half() -> None:
    warming = [(float(second), 50.0 + second) for second in range(50)]
    flat = [(float(second), 100.0) for second in range(50, 101)]
    assert growth(warming + flat) == 0.0
    assert growth([(second, 2.0 * second) for second, _ in warming + flat]) == 100.0


@pytest.mark.parametrize("points", [[], [(0.0, 80.0)]])
def test_of_fewer_than_two_samples_there_is_no_growth(points: list[tuple[float, float]]) -> None:
    assert growth(points) == 0.0
