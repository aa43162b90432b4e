"""The deadline loop, with a clock and a sleep that only this test moves."""

import itertools

import pytest

from fairlead._polling import wait_until
from fairlead.exceptions import DeadlineError


class Time:
    """A clock that moves when something sleeps, and remembers every pause."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.now += seconds


def test_first_answer_is_returned_without_a_pause() -> None:
    time = Time()
    assert wait_until(lambda _: "up", timeout=5, what="it", clock=time.clock, sleep=time.sleep) == "up"
    assert time.pauses == []


@pytest.mark.parametrize("found", [0, False, "", ()])
def test_any_answer_but_none_ends_the_wait(found: object) -> None:
    time = Time()
    assert wait_until(lambda _: found, timeout=5, what="it", clock=time.clock, sleep=time.sleep) is found


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_at_least_one_call_is_made_when_no_time_is_given(timeout: float) -> None:
    time = Time()
    assert wait_until(lambda left: ("left", left), timeout=timeout, what="it", clock=time.clock) == ("left", 0.0)


def test_pauses_grow_by_half_up_to_the_longest_and_end_at_the_deadline() -> None:
    time = Time()
    with pytest.raises(DeadlineError):
        wait_until(
            lambda _: None,
            timeout=5,
            what="it",
            interval=0.4,
            longest_interval=1.0,
            clock=time.clock,
            sleep=time.sleep,
        )
    assert time.pauses[:4] == pytest.approx([0.4, 0.6, 0.9, 1.0])
    assert max(time.pauses) == pytest.approx(1.0)
    assert sum(time.pauses) == pytest.approx(5.0)


def test_pauses_start_anew_whenever_there_is_haste() -> None:
    time = Time()
    calls = itertools.chain([False, False, True, True], itertools.repeat(False))
    with pytest.raises(DeadlineError):
        wait_until(
            lambda _: None,
            timeout=2.0,
            what="it",
            interval=0.2,
            longest_interval=1.0,
            hasten=lambda: next(calls),
            clock=time.clock,
            sleep=time.sleep,
        )
    assert time.pauses[:6] == pytest.approx([0.2, 0.3, 0.2, 0.2, 0.3, 0.45])


def test_probe_is_called_once_more_after_the_last_pause() -> None:
    time = Time()
    found = wait_until(
        lambda left: "just in time" if left == 0 else None, timeout=3, what="it", clock=time.clock, sleep=time.sleep
    )
    assert found == "just in time"


def test_remaining_time_only_shrinks_and_is_never_negative() -> None:
    time = Time()
    seen: list[float] = []

    def slow_probe(left: float) -> None:
        seen.append(left)
        time.now += 0.7

    with pytest.raises(DeadlineError):
        wait_until(slow_probe, timeout=2, what="it", clock=time.clock, sleep=time.sleep)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 2
    assert min(seen) >= 0


def test_probe_that_overruns_the_deadline_is_not_asked_again() -> None:
    time = Time()
    calls: list[float] = []

    def hanging_probe(left: float) -> None:
        calls.append(left)
        time.now += 60

    with pytest.raises(DeadlineError):
        wait_until(hanging_probe, timeout=2, what="it", clock=time.clock, sleep=time.sleep)
    assert len(calls) == 1
    assert time.pauses == []


def test_deadline_error_names_what_was_waited_for_and_passes_the_hint() -> None:
    time = Time()
    with pytest.raises(DeadlineError) as caught:
        wait_until(
            lambda _: None,
            timeout=90,
            what="http://x to answer",
            hint="read the log",
            clock=time.clock,
            sleep=time.sleep,
        )
    assert str(caught.value) == "waited 90 s for http://x to answer, in vain"
    assert caught.value.hint == "read the log"


def test_probe_error_ends_the_wait_at_once() -> None:
    time = Time()

    def broken(left: float) -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        wait_until(broken, timeout=5, what="it", clock=time.clock, sleep=time.sleep)
    assert time.pauses == []
