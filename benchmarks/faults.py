#!/usr/bin/env python3
"""Kill runs of 30 migrations at random moments, let runners race, and time a reader beside a blocked ALTER.

    python benchmarks/faults.py [--kills 200] [--rounds 100] [--seed N]

Half of the runs hold CREATE INDEX CONCURRENTLY. The first violation ends the program with a traceback.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead import postgres
from tests.integration.migrations import killed_runs

#: How long a reader may wait beyond the lock time-out, in seconds.
ALLOWED = 0.5
LOCK_TIMEOUT = 2.0


def main(kills: int, rounds: int, seed: int) -> int:
    """Print what was done and return 1 when a reader waited for longer than it may."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch, postgres.temporary_server() as server:
        projects = [
            killed_runs.make_project(Path(scratch) / str(concurrently), concurrently=concurrently)
            for concurrently in (False, True)
        ]
        resolved = 0
        for turn in range(kills):
            with postgres.scratch_database(server) as name:
                concurrently = bool(turn % 2)
                found = killed_runs.kill_and_recover(
                    projects[concurrently], server.url(name), chance, concurrently=concurrently
                )
                resolved += found is not None
        print(f"{kills} kills: whole migrations after each, every chain finished ({resolved} resolved first)")
        for _ in range(rounds):
            with postgres.scratch_database(server) as name:
                killed_runs.race(projects[1], server.url(name))
        print(f"{rounds} rounds of 4 runners: all succeeded, each migration exactly once, no INVALID index")
        with postgres.scratch_database(server) as name:
            root = killed_runs.make_blocked_alter(Path(scratch) / "alter", lock_timeout=LOCK_TIMEOUT)
            stall = killed_runs.measure_stall(
                server.url(name), lock_timeout=LOCK_TIMEOUT, migrate=root, hold=LOCK_TIMEOUT * 4
            )
    passed = stall <= LOCK_TIMEOUT + ALLOWED
    print(
        f"reader beside a blocked ALTER: {stall:.2f} s (at most {LOCK_TIMEOUT + ALLOWED} s) {'ok' if passed else 'NO'}"
    )
    return int(not passed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    given = parser.parse_args()
    sys.exit(main(given.kills, given.rounds, given.seed))
