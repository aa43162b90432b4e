"""Owns what is known of the vendors: how the calls to each of them ended lately.

Nobody is called to find out. A service that calls a vendor says how it went: `CALLS.record("stripe", "ok", seconds)`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import Counter, Histogram

#: `refused` is an answer that the vendor gave on purpose, such as a declined card; `failed` is everything else.
Outcome = Literal["ok", "refused", "failed"]

#: Seconds for which a failure is told; a vendor that nobody called since then may be well again.
_MEMORY: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Last:
    failed: bool
    at: float
    reason: str


class VendorCalls:
    """Remembers how the last call of each vendor ended, and counts all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, _Last] = {}

    def record(self, vendor: str, outcome: Outcome, seconds: float = 0.0, *, reason: str = "") -> None:
        """Note a call of `vendor`, such as stripe, that took `seconds`; `reason` is for anyone to read."""
        _COUNT.labels(vendor, outcome).inc()
        _SECONDS.labels(vendor).observe(seconds)
        self._last[vendor] = _Last(outcome == "failed", self._clock(), reason)

    def find_failure(self, vendor: str) -> str | None:
        """Return why the last call of `vendor` failed, or None when it did not, or that was long ago."""
        last = self._last.get(vendor)
        if last is None or not last.failed or self._clock() - last.at > _MEMORY:
            return None
        return last.reason or "no usable answer"

    def forget(self) -> None:
        """Begin afresh, as a new process does."""
        self._last.clear()


_COUNT = Counter("maya_vendor_calls", "Calls of vendors by how they ended.", ["vendor", "outcome"])
_SECONDS = Histogram("maya_vendor_call_seconds", "How long vendors took to answer.", ["vendor"])

#: What this process knows.
CALLS = VendorCalls()
