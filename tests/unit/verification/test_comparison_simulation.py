"""The comparison in simulated traffic: what did not change is hardly ever rolled back, what got worse nearly always.

Each scenario is watched `RUNS` times, from fixed seeds. That a share is at most p is refuted when so many watches, or
more, would come about in fewer than one of a hundred such tests were it p. With 60 watches that takes 4 false rollbacks
for 1 % and 8 misses for 5 %. The judge stays well clear of both (benchmarks/judge.py tells from a thousand watches of
each), and the last test shows that a judge without one of its safeguards does not.
"""

from collections.abc import Callable

import pytest

from fairlead.verification import Verdict, _rank, comparison
from fairlead.verification._sequential import Count, Tally, chance_of_at_least
from tests.unit.verification.simulated_watch import HARD_TO_TELL, UNCHANGED, WORSE, Scenario, watch

RUNS = 60
ROLLED_BACK_UNCHANGED, MISSED = 0.01, 0.05
BY_NAME = {scenario.name: scenario for scenario in (*UNCHANGED, *WORSE)}


def observe(scenario: Scenario) -> list[Verdict]:
    return [watch(scenario, seed=seed).verdict for seed in range(RUNS)]


def is_refuted(share: float, *, found: int) -> bool:
    """Say whether so many of `RUNS`, or more, would be a rarity where the share is this."""
    return chance_of_at_least(Count(RUNS, found), rate=share) < 0.01


def named(scenario: Scenario) -> str:
    return scenario.name


def test_counts_that_refute_a_share_are_those_that_this_module_claims() -> None:
    assert [is_refuted(0.01, found=found) for found in (3, 4)] == [False, True]
    assert [is_refuted(0.05, found=found) for found in (7, 8)] == [False, True]


@pytest.mark.parametrize("scenario", UNCHANGED, ids=named)
def test_release_that_did_not_change_is_not_rolled_back(scenario: Scenario) -> None:
    assert not is_refuted(ROLLED_BACK_UNCHANGED, found=observe(scenario).count(Verdict.UNHEALTHY))


@pytest.mark.parametrize("scenario", WORSE, ids=named)
def test_release_that_got_worse_is_rolled_back_before_the_watch_ends(scenario: Scenario) -> None:
    assert not is_refuted(MISSED, found=RUNS - observe(scenario).count(Verdict.UNHEALTHY))


@pytest.mark.parametrize("scenario", HARD_TO_TELL, ids=named)
def test_release_that_is_hard_to_tell_from_the_one_before_is_held_not_passed(scenario: Scenario) -> None:
    assert not is_refuted(MISSED, found=observe(scenario).count(Verdict.HEALTHY))


def test_release_with_little_traffic_is_held() -> None:
    assert set(observe(BY_NAME["low traffic"])) == {Verdict.INCONCLUSIVE}


def take_any_evidence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(comparison, "_WORSE", 0.1)
    patch.setattr(comparison, "_DISPERSION", 1.0)


def trust_clusters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tally, "measure_dispersion", lambda *_, **__: 1.0)


def trust_neighbours(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_rank, "_measure_likeness", lambda _: 0.0)


def forgive_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(comparison, "_SLOWER", 0.5)


def want_too_much(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(comparison, "_WORSE", 12.0)


def pass_too_soon(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(comparison, "_NO_WORSE", -0.5)
    patch.setattr(comparison, "_FEWEST_WINDOWS", 1)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (take_any_evidence, "0.2 % errors"),
        (trust_clusters, "clustered errors"),
        (trust_neighbours, "drifting latencies, 0.9"),
        (forgive_nothing, "alike latencies, 0.6"),
        (want_too_much, "0.2 % to 1 %"),
        (pass_too_soon, "0.2 % to 1 %, short windows"),
    ],
)
def test_simulation_sees_a_judge_without_a_safeguard(
    spoil: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    scenario = BY_NAME[name]
    condemned = observe(scenario).count(Verdict.UNHEALTHY)
    if scenario.changed:
        assert is_refuted(MISSED, found=RUNS - condemned)
    else:
        assert is_refuted(ROLLED_BACK_UNCHANGED, found=condemned)
