"""Statistics that a few bad rounds do not bend: medians, their intervals, percentiles, and the Theil-Sen slope."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with the interval that holds the true one at 95 %; of too few values it spans them all."""

    median: float
    low: float
    high: float

    def spans(self, value: float) -> bool:
        """Tell whether `value` lies within the interval, so that the figures do not decide on which side they are."""
        return self.low <= value <= self.high


def estimate_median(values: Sequence[float]) -> Estimate:
    """Estimate the median of what `values` were drawn from, however they are distributed.

    The interval reaches from the k-th smallest to the k-th largest value, k by the binomial distribution.
    Source: Conover, Practical Nonparametric Statistics, chapter 3.2.
    """
    ordered = sorted(values)
    count, rank, outside = len(ordered), 0, 0.0
    for below in range(count // 2):
        outside += math.comb(count, below) / 2**count
        if 2 * outside > 1 - _CONFIDENCE:
            break
        rank = below
    return Estimate(statistics.median(ordered), ordered[rank], ordered[count - 1 - rank])


def compare_pairs(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Estimate how many times as large `ours` are as `theirs`, each value beside the one measured next to it."""
    return estimate_median([mine / other for mine, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of `values` that at least `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return how much y grows for each unit of x: the median over all pairs of points; 0 of fewer than two.

    Source: Theil (1950) and Sen (1968): almost a third of the points may be wrong without bending it.
    """
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2) if a[0] != b[0]]
    return statistics.median(slopes) if slopes else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much y grew over the second half of the time that `points` span, after its slope there."""
    if len(points) < 2:
        return 0.0
    start, end = points[0][0], points[-1][0]
    half = [point for point in points if point[0] >= (start + end) / 2]
    return slope(half) * (half[-1][0] - half[0][0])
