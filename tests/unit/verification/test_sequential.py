"""The arithmetic of error counts, against its definitions written out."""

import math

import pytest

from fairlead.verification._sequential import Count, Tally, chance_of_at_least, weigh_rate, weigh_ratio


def binomial(count: int, successes: int, chance: float) -> float:
    return math.comb(count, successes) * chance**successes * (1 - chance) ** (count - successes)


@pytest.mark.parametrize(
    ("new", "before"),
    [
        (Count(100, 5), Count(1000, 2)),
        (Count(100, 0), Count(1000, 20)),
        (Count(1000, 9), Count(100, 0)),
        (Count(5, 5), Count(5, 5)),
        (Count(7, 0), Count(9, 0)),
    ],
)
def test_ratio_is_weighed_as_the_binomial_share_of_all_errors(new: Count, before: Count) -> None:
    errors, ratio = int(new.errors + before.errors), 5
    equal = new.requests / (new.requests + before.requests)
    unequal = ratio * new.requests / (ratio * new.requests + before.requests)
    likelihoods = [binomial(errors, int(new.errors), share) for share in (unequal, equal)]
    assert weigh_ratio(new, before, ratio=ratio) == pytest.approx(math.log(likelihoods[0] / likelihoods[1]))


@pytest.mark.parametrize(("new", "before"), [(Count(0, 0), Count(10, 1)), (Count(10, 1), Count(0, 0))])
def test_ratio_says_nothing_where_one_was_not_asked(new: Count, before: Count) -> None:
    assert weigh_ratio(new, before, ratio=5) == 0


def test_rate_is_weighed_as_poisson_counts() -> None:
    def poisson(mean: float) -> float:
        return mean**3 * math.exp(-mean) / math.factorial(3)

    expected = math.log(poisson(1000 * 0.01) / poisson(1000 * 0.002))
    assert weigh_rate(Count(1000, 3), rate=0.002, ratio=5) == pytest.approx(expected)


@pytest.mark.parametrize("requests", [1, 10, 60])
@pytest.mark.parametrize("rate", [0.001, 0.05, 0.3, 0.9])
def test_chance_is_the_sum_of_the_binomial_tail(requests: int, rate: float) -> None:
    for errors in range(requests + 1):
        if errors > requests * rate:
            exact = sum(binomial(requests, number, rate) for number in range(errors, requests + 1))
            assert chance_of_at_least(Count(requests, errors), rate=rate) == pytest.approx(exact)
        else:
            assert chance_of_at_least(Count(requests, errors), rate=rate) == 1


@pytest.mark.parametrize(
    ("count", "rate", "chance"),
    [
        (Count(0, 0), 0.1, 1),
        (Count(10, 1), 0, 0),
        (Count(10, 10), 1, 1),
        (Count(2, 3), 0.1, 0),
        (Count(10.9, 1.9), 0.05, 1 - 0.95**10),
        (Count(1_000_000, 60_000), 0.05, 0),
        (Count(1_000_000, 40_000), 0.05, 1),
    ],
)
def test_chance_at_the_edges(count: Count, rate: float, chance: float) -> None:
    assert chance_of_at_least(count, rate=rate) == pytest.approx(chance, abs=1e-12)


def tally(*windows: tuple[int, int]) -> Tally:
    added = Tally(longest=500, part=200)
    for requests, errors in windows:
        added.add(Count(requests, errors))
    return added


@pytest.mark.parametrize(
    ("windows", "rest"),
    [
        ((), Count(0, 0)),
        (((100, 0), (0, 0)), Count(100, 0)),
        (((100, 1), (50, 9), (100, 2)), Count(200, 3)),
        (((100, 1), (500, 9)), Count(100, 1)),
        (((1000, 50),), Count(800, 40)),
    ],
)
def test_rest_is_all_but_the_worst_burst(windows: tuple[tuple[int, int], ...], rest: Count) -> None:
    assert tally(*windows).rest == rest


def test_dispersion_is_pearsons_statistic_over_its_degrees_of_freedom() -> None:
    windows = ((100, 1), (200, 9), (100, 0))
    rate = 10 / 400
    pearson = sum((errors - requests * rate) ** 2 / (requests * rate) for requests, errors in windows)
    assert tally(*windows).measure_dispersion(expected=1, weight=0.001) == pytest.approx(pearson / 2, rel=0.01)
    assert tally(*windows).measure_dispersion(expected=4, weight=3) == pytest.approx((pearson + 12) / 5)


@pytest.mark.parametrize(
    ("windows", "dispersion"),
    [((), 3), (((100, 1),), 3), (((0, 0), (100, 1)), 3), (((100, 0),) * 5, 10 / 6), (((100, 2),) * 50, 1)],
)
def test_dispersion_is_as_expected_until_windows_show_it(
    windows: tuple[tuple[int, int], ...], dispersion: float
) -> None:
    assert tally(*windows).measure_dispersion(expected=3, weight=2) == pytest.approx(dispersion)
