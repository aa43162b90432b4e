#!/usr/bin/env python3
"""Measure 500 small migrations on a fresh database against psql, dbmate and Alembic, and a run with nothing to do.

    python benchmarks/migrations.py [--rounds 5] [--count 500] [--dbmate PROGRAM]

Medians. The tools take turns within each round, in alternating order, and are compared with psql of the same round, so
that a busy machine slows all alike; once on a server in memory, once on disk with fsync. psql is one process, which
applies each file in a transaction and keeps no record of it. `engine` is everything from connecting and reading the
files to the last commit, in a Python that has started; `whole process` is `python -m fairlead migrate`.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fairlead import migrations, postgres  # noqa: E402 - the checkout is on the path only now
from fairlead.postgres.account import pick_account  # noqa: E402
from fairlead.postgres.binaries import find_binaries  # noqa: E402

#: The most that this may cost: a share of psql's time in memory and on disk, and milliseconds with nothing to do.
IN_MEMORY, ON_DISK, NOTHING_TO_DO = 1.25, 1.05, 200
PROJECT = """\
[tool.fairlead]
name = "shop"
migrations = { directory = "sql" }

[tool.fairlead.environments.local]
database-url-env = "DATABASE_URL"
"""
ALEMBIC = """\
import os
from alembic import context
from sqlalchemy import create_engine
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
with create_engine(url).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
Tool = Callable[[str], None]


def main(rounds: int, count: int, dbmate: str | None) -> int:
    """Print the medians and return 1 when a target is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        write_project(project, count)
        tools = find_tools(project, dbmate)
        with postgres.temporary_server() as server:
            missed = compare("in memory", server, tools, rounds, allowed=IN_MEMORY, rivals=("dbmate", "alembic"))
            missed |= measure_nothing_to_do(server, project, rounds)
        own = {name: tools[name] for name in ("psql", "engine", "whole process")}
        with disk_server(Path(scratch)) as server:
            missed |= compare("on disk, fsync", server, own, rounds, allowed=ON_DISK, rivals=())
    return int(missed)


def write_project(project: Path, count: int) -> None:
    """Write the same migrations for each of the tools."""
    for folder in ("sql", "dbmate", "alembic/versions"):
        (project / folder).mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT, "utf-8")
    driver = []
    for number in range(1, count + 1):
        version, text = f"{number:04}", f"CREATE TABLE t{number} (id int, name text NOT NULL DEFAULT '');\n"
        (project / "sql" / f"{version}_step.sql").write_text(text, "utf-8")
        (project / "dbmate" / f"{version}_step.sql").write_text(f"-- migrate:up\n{text}\n-- migrate:down\n", "utf-8")
        before = repr(f"{number - 1:04}") if number > 1 else None
        revision = f"from alembic import op\nrevision = '{version}'\ndown_revision = {before}\n"
        revision += f'def upgrade():\n    op.execute("""{text}""")\n'
        (project / "alembic" / "versions" / f"{version}.py").write_text(revision, "utf-8")
        driver.append(f"BEGIN;\n\\i sql/{version}_step.sql\nCOMMIT;")
    (project / "driver.sql").write_text("\n".join(driver), "utf-8")
    (project / "alembic" / "env.py").write_text(ALEMBIC, "utf-8")
    (project / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n", "utf-8")


def find_tools(project: Path, dbmate: str | None) -> dict[str, Tool]:
    """Return what each tool does with a database's address; say which are not run."""
    psql = str(find_binaries(pick_account()).program("psql"))

    def command(*argv: str) -> Tool:
        return lambda url: run([word.replace("{url}", url) for word in argv], project, url)

    def engine(url: str) -> None:
        with migrations.connect(url) as connection:
            migrations.Migrator(connection, migrations.load_migrations(project / "sql")).apply()

    tools = {
        "psql": command(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "driver.sql", "-d", "{url}"),
        "engine": engine,
        "whole process": command(sys.executable, "-m", "fairlead", "migrate"),
    }
    found = dbmate or shutil.which("dbmate")
    if found:
        options = ("--no-dump-schema", "-d", "dbmate", "migrate")
        dbmate_tool = command(str(Path(found).resolve()), *options)
        tools["dbmate"] = lambda url: dbmate_tool(f"{url}{'&' if '?' in url else '?'}sslmode=disable")
    else:
        print("dbmate: not run (not installed: npm install dbmate, then --dbmate PROGRAM)")
    if importlib.util.find_spec("alembic") and importlib.util.find_spec("sqlalchemy"):
        tools["alembic"] = command(sys.executable, "-m", "alembic", "upgrade", "head")
    else:
        print("alembic: not run (not installed)")
    return tools


def compare(
    where: str,
    server: postgres.Databases,
    tools: dict[str, Tool],
    rounds: int,
    *,
    allowed: float,
    rivals: tuple[str, ...],
) -> bool:
    """Print what each tool took on a fresh database; return whether a target was missed."""
    times: dict[str, list[float]] = {name: [] for name in tools}
    for turn in range(rounds + 1):
        for name in alternated(tools, turn):
            with postgres.scratch_database(server) as database:
                elapsed = clock(partial(tools[name], server.url(database)))
            if turn:  # the first round warms the caches
                times[name].append(elapsed)
    # Compared within each round: the machine may be slower in the next.
    ratios = {
        name: statistics.median(one / psql for one, psql in zip(each, times["psql"], strict=True))
        for name, each in times.items()
    }
    print(f"{where}:")
    for name, each in times.items():
        print(f"  {name:<14} {statistics.median(each):7.0f} ms   {ratios[name]:5.2f} x psql")
    missed = False
    for name in ("engine", "whole process"):
        missed |= judge(f"{name}: at most {allowed} x psql", ratios[name] <= allowed)
    for rival in (name for name in rivals if name in ratios):
        missed |= judge(f"whole process: faster than {rival}", ratios["whole process"] < ratios[rival])
    return missed


def measure_nothing_to_do(server: postgres.Databases, project: Path, rounds: int) -> bool:
    """Print what a run takes when all is applied, beside an empty Python and one that has the database's driver.

    Return whether the target was missed.
    """
    commands = {
        "migrate": ["-m", "fairlead", "migrate"],
        "python -c pass": ["-c", "pass"],
        "import psycopg": ["-c", "import psycopg"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with postgres.scratch_database(server) as database:
        url = server.url(database)
        run([sys.executable, *commands["migrate"]], project, url)
        for turn in range(rounds * 3):
            for name in alternated(commands, turn):
                times[name].append(clock(partial(run, [sys.executable, *commands[name]], project, url)))
    print("nothing to do:")
    for name, each in times.items():
        print(f"  {name:<14} {statistics.median(each):5.0f} ms")
    return judge(f"at most {NOTHING_TO_DO} ms", statistics.median(times["migrate"]) <= NOTHING_TO_DO)


def alternated(names: Iterable[str], turn: int) -> list[str]:
    """Return the names in the order of a turn: forwards and backwards."""
    return list(names)[:: -1 if turn % 2 else 1]


def judge(target: str, met: bool) -> bool:
    """Print whether a target is met; return whether it is missed."""
    print(f"  {'pass' if met else 'FAIL'}: {target}")
    return not met


@contextmanager
def disk_server(scratch: Path) -> Iterator[postgres.Databases]:
    """Run a server that waits for the disk."""
    with postgres.Server.start(scratch / "durable", durable=True) as server:
        yield server


def run(argv: list[str], folder: Path, url: str) -> None:
    """Run a tool in the project's folder."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables = {**kept, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    subprocess.run(argv, cwd=folder, env=variables, check=True, capture_output=True)


def clock(act: Callable[[], None]) -> float:
    """Return how long something takes, in milliseconds."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--dbmate", help="the dbmate program")
    given = parser.parse_args()
    sys.exit(main(given.rounds, given.count, given.dbmate))
