"""What each release answered, second by second, for an hour: requests by status code, and how long they took.

Times are kept in a histogram whose bins grow by 4 %, so that a percentile is right to 2 % however many requests there
were, and the percentiles of any period come from adding up its seconds.
"""

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

_KEPT: Final = 3600
_GROWTH: Final = math.log(1.04)
#: The upper end of the first bin, in seconds, and the highest bin, which begins at about an hour.
_SMALLEST: Final = 1e-5
_HIGHEST_BIN: Final = 503


@dataclass(frozen=True, slots=True)
class Sample:
    """How many requests there were in the step that begins at `ts`, in unix seconds."""

    ts: int
    value: int


@dataclass(frozen=True, slots=True)
class StatusSamples:
    """The requests that were answered with one status code; steps without any are left out."""

    status_code: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class LatencySample:
    """Percentiles, in milliseconds, of the requests in the step that begins at `ts`, in unix seconds."""

    ts: int
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(slots=True)
class _Second:
    statuses: Counter[int] = field(default_factory=Counter)
    bins: Counter[int] = field(default_factory=Counter)


class Traffic:
    """The counts of the last hour. Safe to use from several threads; `clock` gives unix seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[int, dict[str, _Second]] = {}

    def record(self, deployment_id: str, status: int, seconds: float) -> None:
        """Count an answer of a release that was given now, and how long it took."""
        now = math.floor(self._clock())
        with self._lock:
            if now not in self._seconds:
                self._prune(now)
            found = self._seconds.setdefault(now, {}).setdefault(deployment_id, _Second())
            found.statuses[status] += 1
            found.bins[_bin(seconds)] += 1

    def by_status(
        self, *, since: float, until: float, step: int, deployment_id: str | None = None
    ) -> tuple[StatusSamples, ...]:
        """Return the requests of each status code in steps of `step` seconds, of one release or of all.

        `since` and `until` are unix seconds; every second that they touch is counted whole, and the first step begins
        with the first of them. Raises `ValueError` when `step` is less than a second.
        """
        counts: dict[int, Counter[int]] = {}
        for start, second in self._collect(since, until, step, deployment_id):
            for status, count in second.statuses.items():
                counts.setdefault(status, Counter())[start] += count
        return tuple(
            StatusSamples(status, tuple(Sample(start, count) for start, count in sorted(steps.items())))
            for status, steps in sorted(counts.items())
        )

    def latency(
        self, *, since: float, until: float, step: int, deployment_id: str | None = None
    ) -> tuple[LatencySample, ...]:
        """Return the percentiles of each step in which there were requests; the arguments are those of `by_status`."""
        steps: dict[int, Counter[int]] = {}
        for start, second in self._collect(since, until, step, deployment_id):
            steps.setdefault(start, Counter()).update(second.bins)
        return tuple(
            LatencySample(start, *(_percentile(bins, share) for share in (0.5, 0.9, 0.95, 0.99)))
            for start, bins in sorted(steps.items())
        )

    def _collect(
        self, since: float, until: float, step: int, deployment_id: str | None
    ) -> Iterator[tuple[int, _Second]]:
        if step < 1:
            raise ValueError(f"a step of {step!r} s is too short; the least is 1")
        first, end = math.floor(since), math.ceil(until)
        oldest = math.floor(self._clock()) - _KEPT
        with self._lock:
            found = [
                (first + (second - first) // step * step, _Second(Counter(kept.statuses), Counter(kept.bins)))
                for second, releases in self._seconds.items()
                if first <= second < end and second > oldest
                for release, kept in releases.items()
                if deployment_id is None or release == deployment_id
            ]
        yield from found

    def _prune(self, now: int) -> None:
        """Make room for one more second; the number of them is bounded even when the clock is set back."""
        for second in list(self._seconds):
            if second > now - _KEPT and len(self._seconds) < _KEPT:
                break
            del self._seconds[second]


def _bin(seconds: float) -> int:
    if seconds <= _SMALLEST:
        return 0
    return min(math.ceil(math.log(seconds / _SMALLEST) / _GROWTH), _HIGHEST_BIN)


def _percentile(bins: Counter[int], share: float) -> float:
    """Return the middle, in milliseconds, of the bin that holds the smallest value not below `share` of all."""
    ordered = sorted(bins.items())
    rank = math.ceil(share * bins.total())
    reached = itertools.accumulate(count for _, count in ordered)
    number = next(number for (number, _), total in zip(ordered, reached, strict=True) if total >= rank)
    return _SMALLEST * math.exp(_GROWTH * (number - 0.5)) * 1000
