"""What releases answered, counted by the second."""

import random
import threading

import pytest

from fairlead.localplatform.traffic import LatencySample, Sample, StatusSamples, Traffic


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def ask(traffic: Traffic, *, since: float = 0, until: float = 2e6, deployment_id: str | None = None) -> dict[int, int]:
    found = traffic.by_status(since=since, until=until, step=10**7, deployment_id=deployment_id)
    return {each.status_code: each.samples[0].value for each in found}


def test_requests_are_counted_by_status_in_steps_that_begin_with_the_period() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for second, status in [(0.0, 200), (4.9, 200), (5.0, 200), (7.5, 500), (20.0, 404)]:
        clock.now = 1_000_000.0 + second
        traffic.record("one", status, 0.1)
    assert traffic.by_status(since=1_000_000.0, until=1_000_020.0, step=5) == (
        StatusSamples(200, (Sample(1_000_000, 2), Sample(1_000_005, 1))),
        StatusSamples(500, (Sample(1_000_005, 1),)),
    )


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (1_000_000, 1_000_001, {200: 1}),
        (1_000_000.9, 1_000_001, {200: 1}),
        (1_000_000, 1_000_000.1, {200: 1}),
        (999_999, 1_000_000, {}),
        (1_000_001, 1_000_002, {}),
        (1_000_001, 1_000_000, {}),
    ],
)
def test_seconds_that_the_period_touches_count_whole(since: float, until: float, found: dict[int, int]) -> None:
    clock = Clock(1_000_000.5)
    traffic = Traffic(clock=clock)
    traffic.record("one", 200, 0.1)
    assert ask(traffic, since=since, until=until) == found


def test_releases_are_told_apart_and_counted_together() -> None:
    traffic = Traffic(clock=Clock())
    traffic.record("one", 200, 0.1)
    traffic.record("two", 200, 0.1)
    traffic.record("two", 502, 9.0)
    assert ask(traffic) == {200: 2, 502: 1}
    assert ask(traffic, deployment_id="two") == {200: 1, 502: 1}
    assert ask(traffic, deployment_id="three") == {}
    assert traffic.latency(since=0, until=2e6, step=10, deployment_id="three") == ()


def test_percentiles_are_right_to_two_per_cent() -> None:
    chance = random.Random(4)  # noqa: S311 - a sample is no secret
    traffic = Traffic(clock=Clock())
    times = [chance.lognormvariate(-3.0, 1.2) for _ in range(5000)]
    for seconds in times:
        traffic.record("one", 200, seconds)
    (found,) = traffic.latency(since=1_000_000, until=1_000_001, step=1)
    ordered = sorted(times)
    for got, share in [(found.p50, 0.5), (found.p90, 0.9), (found.p95, 0.95), (found.p99, 0.99)]:
        assert got == pytest.approx(ordered[int(share * 5000) - 1] * 1000, rel=0.02)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-5, 0.001, 1.0, 3000.0, 1e9])
def test_every_time_has_a_bin(seconds: float) -> None:
    traffic = Traffic(clock=Clock())
    traffic.record("one", 200, seconds)
    ((ts, p50, p90, p95, p99),) = (
        (each.ts, each.p50, each.p90, each.p95, each.p99)
        for each in traffic.latency(since=1_000_000, until=1_000_001, step=60)
    )
    assert ts == 1_000_000
    assert p50 == p90 == p95 == p99
    assert p50 == pytest.approx(min(max(seconds, 1e-5), 3620) * 1000, rel=0.02)


def test_percentiles_of_a_step_come_from_all_of_its_seconds() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for number in range(100):
        clock.now = 1_000_000.0 + number % 10
        traffic.record("one", 200, 0.010 if number < 94 else 1.0)
    (found,) = traffic.latency(since=1_000_000, until=1_000_010, step=10)
    assert found.p90 == pytest.approx(10, rel=0.02)
    assert found.p95 == pytest.approx(1000, rel=0.02)
    assert isinstance(found, LatencySample)


@pytest.mark.parametrize(("slow", "p50", "p90"), [(5, 10, 1000), (6, 1000, 1000), (1, 10, 10), (2, 10, 1000)])
def test_percentile_is_the_smallest_value_that_reaches_its_share(slow: int, p50: float, p90: float) -> None:
    traffic = Traffic(clock=Clock())
    for number in range(10):
        traffic.record("one", 200, 1.0 if number < slow else 0.010)
    (found,) = traffic.latency(since=1_000_000, until=1_000_010, step=10)
    assert (found.p50, found.p90) == pytest.approx((p50, p90), rel=0.02)


def test_an_hour_is_kept_and_no_more() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for second in range(0, 7200, 2):
        clock.now = 1_000_000.0 + second
        traffic.record(f"release {second}", 200, 0.1)
    assert ask(traffic) == {200: 1800}
    clock.now += 3600
    assert ask(traffic) == {}


def test_clock_that_is_set_back_neither_loses_what_comes_nor_keeps_without_bound() -> None:
    clock = Clock()
    traffic = Traffic(clock=clock)
    for second in range(3000):
        clock.now = 1_000_000.0 + second
        traffic.record("one", 200, 0.1)
    for second in range(3000):
        clock.now = 990_000.0 + second
        traffic.record("one", 404, 0.1)
    assert ask(traffic, since=990_000, until=993_000) == {404: 3000}
    assert sum(ask(traffic).values()) == 3600


@pytest.mark.parametrize("step", [0, -5])
def test_step_of_no_time_is_refused(step: int) -> None:
    traffic = Traffic(clock=Clock())
    with pytest.raises(ValueError, match="too short"):
        traffic.by_status(since=0, until=1, step=step)
    with pytest.raises(ValueError, match="too short"):
        traffic.latency(since=0, until=1, step=step)


def test_readers_and_writers_do_not_disturb_each_other() -> None:
    traffic = Traffic()
    faults: list[Exception] = []

    def write(name: str) -> None:
        try:
            for number in range(2000):
                traffic.record(name, 200 + number % 7, number / 1000)
                if number % 50 == 0:
                    traffic.latency(since=0, until=2**40, step=60)
                    traffic.by_status(since=0, until=2**40, step=60)
        except Exception as error:  # noqa: BLE001 - a thread's exception would otherwise be lost
            faults.append(error)

    threads = [threading.Thread(target=write, args=(f"release {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert sum(ask(traffic, until=2**40).values()) == 8000
