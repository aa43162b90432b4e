"""The rank test that tells whether one series of measurements lies above another, careful with measurements that cling.

Sources: H. Mann and D. Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
Other", 1947 (the statistic, with mid-ranks and the correction of its variance for ties); G. Bayley and J. Hammersley,
"The Effective Number of Independent Observations in an Autocorrelated Time Series", 1946 (the variance of a mean grows
by (1 + r) / (1 - r)); M. Kendall, "Note on Bias in the Estimation of Autocorrelation", 1954 (a short series shows too
little of it).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

#: How far above its estimate the autocorrelation is taken to be, in standard errors, and the most that is assumed.
_CAUTION, _MOST = 1.0, 0.95


def measure_lead(first: Sequence[float], second: Sequence[float]) -> float:
    """Return by how many standard deviations `first` lies above `second`; 0 where it does not, or where one is empty.

    The standard deviation is the one of the Mann-Whitney statistic for two series of one distribution in which
    neighbours resemble each other as much as they do here.
    """
    product, ordered = len(first) * len(second), sorted(second)
    # In how many of the pairs the first is larger; where both are equal, half.
    above = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in first) / 2
    if above <= product / 2:
        return 0.0
    ranks, ties = _rank([*first, *second])
    count = len(ranks)
    variance = product / 12 * (count + 1 - ties / (count * (count - 1)))
    likeness = _measure_likeness((ranks[: len(first)], ranks[len(first) :]))
    return (above - product / 2) / math.sqrt(variance * (1 + likeness) / (1 - likeness))


def _rank(values: Sequence[float]) -> tuple[list[float], int]:
    """Return the rank of each value, the mean of ranks where values are equal, and the sum of t^3 - t over the ties."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, ties, start = [0.0] * len(values), 0, 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + end + 1) / 2
        ties += (end - start) ** 3 - (end - start)
        start = end
    return ranks, ties


def _measure_likeness(groups: Sequence[Sequence[float]]) -> float:
    """Return what the autocorrelation of neighbours within the groups may well be: 0 to `_MOST`."""
    together, alone = 0.0, 0.0
    for group in groups:
        mean = sum(group) / len(group)
        apart = [value - mean for value in group]
        together += sum(left * right for left, right in pairwise(apart))
        alone += sum(one * one for one in apart)
    if alone <= 0:
        return 0.0
    count = sum(len(group) for group in groups)
    seen = together / alone
    unbiased = seen + (1 + 3 * seen) * len(groups) / count
    return min(max(unbiased + _CAUTION * math.sqrt(max(1 - seen * seen, 0.0) / count), 0.0), _MOST)
