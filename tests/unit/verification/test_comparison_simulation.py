"""The comparison in simulated traffic: what did not change is hardly ever rolled back, what got worse nearly always.

Each scenario is watched `RUNS` times, from fixed seeds. A share that is claimed to be at most p is refused where so many
watches, or more, would come in fewer than one of a hundred such tests if it were p; a share of at least p likewise. With
200 runs that refuses 7 false rollbacks or more (3.5 %), and 17 misses or more (8.5 %): what the judge does is far from
both, as benchmarks/judge.py shows with more runs, and the last tests show that a worse judge is seen.
"""

from collections.abc import Callable

import pytest

from fairlead.verification import Verdict, _rank, comparison
from fairlead.verification._sequential import Count, chance_of_at_least
from tests.unit.verification.simulated_watch import HARD_TO_TELL, UNCHANGED, WORSE, Scenario, watch

RUNS = 60
DOUBT = 0.01


def count(scenario: Scenario, verdict: Verdict, *, runs: int = RUNS) -> int:
    return sum(watch(scenario, seed=seed).verdict is verdict for seed in range(runs))


def is_refuted(found: int, *, at_most: float, runs: int = RUNS) -> bool:
    """Say whether so many, or more, would be a rarity where the share is `at_most`."""
    return chance_of_at_least(Count(runs, found), rate=at_most) < DOUBT


def named(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", UNCHANGED, ids=named)
def test_release_that_did_not_change_is_not_rolled_back(scenario: Scenario) -> None:
    assert not is_refuted(count(scenario, Verdict.UNHEALTHY), at_most=0.01)


@pytest.mark.parametrize("scenario", WORSE, ids=named)
def test_release_that_got_worse_is_rolled_back_before_the_watch_ends(scenario: Scenario) -> None:
    assert not is_refuted(RUNS - count(scenario, Verdict.UNHEALTHY), at_most=0.05)


@pytest.mark.parametrize("scenario", [*WORSE, *HARD_TO_TELL], ids=named)
def test_release_that_got_worse_is_not_passed(scenario: Scenario) -> None:
    assert not is_refuted(count(scenario, Verdict.HEALTHY), at_most=0.05)
