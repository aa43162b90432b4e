#!/usr/bin/env python3
"""Measure a test worker's databases: the clone of a migrated template, against migrating a database of its own.

    python benchmarks/databases.py [--rounds 20] [--migrations 50]

Medians, on the server that the pytest plugin starts: in memory where there is a file system in memory.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fairlead import migrations, postgres  # noqa: E402 - the checkout is on the path only now

#: The most that a worker's database may cost, in milliseconds.
ALLOWED = 100


def main(rounds: int, count: int) -> int:
    """Print the figures and return 1 when the target is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number in range(1, count + 1):
            text = f"CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL DEFAULT '');"
            (folder / f"{number:03}_step.sql").write_text(text, "utf-8")
        chain = migrations.load_migrations(folder)
        start = time.perf_counter()
        with postgres.temporary_server() as server:
            print(f"server started in {(time.perf_counter() - start) * 1000:.0f} ms")

            def migrate(address: str) -> None:
                with migrations.connect(address) as connection:
                    migrations.Migrator(connection, chain).apply()

            template = postgres.keep_template(server, "benchmark", migrate)
            times: dict[str, list[float]] = {"clone of the template": [], "migrated itself": []}
            for _ in range(rounds):
                times["clone of the template"].append(measure(server, template))
                start = time.perf_counter()
                with postgres.scratch_database(server) as name:
                    migrate(server.url(name))
                    times["migrated itself"].append((time.perf_counter() - start) * 1000)
        found = {name: statistics.median(each) for name, each in times.items()}
    for name, median in found.items():
        print(f"  {name:<22} {median:6.1f} ms")
    met = found["clone of the template"] <= ALLOWED
    print(f"  {'pass' if met else 'FAIL'}: a clone at most {ALLOWED} ms ({count} migrations)")
    return int(not met)


def measure(server: postgres.Databases, template: str) -> float:
    """Return the milliseconds until a clone of `template` can be used."""
    start = time.perf_counter()
    with postgres.scratch_database(server, template=template) as name:
        with migrations.connect(server.url(name)) as connection:
            connection.execute("SELECT 1")
        return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--migrations", type=int, default=50)
    given = parser.parse_args()
    sys.exit(main(given.rounds, given.migrations))
