"""Releases in simulated traffic, watched by the comparison: what the tests assert and benchmarks/judge.py prints.

Every run is its own seed, so a figure can be had again. Errors are independent, or come in clusters (one cause fails
several requests) or in bursts (a while in which many fail); latencies are the 95th percentiles of windows, log-normal
and each like the one before to the degree `likeness`, as an AR(1) process that runs on through the swap.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from fairlead.verification import Comparison, Verdict, Window


@dataclass(frozen=True, slots=True)
class Errors:
    """How requests fail: a share of them, in clusters of a mean size, and bursts in a share of the windows."""

    rate: float
    cluster: float = 1.0
    bursts: float = 0.0
    burst_rate: float = 0.0
    burst_length: int = 250

    def draw(self, chance: random.Random, requests: int) -> int:
        """Return how many of a window's requests fail."""
        length = min(requests, self.burst_length) if chance.random() < self.bursts else 0
        calm = draw_binomial(chance, requests - length, self.rate / self.cluster)
        clustered = sum(draw_size(chance, self.cluster) for _ in range(calm))
        return min(requests, clustered + draw_binomial(chance, length, self.burst_rate))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A release before and a new one: how their requests fail, how many windows there are, and how slow they are.

    `before` and `after` are the numbers of windows and of the requests in each; with `canary` both serve together. A
    new release is `slower` by this factor.
    """

    name: str
    errors: Errors
    new_errors: Errors
    before: tuple[int, int] = (30, 400)
    after: tuple[int, int] = (30, 200)
    canary: bool = False
    slower: float = 1.0
    likeness: float = 0.3
    spread: float = 0.08

    @property
    def changed(self) -> bool:
        """Whether the new release differs from the one before."""
        return self.errors != self.new_errors or self.slower != 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a watch ended, and after how many requests of the new release."""

    verdict: Verdict
    requests: int
    reason: str


def watch(scenario: Scenario, *, seed: int) -> Outcome:
    """Watch one release. A changed one is let go at the first verdict; an unchanged one must last to the end."""
    chance = random.Random(f"{scenario.name} {seed}")  # noqa: S311 - a simulation, to be had again
    latencies = draw_latencies(chance, likeness=scenario.likeness, spread=scenario.spread)
    old = scenario.errors

    def window(errors: Errors, requests: int, factor: float) -> Window:
        return Window(requests, errors.draw(chance, requests), next(latencies) * factor)

    (count, size), (new_count, new_size) = scenario.before, scenario.after
    comparison = Comparison([window(old, size, 1) for _ in range(count)])
    for _ in range(new_count):
        new = window(scenario.new_errors, new_size, scenario.slower)
        judgement = comparison.add(new, beside=window(old, size, 1) if scenario.canary else None)
        ends = Verdict.UNHEALTHY, Verdict.HEALTHY
        if judgement.verdict in ends[: 1 + scenario.changed]:
            return Outcome(judgement.verdict, judgement.requests, judgement.reason)
    judgement = comparison.conclude()
    return Outcome(judgement.verdict, judgement.requests, judgement.reason)


def draw_binomial(chance: random.Random, requests: int, rate: float) -> int:
    """Return how many of the requests fail where each does with the chance `rate`."""
    if rate >= 1:
        return requests
    if rate <= 0:
        return 0
    scale, found, at = math.log1p(-rate), 0, 0
    while (at := at + 1 + int(math.log(1 - chance.random()) / scale)) <= requests:
        found += 1
    return found


def draw_size(chance: random.Random, mean: float) -> int:
    """Return the size of a cluster, geometric: 1 at least."""
    return 1 if mean <= 1 else 1 + int(math.log(1 - chance.random()) / math.log1p(-1 / mean))


def draw_latencies(chance: random.Random, *, likeness: float, spread: float, level: float = 0.2) -> Iterator[float]:
    """Yield 95th percentiles about `level` seconds; `spread` is the standard deviation of their logarithms."""
    now = chance.gauss(0, spread)
    while True:
        yield level * math.exp(now)
        now = likeness * now + chance.gauss(0, spread * math.sqrt(1 - likeness**2))


NONE, FEW, MANY = Errors(0), Errors(0.002), Errors(0.012)
CLUSTERED, RARELY_CLUSTERED = Errors(0.005, cluster=5), Errors(0.001, cluster=5)
BURSTS = Errors(0.002, bursts=0.05, burst_rate=0.05)
HEAVY_BURSTS = Errors(0.001, bursts=0.02, burst_rate=0.2)

#: Nothing changed: at most one rollback in a hundred watches.
UNCHANGED = (
    Scenario("no errors", NONE, NONE),
    Scenario("0.2 % errors", FEW, FEW),
    Scenario("1.2 % errors", MANY, MANY),
    Scenario("6 % errors, above the limit", Errors(0.06), Errors(0.06)),
    Scenario("clustered errors", CLUSTERED, CLUSTERED),
    Scenario("rare clusters", RARELY_CLUSTERED, RARELY_CLUSTERED),
    Scenario("bursts of 5 %", BURSTS, BURSTS),
    Scenario("rare bursts of 20 %", HEAVY_BURSTS, HEAVY_BURSTS),
    Scenario("bursts, windows of 400", HEAVY_BURSTS, HEAVY_BURSTS, before=(30, 400), after=(30, 400)),
    Scenario("alike latencies, 0.6", FEW, FEW, likeness=0.6, spread=0.15),
    Scenario("alike latencies, 0.8", FEW, FEW, likeness=0.8, spread=0.15),
    Scenario("drifting latencies, 0.9", FEW, FEW, likeness=0.9, spread=0.2),
    Scenario("alike latencies, short baseline", FEW, FEW, before=(10, 400), likeness=0.8, spread=0.15),
    Scenario("restless latencies", FEW, FEW, likeness=0, spread=0.3),
    Scenario("low traffic", MANY, MANY, before=(30, 10), after=(30, 10)),
    Scenario("long windows", MANY, MANY, before=(20, 1000), after=(10, 3000)),
    Scenario("baseline much larger", MANY, MANY, before=(60, 2000), after=(30, 50)),
    Scenario("baseline much smaller", MANY, MANY, before=(10, 50), after=(30, 500)),
    Scenario("canary of a tenth", MANY, MANY, before=(30, 500), after=(30, 50), canary=True),
)

#: Worse: ninety-five of a hundred are found before these watches end.
WORSE = (
    Scenario("0.2 % to 1 %", FEW, Errors(0.01), before=(20, 500), after=(20, 250)),
    Scenario("0.2 % to 1 %, short windows", FEW, Errors(0.01), before=(40, 250), after=(100, 50)),
    Scenario("0.2 % to 1 %, canary", FEW, Errors(0.01), before=(20, 500), after=(20, 250), canary=True),
    Scenario("0.2 % to 1 %, alike latencies", FEW, Errors(0.01), before=(20, 500), after=(20, 250), likeness=0.8),
    Scenario("5 %, windows of 20", NONE, Errors(0.05), before=(20, 200), after=(26, 20)),
    Scenario("5 %, windows of 100", NONE, Errors(0.05), before=(20, 200), after=(6, 100)),
    Scenario("5 %, windows of 250", NONE, Errors(0.05), before=(20, 200), after=(3, 250)),
    Scenario("5 %, windows of 300", NONE, Errors(0.05), before=(20, 500), after=(2, 300)),
    Scenario("5 %, windows of 500", NONE, Errors(0.05), before=(20, 200), after=(2, 500)),
    Scenario("5 %, a window of 501", NONE, Errors(0.05), before=(20, 500), after=(1, 501)),
    Scenario("5 %, a window of 1000", NONE, Errors(0.05), before=(20, 200), after=(1, 1000)),
    Scenario("10 %, nothing known before", NONE, Errors(0.1), before=(0, 0), after=(6, 100)),
    Scenario("everything fails", NONE, Errors(1), before=(20, 100), after=(6, 10)),
    Scenario("30 % slower", FEW, FEW, slower=1.3),
    Scenario("30 % slower, independent", FEW, FEW, slower=1.3, likeness=0, spread=0.1),
    Scenario("twice as slow, short baseline", FEW, FEW, before=(20, 400), slower=2),
)

#: Worse, but with little to tell it by: rolled back or held, hardly ever passed.
HARD_TO_TELL = (
    Scenario("1.2 % to 5 %", MANY, Errors(0.05), before=(20, 500), after=(10, 100)),
    Scenario("0.2 % to 1 %, small baseline", FEW, Errors(0.01), before=(10, 100), after=(30, 250)),
    Scenario("0.2 % to 1 %, low traffic", FEW, Errors(0.01), before=(30, 40), after=(30, 40)),
    Scenario("30 % slower, short baseline", FEW, FEW, before=(10, 400), after=(12, 200), slower=1.3),
    Scenario("30 % slower, alike", FEW, FEW, slower=1.3, likeness=0.6, spread=0.1),
)
