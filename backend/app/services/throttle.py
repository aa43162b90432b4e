"""Owns the limit on failed logins: so many within a window, counted in this process."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable


class FailureThrottle:
    """Counts failures by key within a sliding window. Keys beyond `capacity` push out those used least recently."""

    def __init__(
        self, *, limit: int, window: float, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Allow `limit` failures of one key within `window` seconds."""
        self._limit = limit
        self._window = window
        self._capacity = capacity
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def retry_after(self, key: str) -> int:
        """Return the whole seconds until `key` may try again; 0 when it may now."""
        failures = self._recent(key)
        if len(failures) < self._limit:
            return 0
        return max(1, math.ceil(failures[-self._limit] + self._window - self._clock()))

    def record_failure(self, key: str) -> None:
        """Count one failure of `key`."""
        failures = self._recent(key)
        failures.append(self._clock())
        self._failures[key] = failures
        self._failures.move_to_end(key)
        while len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        """Start `key` afresh, after a success."""
        self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        failures = self._failures.get(key, deque())
        oldest = self._clock() - self._window
        while failures and failures[0] <= oldest:
            failures.popleft()
        return failures
