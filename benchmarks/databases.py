#!/usr/bin/env python3
"""Measure a test worker's databases: the clone of a migrated template, against migrating a database of its own.

    python benchmarks/databases.py [--rounds 20] [--migrations 50] [--workers 1 2 4]

Medians, on the server that the pytest plugin starts: in memory where there is a file system in memory. The second part
runs pytest itself, on its own and with pytest-xdist: the seconds of the whole run, and what the first database of each
worker cost that worker, with the start of the server that they share and the making of the template in the earliest.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fairlead import migrations, postgres  # noqa: E402 - the checkout is on the path only now

#: The most that a worker's database may cost, in milliseconds.
ALLOWED = 100
#: Asks for the worker's database, and writes down what that took.
SUITE = """
import os
import time
from pathlib import Path

import pytest

@pytest.fixture(scope="session")
def began():
    import psycopg, fairlead.migrations, fairlead.postgres

    return time.perf_counter()

@pytest.mark.parametrize("number", range(16))
def test_it(began, database_url, number):
    taken = Path("taken-" + os.environ.get("PYTEST_XDIST_WORKER", "alone"))
    if not taken.exists():
        taken.write_text(str((time.perf_counter() - began) * 1000))
    time.sleep(0.05)
"""


def main(rounds: int, count: int, workers: list[int]) -> int:
    """Print the figures and return 1 when the target is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_suite(folder, count)
        with postgres.temporary_server() as server:
            times = measure_databases(server, folder / "db", rounds)
        found = {name: statistics.median(each) for name, each in times.items()}
        for name, median in found.items():
            print(f"  {name:<28} {median:6.1f} ms  (slowest {max(times[name]):.1f})")
        clone, migrated = found["clone of the template"], found["createdb and the migrations"]
        print(f"  {'ratio':<28} {migrated / clone:6.1f} x")
        missing = [name for name in ("pytest", "xdist") if importlib.util.find_spec(name) is None]
        if missing:
            print(f"  with pytest: not run ({', '.join(missing)} not installed)")
        for number in workers if not missing else ():
            seconds, firsts = run_suite(folder, number)
            each = ", ".join(f"{milliseconds:.0f}" for milliseconds in firsts)
            print(f"  {f'{number} worker(s)':<28} {seconds:6.2f} s   first databases: {each} ms")
    met = clone <= ALLOWED
    print(f"{'pass' if met else 'FAIL'}: a clone in {clone:.1f} ms, at most {ALLOWED} ({count} migrations)")
    return int(not met)


def write_suite(folder: Path, count: int) -> None:
    """Write a repository with `count` migrations and a suite that uses its database."""
    (folder / "db").mkdir()
    for number in range(1, count + 1):
        text = f"CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL DEFAULT '');"
        (folder / "db" / f"{number:03}_step.sql").write_text(text, "utf-8")
    (folder / "pyproject.toml").write_text('[tool.fairlead]\n[tool.fairlead.migrations]\ndirectory = "db"\n', "utf-8")
    (folder / "test_suite.py").write_text(SUITE, "utf-8")


def measure_databases(server: postgres.Databases, directory: Path, rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds that each way to a migrated database took, in turns."""
    chain = migrations.load_migrations(directory)

    def migrate(address: str) -> None:
        with migrations.connect(address) as connection:
            migrations.Migrator(connection, chain).apply()

    template = postgres.keep_template(server, "benchmark", migrate)
    times: dict[str, list[float]] = {"clone of the template": [], "createdb and the migrations": []}
    for _ in range(rounds):
        start = time.perf_counter()
        with postgres.scratch_database(server, template=template) as name:
            with migrations.connect(server.url(name)) as connection:
                connection.execute("SELECT 1")
            times["clone of the template"].append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        with postgres.scratch_database(server) as name:
            migrate(server.url(name))
            times["createdb and the migrations"].append((time.perf_counter() - start) * 1000)
    return times


def run_suite(folder: Path, workers: int) -> tuple[float, list[float]]:
    """Return the seconds of a run on `workers`, and each worker's milliseconds to its first database."""
    for left in folder.glob("taken-*"):
        left.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "fairlead.pytest_plugin", "-p", "no:cacheprovider"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FAIRLEAD_"))}
    start = time.perf_counter()
    subprocess.run(
        [*command, *(["-n", str(workers)] if workers > 1 else [])],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start, sorted(float(file.read_text("utf-8")) for file in folder.glob("taken-*"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--migrations", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    given = parser.parse_args()
    sys.exit(main(given.rounds, given.migrations, given.workers))
