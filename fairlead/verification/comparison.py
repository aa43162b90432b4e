"""Compares what a new release answers with what the one before did: worse, no worse, or not enough seen to tell.

Errors: a sequential test of "as many as before" against "`ratio` times as many" (A. Wald, 1945), on the share that the
new release has in all the errors (J. Przyborowski and H. Wilenski, 1940), so that no rate needs to be known and the one
before may be 0. A release that hardly fails can be found good where little failed before, which leaves no share to
compare: then it is held against an earlier rate of `_USUAL`. Beyond `limit` a release is stopped whatever is known of
the one before, unless that one was as bad.

Errors come in bursts, and a burst is no bad release. So a release is condemned only when it mostly would be without its
worst burst too, and errors that come in clusters weigh less: evidence is divided by the dispersion of the windows.

Latency: the rank test of H. Mann and D. Whitney (1947) on the 95th percentiles of windows, those before raised by
`margin` (and by `_LEAST` where that is more), corrected for windows that resemble their neighbours.

The constants are chosen by simulation: tests/unit/verification/test_comparison_simulation.py keeps what they must do,
benchmarks/judge.py prints it at length. To find five times as many errors as 0.2 % within 5,000 requests takes 10,000
requests of the release before; to find within 500 requests and one interval that 5 % fail where none did takes 4,000;
to find a latency 30 % longer takes about 30 windows of each. Choose intervals in which at most 500 requests come: a
longer window must tell of 5 % errors by itself, so a burst of 20 % that fills a quarter of it is condemned too.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.verification._rank import measure_lead
from fairlead.verification._sequential import Count, Tally, chance_of_at_least, weigh_rate, weigh_ratio
from fairlead.verification.judge import Verdict

#: Wald's boundaries: the log-likelihood ratios from which on a release counts as worse, and down to which as no worse.
_WORSE: Final = 6.0
_NO_WORSE: Final = -4.6
#: The share of errors before that is assumed for a release that hardly fails.
_USUAL: Final = 0.002
#: A window of so many requests may be one burst, so many of a longer one, and so much of the evidence must be left
#: without the worst. Where a window is longer than the first, it alone must tell of 5 % errors, hence the second.
_LONGEST_BURST: Final = 500
_BURST: Final = 200
_WITHOUT_BURST: Final = 0.6
#: The dispersion that a new release is taken to have, for as many windows as the weight says.
_DISPERSION: Final = 3.0
_DISPERSION_WEIGHT: Final = 2.0
#: A stop takes so many requests, and errors that are so unlikely where half of the limit fails.
_FEWEST_TO_STOP: Final = 50
_STOP_CHANCE: Final = 0.001
#: Latency takes so many windows of each release with so many requests: fewer hold no 95th percentile.
_FEWEST_WINDOWS: Final = 6
_FEWEST_IN_WINDOW: Final = 30
#: The standard deviations by which a new release is slower, and the seconds that are never called slower.
_SLOWER: Final = 2.6
_LEAST: Final = 0.005


@dataclass(frozen=True, slots=True)
class Window:
    """What one release answered in one interval.

    `errors` are the answers with a status of 500 or above; `p95` is in seconds, None where it is not known.
    """

    requests: int
    errors: int
    p95: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            raise ValueError(f"{self.errors} errors of {self.requests} requests cannot be")
        if self.p95 is not None and not 0 <= self.p95 < math.inf:
            raise ValueError(f"a latency of {self.p95} s cannot be")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the sentence that explains it with its figures, and the figures of both releases.

    Rates are shares of the requests, None where nothing was asked; latencies are the medians, in seconds, of the 95th
    percentiles of the windows that were judged, None where there was none.
    """

    verdict: Verdict
    reason: str
    requests: int
    requests_before: int
    error_rate: float | None
    error_rate_before: float | None
    p95: float | None
    p95_before: float | None


class Comparison:
    """Judges a new release by its windows, added one by one, against those of the release before.

    `baseline` is what the release before answered while it served alone; `ratio` is how many times as many errors are
    too many, `limit` the share that always is, and `margin` the share by which latency may grow.
    """

    def __init__(
        self, baseline: Sequence[Window], *, ratio: float = 5.0, limit: float = 0.05, margin: float = 0.10
    ) -> None:
        if ratio <= 1 or not 0 < limit < 1 or margin < 0:
            raise ValueError("ratio must be above 1, limit between 0 and 1, margin at least 0")
        self._ratio, self._limit, self._margin = ratio, limit, margin
        self._new, self._before = _Record(), _Record()
        self._condemned: Judgement | None = None
        for window in baseline:
            self._before.add(window)

    def add(self, window: Window, *, beside: Window | None = None) -> Judgement:
        """Judge again with one more window of the new release; the first time that it is unhealthy is the last word.

        `beside` is what the release before answered in the same interval, where both serve.
        """
        self._new.add(window)
        if beside is not None:
            self._before.add(beside)
        judgement = self.conclude()
        if judgement.verdict is Verdict.UNHEALTHY:
            self._condemned = judgement
        return judgement

    def conclude(self) -> Judgement:
        """Judge all that was added: inconclusive, which is never healthy, where it was not enough to tell."""
        if self._condemned is not None:
            return self._condemned
        if problem := self._find_errors() or self._find_latency():
            return self._say(Verdict.UNHEALTHY, problem)
        if doubt := self._doubt_errors() or self._doubt_latency():
            return self._say(Verdict.INCONCLUSIVE, doubt)
        return self._say(Verdict.HEALTHY, f"{self._tell_errors()}; {self._tell_latency()}")

    @property
    def _dispersion(self) -> float:
        before = self._before.tally.measure_dispersion(expected=1, weight=3)
        return max(before, self._new.tally.measure_dispersion(expected=_DISPERSION, weight=_DISPERSION_WEIGHT))

    def _find_errors(self) -> str | None:
        """Say how its errors make the new release worse, if they do."""
        new, before, dispersion = self._new.tally, self._before.tally.total, self._dispersion
        needed = _WORSE * dispersion
        if (
            weigh_ratio(new.total, before, ratio=self._ratio) >= needed
            and weigh_ratio(new.rest, before, ratio=self._ratio) >= needed * _WITHOUT_BURST
        ):
            return f"{self._tell_errors()}: too many more to be chance"
        if self._is_beyond_limit(new.total, dispersion) and self._is_beyond_limit(new.rest, dispersion):
            return f"{self._tell_errors()}: more than the {self._limit:.1%} at which any release is stopped"
        return None

    def _is_beyond_limit(self, new: Count, dispersion: float) -> bool:
        if new.requests < _FEWEST_TO_STOP or new.rate <= self._limit:
            return False
        if chance_of_at_least(new / dispersion, rate=self._limit / 2) > _STOP_CHANCE:
            return False
        before = self._before.tally.total
        if before.rate <= self._limit / 2:
            return True
        # The release before fails as well: this one is stopped only where it fails more often.
        both = Count(new.errors + before.errors, new.errors)
        return (
            chance_of_at_least(both / dispersion, rate=new.requests / (new.requests + before.requests)) <= _STOP_CHANCE
        )

    def _doubt_errors(self) -> str | None:
        """Say why its errors do not yet show the new release to be good, if they do not."""
        new, before = self._new.tally.total, self._before.tally.total
        if not new.requests:
            return "nothing was asked of the new release"
        if not before.requests:
            return f"{self._tell_errors()}, and nothing was asked of the release before, so nothing is to compare with"
        needed = _NO_WORSE * self._dispersion
        if min(weigh_ratio(new, before, ratio=self._ratio), weigh_rate(new, rate=_USUAL, ratio=self._ratio)) > needed:
            return f"{self._tell_errors()}: too little to tell whether that is more"
        return None

    def _find_latency(self) -> str | None:
        """Say how its latency makes the new release worse, if it does."""
        new, before = self._new.latencies, self._before.latencies
        if min(len(new), len(before)) < _FEWEST_WINDOWS:
            return None
        if measure_lead(new, [self._allow(one) for one in before]) < _SLOWER:
            return None
        return f"{self._tell_latency()}: slower by more than {self._margin:.0%}"

    def _doubt_latency(self) -> str | None:
        """Say why its latency does not yet show the new release to be good, if it does not."""
        new, before = self._new.latencies, self._before.latencies
        if min(len(new), len(before)) < _FEWEST_WINDOWS:
            return (
                f"{self._tell_errors()}, but too few windows hold {_FEWEST_IN_WINDOW} requests to judge latency"
                f" ({len(new)}, and {len(before)} before; {_FEWEST_WINDOWS} of each are needed)"
            )
        if statistics.median(new) > self._allow(statistics.median(before)):
            return f"{self._tell_latency()}: slower, but that may be chance"
        return None

    def _allow(self, seconds: float) -> float:
        """Return the longest latency that is as good as one before of `seconds`."""
        return max(seconds * (1 + self._margin), seconds + _LEAST)

    def _tell_errors(self) -> str:
        new, before = self._new.tally.total, self._before.tally.total
        told = f"{new.rate:.2%} of {new.requests:.0f} requests failed"
        return f"{told} (before: {before.rate:.2%} of {before.requests:.0f})" if before.requests else told

    def _tell_latency(self) -> str:
        new, before = self._new.latencies, self._before.latencies
        return (
            f"95 % of requests took at most {statistics.median(new):.3f} s in {len(new)} windows"
            f" (before: {statistics.median(before):.3f} s in {len(before)})"
        )

    def _say(self, verdict: Verdict, reason: str) -> Judgement:
        new, before = self._new, self._before
        return Judgement(
            verdict=verdict,
            reason=reason,
            requests=int(new.tally.total.requests),
            requests_before=int(before.tally.total.requests),
            error_rate=new.error_rate,
            error_rate_before=before.error_rate,
            p95=new.p95,
            p95_before=before.p95,
        )


class _Record:
    """What is kept of one release's windows."""

    def __init__(self) -> None:
        self.tally = Tally(longest=_LONGEST_BURST, part=_BURST)
        self.latencies: list[float] = []

    def add(self, window: Window) -> None:
        self.tally.add(Count(window.requests, window.errors))
        if window.p95 is not None and window.requests >= _FEWEST_IN_WINDOW:
            self.latencies.append(window.p95)

    @property
    def error_rate(self) -> float | None:
        return self.tally.total.rate if self.tally.total.requests else None

    @property
    def p95(self) -> float | None:
        return statistics.median(self.latencies) if self.latencies else None
