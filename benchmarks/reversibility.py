#!/usr/bin/env python3
"""Measure the walk up, down and up again: a chain of small revisions, and revisions above a schema of 500 tables.

    python benchmarks/reversibility.py [--revisions 100] [--tables 500] [--rounds 5]

Medians, on a server in memory. Beside them, what the same files take when they are only applied.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fairlead import migrations, postgres  # noqa: E402 - the checkout is on the path only now
from fairlead.migrations.catalog import take_snapshot  # noqa: E402

#: The most that the walk may cost, in seconds: the whole chain, and a revision above the large schema.
WHOLE_CHAIN, ONE_REVISION = 20.0, 0.5
#: What a table of an ordinary application has.
TABLE = """
CREATE TABLE large_{n} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    parent_id bigint {parent},
    name text NOT NULL DEFAULT '' CHECK (char_length(name) <= 200),
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'done')),
    amount numeric(12, 2),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX large_{n}_tenant ON large_{n} (tenant_id, created_at);
COMMENT ON TABLE large_{n} IS 'number {n}';
"""
#: Kinds of revisions, told apart by their number.
STEPS = (
    ("CREATE TABLE small_{n} (id bigint PRIMARY KEY, name text);", "DROP TABLE small_{n};"),
    ("ALTER TABLE base ADD c{n} text NOT NULL DEFAULT '';", "ALTER TABLE base DROP c{n};"),
    ("CREATE INDEX base_{n} ON base (name, id);", "DROP INDEX base_{n};"),
    ("CREATE VIEW view_{n} AS SELECT id, name FROM base;", "DROP VIEW view_{n};"),
    ("ALTER TABLE base ADD CONSTRAINT k{n} CHECK (id > 0);", "ALTER TABLE base DROP CONSTRAINT k{n};"),
)


def main(revisions: int, tables: int, rounds: int) -> int:
    """Print the figures and return 1 when a target is missed."""
    missed = False
    with tempfile.TemporaryDirectory() as scratch, postgres.temporary_server() as server:
        chain = write_chain(Path(scratch) / "chain", base="", revisions=revisions)
        applied, walked = measure(server, chain, rounds=1)
        print(f"{len(chain)} revisions: applied in {applied:.2f} s, walked in {walked:.2f} s")
        missed |= judge(f"at most {WHOLE_CHAIN:g} s", walked <= WHOLE_CHAIN)
        base = "".join(TABLE.format(n=n, parent=f"REFERENCES large_{n - 1} (id)" if n else "") for n in range(tables))
        large = write_chain(Path(scratch) / "large", base=base, revisions=len(STEPS) * 2)
        seconds = measure_revisions(server, large, rounds)
        print(
            f"a revision above {tables} tables: {seconds:.3f} s; one snapshot {measure_snapshot(server, large):.3f} s"
        )
        missed |= judge(f"at most {ONE_REVISION:g} s", seconds <= ONE_REVISION)
    return int(missed)


def write_chain(folder: Path, *, base: str, revisions: int) -> tuple[migrations.Migration, ...]:
    """Write a base and so many revisions above it, and load them."""
    folder.mkdir()
    (folder / "001_base.sql").write_text(f"CREATE TABLE base (id bigint PRIMARY KEY, name text);\n{base}", "utf-8")
    drops = "".join(f"DROP TABLE large_{n};\n" for n in reversed(range(base.count("CREATE TABLE large_"))))
    (folder / "001_base.down.sql").write_text(f"{drops}DROP TABLE base;", "utf-8")
    for number in range(2, revisions + 1):
        up, down = STEPS[number % len(STEPS)]
        (folder / f"{number:03}_step.sql").write_text(up.format(n=number), "utf-8")
        (folder / f"{number:03}_step.down.sql").write_text(down.format(n=number), "utf-8")
    return migrations.load_migrations(folder)


def measure(server: postgres.Databases, chain: tuple[migrations.Migration, ...], *, rounds: int) -> tuple[float, float]:
    """Return the seconds to apply a chain, and to walk it; each on databases of its own."""
    applied, walked = [], []
    for _ in range(rounds):
        with postgres.scratch_database(server) as name, migrations.connect(server.url(name)) as connection:
            start = time.perf_counter()
            migrations.Migrator(connection, chain).apply()
            applied.append(time.perf_counter() - start)
        with postgres.scratch_database(server) as name, migrations.connect(server.url(name)) as connection:
            start = time.perf_counter()
            migrations.verify_reversible(connection, chain)
            walked.append(time.perf_counter() - start)
    return statistics.median(applied), statistics.median(walked)


def measure_revisions(server: postgres.Databases, chain: tuple[migrations.Migration, ...], rounds: int) -> float:
    """Return the median seconds of one revision of a walk, the base and the whole chain's way back left out."""
    times: list[float] = []
    for _ in range(rounds):
        marks: list[float] = []
        with postgres.scratch_database(server) as name, migrations.connect(server.url(name)) as connection:
            migrations.verify_reversible(connection, chain, on_progress=partial(note_time, marks))
        times += [after - before for before, after in itertools.pairwise(marks)]
    return statistics.median(times)


def note_time(marks: list[float], *_progress: object) -> None:
    """Remember when a revision was done."""
    marks.append(time.perf_counter())


def measure_snapshot(server: postgres.Databases, chain: tuple[migrations.Migration, ...]) -> float:
    """Return the median seconds of one snapshot of a chain's schema."""
    times = []
    with postgres.scratch_database(server) as name, migrations.connect(server.url(name)) as connection:
        migrations.Migrator(connection, chain).apply()
        for _ in range(10):
            start = time.perf_counter()
            take_snapshot(connection)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def judge(target: str, met: bool) -> bool:
    """Print whether a target is met; return whether it is missed."""
    print(f"  {'pass' if met else 'FAIL'}: {target}")
    return not met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--revisions", type=int, default=100)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sys.exit(main(given.revisions, given.tables, given.rounds))
