import pytest

from app.services.throttle import FailureThrottle


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return FailureThrottle(limit=3, window=60, capacity=2, clock=clock)


def fail(throttle, key, times):
    for _ in range(times):
        throttle.record_failure(key)


def test_failures_below_the_limit_do_not_wait(throttle):
    fail(throttle, "a", 2)

    assert throttle.retry_after("a") == 0


def test_the_limit_waits_for_the_oldest_failure_to_leave_the_window(throttle, clock):
    fail(throttle, "a", 1)
    clock.now += 20
    fail(throttle, "a", 2)

    assert throttle.retry_after("a") == 40
    clock.now += 39.5
    assert throttle.retry_after("a") == 1
    clock.now += 0.5
    assert throttle.retry_after("a") == 0


def test_keys_are_counted_apart(throttle):
    fail(throttle, "a", 3)

    assert throttle.retry_after("a") == 60
    assert throttle.retry_after("b") == 0


def test_a_success_starts_afresh(throttle):
    fail(throttle, "a", 3)
    throttle.forget("a")

    assert throttle.retry_after("a") == 0


def test_memory_is_bounded_by_dropping_the_key_used_least_recently(throttle):
    fail(throttle, "a", 3)
    fail(throttle, "b", 3)
    fail(throttle, "a", 1)
    fail(throttle, "c", 3)

    assert [throttle.retry_after(key) > 0 for key in "abc"] == [True, False, True]
