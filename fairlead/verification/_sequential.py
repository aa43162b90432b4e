"""The arithmetic of error counts: log-likelihood ratios for a sequential test, their dispersion, a binomial tail.

Sources: A. Wald, "Sequential Tests of Statistical Hypotheses", 1945 (the ratio and its two boundaries); J. Przyborowski
and H. Wilenski, "Homogeneity of Results in Testing Samples from Poisson Series", 1940 (given the sum of two counts, one
of them is binomial whatever their common rate); P. McCullagh and J. Nelder, "Generalized Linear Models", 1989, 4.5 (a
log-likelihood divided by the dispersion of clustered counts).
"""

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests, and how many of them failed; fractions where a part of a window is meant."""

    requests: float
    errors: float

    @property
    def rate(self) -> float:
        """The share that failed, 0 where nothing was asked."""
        return self.errors / self.requests if self.requests else 0.0

    def __sub__(self, other: Self) -> "Count":
        return Count(self.requests - other.requests, self.errors - other.errors)

    def __truediv__(self, divisor: float) -> "Count":
        return Count(self.requests / divisor, self.errors / divisor)


class Tally:
    """Adds up the windows of one release: all of it, its worst burst, and how much its windows differ.

    A burst is a window of up to `longest` requests, or `part` requests of a longer one with their part of its errors.
    """

    def __init__(self, *, longest: int, part: int) -> None:
        self.total = Count(0, 0)
        self.worst = Count(0, 0)
        self._longest, self._part = longest, part
        self._windows = 0
        self._squares = 0.0

    def add(self, window: Count) -> None:
        """Add a window; one in which nothing was asked changes nothing."""
        if not window.requests:
            return
        self.total = Count(self.total.requests + window.requests, self.total.errors + window.errors)
        burst = window if window.requests <= self._longest else window / (window.requests / self._part)
        self.worst = max(self.worst, burst, key=lambda one: one.errors)
        self._windows += 1
        self._squares += window.errors**2 / window.requests

    @property
    def rest(self) -> Count:
        """All but the worst burst."""
        return self.total - self.worst

    def measure_dispersion(self, *, expected: float, weight: float) -> float:
        """Return how much more the windows' errors vary than independent ones would, at least 1.

        Pearson's statistic over its degrees of freedom, with `weight` more of these in which it is as `expected`: so a
        few windows do not pass for proof that errors come alone.
        """
        freedom = max(self._windows - 1, 0)
        errors = self.total.errors
        statistic = self._squares / self.total.rate - errors if errors else float(freedom)
        return max(1.0, (statistic + expected * weight) / (freedom + weight))


def weigh_ratio(new: Count, before: Count, *, ratio: float) -> float:
    """Return the log-likelihood ratio of "`ratio` times as many errors as before" to "as many as before".

    Given how many errors there were in all, those of the new release are binomial with its share of the requests, which
    an unequal rate weighs with `ratio`. The rate itself cancels out, so it need not be known.
    """
    requests = new.requests + before.requests
    if not new.requests or not before.requests:
        return 0.0
    scale = math.log(requests / (before.requests + ratio * new.requests))
    return new.errors * math.log(ratio) + (new.errors + before.errors) * scale


def weigh_rate(new: Count, *, rate: float, ratio: float) -> float:
    """Return the log-likelihood ratio (Poisson) of "`ratio` times `rate`" to "`rate`", a share known beforehand."""
    return new.errors * math.log(ratio) - new.requests * rate * (ratio - 1)


def chance_of_at_least(count: Count, *, rate: float) -> float:
    """Return how likely as many errors as in `count`, or more, are where each request fails with the chance `rate`.

    Parts of a request are left out. 1 where so many are to be expected anyhow: nobody asks how likely exactly.
    """
    requests, errors = math.floor(count.requests), math.floor(count.errors)
    if errors <= requests * rate:
        return 1.0
    if rate <= 0 or errors > requests:
        return 0.0
    term = math.exp(
        math.lgamma(requests + 1)
        - math.lgamma(errors + 1)
        - math.lgamma(requests - errors + 1)
        + errors * math.log(rate)
        + (requests - errors) * math.log1p(-rate)
    )
    total = 0.0
    while term > total * 1e-12:
        total += term
        term *= (requests - errors) / (errors + 1) * rate / (1 - rate)
        errors += 1
    return min(total, 1.0)
