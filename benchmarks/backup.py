#!/usr/bin/env python3
"""Measure a backup and a restore of a large table against pg_dump and pg_restore alone, and kill a restore on its way.

    python benchmarks/backup.py [--rows 1000000] [--rounds 3]

Medians, taking turns, on a server in memory. The killed restore must leave the old database whole, and the next one
must finish and leave nothing behind.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - the checkout is on the path only now

from fairlead import postgres  # noqa: E402
from fairlead.postgres.backup import back_up, run_program  # noqa: E402
from fairlead.postgres.restore import restore  # noqa: E402

_RESTORE = (
    "import pathlib, sys; from fairlead.postgres.restore import restore;"
    " restore(sys.argv[1], pathlib.Path(sys.argv[2]), replace=sys.argv[3])"
)
_COPYING = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_restore' AND query ILIKE 'copy %'"


def main(rows: int, rounds: int) -> int:
    """Print the figures; return 1 when a killed restore did harm."""
    with tempfile.TemporaryDirectory() as scratch, postgres.temporary_server() as server:
        server.create_database("large")
        server.create_database("bare")
        address, dump = server.url("large"), Path(scratch, "large.dump")
        with psycopg.connect(address) as connection:
            connection.execute(
                "CREATE TABLE many AS SELECT n AS id, md5(n::text) AS name, now() + n * interval '1 s' AS at"
                f" FROM generate_series(1, {rows}) n"
            )
            connection.execute("ALTER TABLE many ADD PRIMARY KEY (id)")
        tools: dict[str, Callable[[], object]] = {
            "pg_dump": lambda: run_program("pg_dump", ["--format=custom", f"--file={scratch}/bare"], address),
            "db.backup": lambda: back_up(address, dump),
            "pg_restore": lambda: run_program(
                "pg_restore", ["--clean", "--if-exists", "--single-transaction", f"{scratch}/bare"], server.url("bare")
            ),
            "db.restore": lambda: restore(address, dump, replace="large"),
        }
        times: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(rounds):
            dump.unlink(missing_ok=True)
            for name, tool in tools.items():
                times[name].append(clock(tool))
        print(f"{rows} rows, {dump.stat().st_size / 1e6:.1f} MB:")
        for name, bare in (("db.backup", "pg_dump"), ("db.restore", "pg_restore")):
            ours, theirs = statistics.median(times[name]), statistics.median(times[bare])
            print(f"  {name:<10} {ours:6.2f} s   {ours / theirs:5.2f} x {bare} ({theirs:.2f} s)")
        return kill_restore(server, address, dump)


def kill_restore(server: postgres.Databases, address: str, dump: Path) -> int:
    """Kill a restore while rows are copied, and restore again; return 1 when anything is not as it should be."""
    whole = facts(address)
    with psycopg.connect(address) as connection:
        connection.execute("DELETE FROM many WHERE id <= 10")
    before = facts(address)
    child = subprocess.Popen([sys.executable, "-c", _RESTORE, address, str(dump), "large"], cwd=ROOT)
    with psycopg.connect(server.url(), autocommit=True) as watcher:
        while watcher.execute(_COPYING).fetchone() is None:
            if child.poll() is not None:
                print("  FAIL: the restore ended before it could be killed; take more rows")
                return 1
        child.send_signal(signal.SIGKILL)
        child.wait()
    intact = facts(address) == before
    with psycopg.connect(address) as connection:
        connection.execute("TRUNCATE many")
    took = clock(lambda: restore(address, dump, replace="large"))
    complete = facts(address) == whole
    with psycopg.connect(server.url()) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^large_'").fetchall()
    told = f"old database {'intact' if intact else 'CHANGED'}; next restore {took:.2f} s"
    print(f"killed while rows were copied: {told}, {'complete' if complete else 'INCOMPLETE'}")
    good = intact and complete and not left
    print(f"  {'pass' if good else 'FAIL'}: the old database as it was, the next restore whole, nothing left behind")
    return int(not good)


def facts(address: str) -> object:
    """Return what tells whether a database is the same: a checksum of its rows, and its columns and indexes."""
    with psycopg.connect(address) as connection:
        return connection.execute(
            "SELECT count(*), sum(hashtextextended(many::text, 0)),"
            " (SELECT array_agg((attname, atttypid::regtype, attnotnull)::text ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = 'many'::regclass AND attnum > 0),"
            " (SELECT array_agg(indexdef ORDER BY indexname) FROM pg_indexes WHERE tablename = 'many') FROM many"
        ).fetchone()


def clock(act: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sys.exit(main(given.rows, given.rounds))
