#!/usr/bin/env python3
"""Simulate watches of unchanged and of worse releases: false rollbacks, detections, requests until the decision.

    python benchmarks/judge.py [--runs 1000] [--seed 0]

An unchanged release is watched to the end of its windows, whatever is said before: `rolled back` is the share that was
condemned at any time, at most 1 %. A worse one is watched to the first verdict: at least 95 % must be rolled back, and
where it is hard to tell, at most 5 % may be passed as healthy. `requests` is the median of those that the new release
had answered when it was condemned.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead.verification import Verdict
from tests.unit.verification.simulated_watch import HARD_TO_TELL, UNCHANGED, WORSE, Scenario, watch

#: The most that may be rolled back of what did not change, the least of what did, and the most that may pass of that.
FALSE_ROLLBACKS, DETECTED, PASSED = 0.01, 0.95, 0.05
#: Whether a share of rollbacks and one of passes will do.
Target = Callable[[float, float], bool]


def main(runs: int, seed: int) -> int:
    """Print a line for each scenario and return 1 when one misses its target."""
    print(f"{runs} watches of each, from seed {seed}")
    tables: tuple[tuple[str, Sequence[Scenario], Target], ...] = (
        ("nothing changed", UNCHANGED, lambda condemned, _: condemned <= FALSE_ROLLBACKS),
        ("worse", WORSE, lambda condemned, _: condemned >= DETECTED),
        ("worse, but hard to tell", HARD_TO_TELL, lambda _, passed: passed <= PASSED),
    )
    met = [print_table(*table, runs=runs, seed=seed) for table in tables]
    return int(not all(met))


def print_table(title: str, scenarios: Sequence[Scenario], target: Target, *, runs: int, seed: int) -> bool:
    """Print the figures of some scenarios and return whether all of them met their target."""
    all_met = True
    print(f"\n  {title:<32} {'rolled back':>11} {'passed':>8} {'held':>8} {'requests':>9}")
    for scenario in scenarios:
        outcomes = [watch(scenario, seed=seed + number) for number in range(runs)]
        share = {one: sum(outcome.verdict is one for outcome in outcomes) / runs for one in Verdict}
        requests = [one.requests for one in outcomes if one.verdict is Verdict.UNHEALTHY]
        condemned, passed, held = share[Verdict.UNHEALTHY], share[Verdict.HEALTHY], share[Verdict.INCONCLUSIVE]
        met = target(condemned, passed)
        all_met &= met
        median = f"{statistics.median(requests):.0f}" if requests else "-"
        shares = f"{condemned:>11.1%} {passed:>8.1%} {held:>8.1%}"
        print(f"  {scenario.name:<32} {shares} {median:>9}  {'ok' if met else 'NO'}", flush=True)
    return all_met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.runs, given.seed))
