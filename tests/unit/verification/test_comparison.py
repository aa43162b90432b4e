"""The comparison: tables of windows and the verdict, the reason and the figures that they deserve."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fairlead.verification import Comparison, Judgement, Verdict, Window

CLEAN = Window(500, 0, 0.200)
SOME = Window(500, 1, 0.200)
GOOD = Window(100, 0, 0.200)
BAD = Window(100, 5, 0.200)
BROKEN = Window(10, 10, 0.010)
SLOW = Window(100, 0, 0.260)
IDLE = Window(0, 0)
QUIET = Window(29, 0, 0.200)


def judge(baseline: Sequence[Window], windows: Sequence[Window]) -> Judgement:
    comparison = Comparison(baseline)
    for window in windows:
        comparison.add(window)
    return comparison.conclude()


@pytest.mark.parametrize(
    ("baseline", "windows", "verdict", "reason"),
    [
        ([CLEAN] * 20, [GOOD] * 20, Verdict.HEALTHY, "0.00% of 2000 requests failed (before: 0.00% of 10000); 95 %"),
        ([SOME] * 20, [GOOD] * 20, Verdict.HEALTHY, "at most 0.200 s in 20 windows (before: 0.200 s in 20)"),
        ([CLEAN] * 20, [BAD] * 5, Verdict.UNHEALTHY, "failed (before: 0.00% of 10000): too many more to be chance"),
        ([SOME] * 20, [BAD] * 5, Verdict.UNHEALTHY, "5.00% of 300 requests failed (before: 0.20% of 10000)"),
        ([CLEAN] * 20, [BROKEN] * 2, Verdict.UNHEALTHY, "100.00% of 20 requests failed"),
        ([], [BROKEN] * 10, Verdict.UNHEALTHY, "failed: more than the 5.0% at which any release is stopped"),
        ([SOME] * 20, [SLOW] * 10, Verdict.UNHEALTHY, "(before: 0.200 s in 20): slower by more than 10%"),
        # Not enough to tell: held.
        ([], [], Verdict.INCONCLUSIVE, "nothing was asked of the new release"),
        ([CLEAN] * 20, [], Verdict.INCONCLUSIVE, "nothing was asked of the new release"),
        ([CLEAN] * 20, [IDLE] * 20, Verdict.INCONCLUSIVE, "nothing was asked of the new release"),
        ([], [GOOD] * 20, Verdict.INCONCLUSIVE, "nothing was asked of the release before"),
        ([IDLE] * 20, [GOOD] * 20, Verdict.INCONCLUSIVE, "nothing was asked of the release before"),
        ([CLEAN] * 20, [GOOD], Verdict.INCONCLUSIVE, "0.00% of 100 requests failed (before: 0.00% of 10000): too litt"),
        ([CLEAN] * 20, [QUIET] * 90, Verdict.INCONCLUSIVE, "hold 30 requests to judge latency (0, and 20 before; 6 of"),
        (
            [CLEAN] * 5,
            [GOOD] * 20,
            Verdict.INCONCLUSIVE,
            "too few windows hold 30 requests to judge latency (20, and 5",
        ),
        ([replace(CLEAN, p95=None)] * 20, [GOOD] * 20, Verdict.INCONCLUSIVE, "to judge latency (20, and 0 before"),
        ([CLEAN] * 6, [SLOW, GOOD] * 5, Verdict.INCONCLUSIVE, "0.230 s in 10 windows (before: 0.200 s in 6): slower, "),
        # What alone is no reason to roll back: a few errors of few, one burst, what was as bad before.
        ([CLEAN] * 20, [Window(3, 1)], Verdict.INCONCLUSIVE, "33.33% of 3 requests failed"),
        ([], [Window(3, 3)] * 2, Verdict.INCONCLUSIVE, "100.00% of 6 requests failed"),
        ([CLEAN] * 20, [BROKEN], Verdict.INCONCLUSIVE, "100.00% of 10 requests failed"),
        ([CLEAN] * 20, [GOOD, Window(100, 60, 0.2), GOOD], Verdict.INCONCLUSIVE, "20.00% of 300 requests failed"),
        ([Window(500, 50, 0.2)] * 20, [Window(100, 10, 0.2)] * 20, Verdict.HEALTHY, "10.00% of 2000 requests failed"),
        ([Window(500, 50, 0.2)] * 20, [Window(100, 6, 0.2)] * 20, Verdict.HEALTHY, "6.00% of 2000 requests failed"),
        # A margin of a tenth, and of five milliseconds.
        ([SOME] * 20, [replace(GOOD, p95=0.219)] * 20, Verdict.HEALTHY, "0.219 s"),
        ([replace(SOME, p95=0.002)] * 20, [replace(GOOD, p95=0.006)] * 20, Verdict.HEALTHY, "0.006 s"),
        ([replace(SOME, p95=0.002)] * 20, [replace(GOOD, p95=0.008)] * 20, Verdict.UNHEALTHY, "slower"),
        ([SOME] * 20, [replace(GOOD, p95=0.05)] * 20, Verdict.HEALTHY, "0.050 s"),
    ],
)
def test_verdict_follows_from_the_windows(
    baseline: list[Window], windows: list[Window], verdict: Verdict, reason: str
) -> None:
    judgement = judge(baseline, windows)
    assert (judgement.verdict, reason in judgement.reason) == (verdict, True), judgement.reason


def test_beyond_the_limit_only_a_release_that_fails_more_often_than_the_one_before_is_stopped() -> None:
    assert judge([Window(500, 50, 0.2)] * 20, [Window(100, 25, 0.2)] * 6).verdict is Verdict.UNHEALTHY
    assert judge([Window(500, 50, 0.2)] * 20, [Window(100, 11, 0.2)] * 20).verdict is Verdict.HEALTHY


def test_release_is_condemned_within_five_hundred_requests_and_stays_so() -> None:
    comparison = Comparison([CLEAN] * 20)
    judgements = [comparison.add(BAD) for _ in range(5)]
    condemned = next(one for one in judgements if one.verdict is Verdict.UNHEALTHY)
    assert condemned.requests <= 500
    assert {comparison.add(GOOD) for _ in range(50)} == {condemned}
    assert comparison.conclude() is condemned


def test_release_that_begins_to_fail_late_is_condemned_although_it_was_healthy() -> None:
    comparison = Comparison([CLEAN] * 20)
    assert [comparison.add(GOOD).verdict for _ in range(15)][-1] is Verdict.HEALTHY
    verdicts = [comparison.add(BAD).verdict for _ in range(10)]
    assert Verdict.UNHEALTHY in verdicts[:8]


def test_judgement_holds_the_figures_of_both_releases() -> None:
    judgement = judge([SOME, replace(SOME, p95=0.3), replace(SOME, p95=0.1)], [Window(200, 1, 0.25), IDLE])
    assert (judgement.requests, judgement.requests_before) == (200, 1500)
    assert (judgement.error_rate, judgement.error_rate_before) == (0.005, 0.002)
    assert (judgement.p95, judgement.p95_before) == (0.25, 0.2)


def test_judgement_of_nothing_has_no_figures() -> None:
    judgement = Comparison([]).conclude()
    assert (judgement.requests, judgement.requests_before) == (0, 0)
    found = judgement.error_rate, judgement.error_rate_before, judgement.p95, judgement.p95_before
    assert set(found) == {None}


def test_release_beside_counts_as_the_one_before() -> None:
    comparison = Comparison([])
    for _ in range(20):
        judgement = comparison.add(GOOD, beside=SOME)
    assert judgement.verdict is Verdict.HEALTHY
    assert judgement.requests_before == 10_000


def test_errors_that_the_release_beside_has_too_condemn_nobody() -> None:
    alone, together = Comparison([CLEAN] * 20), Comparison([CLEAN] * 20)
    outage = Window(100, 8, 0.2)
    assert Verdict.UNHEALTHY in {alone.add(outage).verdict for _ in range(10)}
    assert Verdict.UNHEALTHY not in {together.add(outage, beside=Window(900, 72, 0.2)).verdict for _ in range(10)}


@pytest.mark.parametrize(
    ("options", "windows", "verdict"),
    [
        ({}, [Window(500, 2, 0.2)] * 10, Verdict.HEALTHY),
        ({"ratio": 2.0}, [Window(500, 4, 0.2)] * 10, Verdict.UNHEALTHY),
        ({"ratio": 20.0}, [Window(500, 4, 0.2)] * 10, Verdict.HEALTHY),
        ({"margin": 0.5}, [SLOW] * 10, Verdict.HEALTHY),
        ({"limit": 0.01, "ratio": 100.0}, [Window(500, 8, 0.2)] * 10, Verdict.UNHEALTHY),
    ],
)
def test_ratio_limit_and_margin_can_be_set(options: dict[str, float], windows: list[Window], verdict: Verdict) -> None:
    comparison = Comparison([SOME] * 20, **options)
    for window in windows:
        judgement = comparison.add(window)
    assert judgement.verdict is verdict, judgement.reason


@pytest.mark.parametrize(("before", "after"), [(5, 400), (30, 400), (400, 30)])
def test_windows_of_other_sizes_are_not_slower_for_their_size(before: int, after: int) -> None:
    chance = random.Random(1)  # noqa: S311 - a simulation, to be had again

    def window(requests: int) -> Window:
        taken = sorted(0.1 * math.exp(chance.gauss(0, 1)) for _ in range(requests))
        return Window(requests, 0, taken[math.ceil(0.95 * requests) - 1])

    for _ in range(5):
        judgement = judge([window(before) for _ in range(30)], [window(after) for _ in range(30)])
        assert judgement.verdict is not Verdict.UNHEALTHY, judgement.reason


@pytest.mark.parametrize(
    ("requests", "errors", "p95"), [(-1, 0, None), (1, 2, None), (1, -1, None), (1, 0, -0.1), (1, 0, float("nan"))]
)
def test_window_that_cannot_be_is_refused(requests: int, errors: int, p95: float | None) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Window(requests, errors, p95)


@pytest.mark.parametrize("options", [{"ratio": 1}, {"limit": 0}, {"limit": 1}, {"margin": -0.1}])
def test_comparison_without_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Comparison([], **options)
