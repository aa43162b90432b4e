import pytest

from app.services.counting import Counts, ProcessStorage
from app.services.throttle import FailureThrottle

pytestmark = pytest.mark.anyio


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return FailureThrottle(Counts(own=ProcessStorage(capacity=2, now=clock), now=clock), limit=3, window=60)


async def fail(throttle, key, times):
    return [await throttle.count(key) for _ in range(times)]


async def test_failures_up_to_the_limit_do_not_wait(throttle):
    assert await fail(throttle, "a", 3) == [0, 0, 0]


async def test_the_limit_waits_for_the_oldest_failure_to_leave_the_window(throttle, clock):
    await fail(throttle, "a", 1)
    clock.now += 20
    await fail(throttle, "a", 2)

    assert await throttle.count("a") == 40
    clock.now += 39.5
    assert await throttle.count("a") == 1
    clock.now += 0.5
    assert await throttle.count("a") == 0
    assert await throttle.count("a") == 20


async def test_waiting_attempts_do_not_make_the_wait_longer(throttle, clock):
    assert await fail(throttle, "a", 6) == [0, 0, 0, 60, 60, 60]
    clock.now += 60

    assert await throttle.count("a") == 0


async def test_keys_are_counted_apart(throttle):
    await fail(throttle, "a", 3)

    assert await throttle.count("a") == 60
    assert await throttle.count("b") == 0


async def test_a_success_starts_afresh(throttle):
    await fail(throttle, "a", 3)
    await throttle.forget("a")

    assert await throttle.count("a") == 0


async def test_memory_is_bounded_by_dropping_the_key_used_least_recently(throttle):
    await fail(throttle, "a", 2)
    await fail(throttle, "b", 3)
    await fail(throttle, "a", 1)
    await fail(throttle, "c", 1)

    assert await throttle.count("a") > 0
    assert await throttle.count("b") == 0


async def test_a_key_that_no_encoding_can_carry_is_counted(throttle):
    assert await fail(throttle, "\ud800", 4) == [0, 0, 0, 60]
