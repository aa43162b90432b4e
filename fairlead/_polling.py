"""The deadline loop: ask again until something is so, and never longer than allowed."""

import time
from collections.abc import Callable
from typing import TypeVar

from fairlead.exceptions import DeadlineError

Value = TypeVar("Value")


def wait_until(
    probe: Callable[[float], Value | None],
    *,
    timeout: float,
    what: str,
    interval: float = 0.1,
    longest_interval: float = 1.0,
    hasten: Callable[[], bool] = lambda: False,
    hint: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Value:
    """Call `probe` until it returns something other than None, and return that.

    `probe` is given the seconds that are left, so that it can bound what it does itself. The pause between two
    calls starts at `interval` seconds and grows by half each time up to `longest_interval`; whenever `hasten` says so
    after a call, it starts anew. At least one call is made. Raises `DeadlineError` naming `what` after `timeout`
    seconds.
    """
    deadline = clock() + timeout
    pause = interval
    while True:
        remaining = deadline - clock()
        found = probe(max(remaining, 0.0))
        if found is not None:
            return found
        remaining = deadline - clock()
        if remaining <= 0:
            message = f"waited {timeout:g} s for {what}, in vain"
            raise DeadlineError(message, hint=hint)
        if hasten():
            pause = interval
        sleep(min(pause, remaining))
        pause = min(pause * 1.5, longest_interval)
