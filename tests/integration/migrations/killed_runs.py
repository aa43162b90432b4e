"""Runner processes that are killed or race each other, and what must then be true of the database."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

LENGTH = 30
ROOT = Path(__file__).resolve().parents[3]
_PROJECT = """\
[tool.fairlead]
name = "shop"
migrations = { directory = "migrations" }

[tool.fairlead.environments.local]
database-url-env = "DATABASE_URL"
"""


def make_project(root: Path, *, concurrently: bool, length: int = LENGTH) -> Path:
    """Write a chain in which each file leaves a row and an object; every third may be outside a transaction."""
    folder = root / "migrations"
    folder.mkdir(parents=True)
    (root / "pyproject.toml").write_text(_PROJECT, "utf-8")
    first = (
        "CREATE TABLE audit (version int NOT NULL);\nCREATE TABLE big AS SELECT n FROM generate_series(1, 20000) n;\n"
    )
    for number in range(1, length + 1):
        text = first if number == 1 else ""
        if is_outside(number, concurrently=concurrently):
            text = f"-- fairlead: no-transaction\nCREATE INDEX CONCURRENTLY object_{number} ON big (n);\n"
        else:
            text += f"CREATE TABLE object_{number} (id int);\nINSERT INTO audit VALUES ({number});\n"
        (folder / f"{number:03}_step.sql").write_text(text, "utf-8")
    return root


def is_outside(number: int, *, concurrently: bool) -> bool:
    """Tell whether this file of the chain runs outside a transaction."""
    return concurrently and number % 3 == 0


def start(root: Path, url: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start `python -m fairlead` on a database, as a platform does before a release."""
    argv = [sys.executable, "-m", "fairlead", *(arguments or ("migrate",)), "--env", "local"]
    return subprocess.Popen(
        argv,
        cwd=root,
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Wait for a runner; return its exit code and what it said on both streams."""
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return process.returncode, (out + err).decode()


@contextmanager
def looking(url: str) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """Open a session that sees each change as soon as it is committed."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def wait_for_progress(url: str, process: "subprocess.Popen[bytes]", *, count: int) -> None:
    """Return when `count` migrations are recorded, or the runner has ended."""
    with looking(url) as connection:
        while process.poll() is None:
            there = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
            if there == (True,):
                row = connection.execute("SELECT count(*) >= %s FROM schema_migrations", [count]).fetchone()
                if row == (True,):
                    return
            time.sleep(0.001)


def kill_and_recover(root: Path, url: str, chance: random.Random, *, concurrently: bool) -> str | None:
    """Kill a run at a random moment, check the database, finish the chain; return the version that was interrupted."""
    runner = start(root, url)
    wait_for_progress(url, runner, count=chance.randrange(LENGTH))
    time.sleep(chance.uniform(0.0, 0.02))
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    wait_until_alone(url)
    interrupted = check(url, concurrently=concurrently)
    if interrupted is not None:
        code, said = finish(start(root, url))
        assert (code, interrupted in said) == (11, True), said
        code, said = finish(start(root, url, "migrations.resolve", interrupted, f"--{outcome_of(url, interrupted)}"))
        assert code == 0, said
    code, said = finish(start(root, url))
    assert code == 0, said
    assert check(url, concurrently=concurrently, complete=True) is None
    return interrupted


def wait_until_alone(url: str) -> None:
    """Return when the server has ended the sessions of the runner that was killed."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 30
    with looking(url) as connection:
        while connection.execute(others).fetchone() != (0,):
            assert time.monotonic() < deadline, "a killed runner's session is still there"
            time.sleep(0.01)


def outcome_of(url: str, version: str) -> str:
    """Return what a person would see in the catalog: `applied` when the index is there and valid."""
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    with looking(url) as connection:
        return "applied" if connection.execute(query, [f"object_{int(version)}"]).fetchone() == (True,) else "reverted"


def check(url: str, *, concurrently: bool, complete: bool = False, length: int = LENGTH) -> str | None:
    """Assert that what is recorded is what exists, each once; return the version that is recorded as interrupted."""
    with looking(url) as connection:
        if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
            assert not complete
            assert connection.execute("SELECT to_regclass('audit')").fetchone() == (None,)
            return None
        rows = connection.execute("SELECT version, state FROM schema_migrations ORDER BY version").fetchall()
        objects = connection.execute(
            "SELECT substr(c.relname, 8)::int FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid"
            " WHERE c.relname LIKE 'object\\_%' AND coalesce(i.indisvalid, true)"
        ).fetchall()
        invalid = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone()
        audited = connection.execute("SELECT version FROM audit ORDER BY version").fetchall() if rows else []
    applied = [int(str(version)) for version, state in rows if state == "applied"]
    interrupted = [str(version) for version, state in rows if state != "applied"]
    assert applied == list(range(1, len(applied) + 1))
    assert [int(version) for version in interrupted] in ([], [len(applied) + 1])
    found = {int(str(number)) for (number,) in objects} - {int(version) for version in interrupted}
    assert found == set(applied)
    assert audited == [(number,) for number in applied if not is_outside(number, concurrently=concurrently)]
    assert invalid == (0,) or interrupted
    assert not complete or len(applied) == length
    return interrupted[0] if interrupted else None


def race(root: Path, url: str, *, runners: int = 4, concurrently: bool = True) -> None:
    """Start several runners at once on an empty database; assert that all succeed and each file was applied once."""
    started = [start(root, url) for _ in range(runners)]
    done = [finish(process) for process in started]
    failed = [said for code, said in done if code != 0]
    assert not failed, "\n".join(failed)
    assert check(url, concurrently=concurrently, complete=True) is None


def measure_stall(url: str, *, lock_timeout: float, migrate: Path, hold: float) -> float:
    """Return for how long, in seconds, a reader waits at most beside an ALTER that is blocked for `hold` seconds."""
    worst, runner = 0.0, None
    with looking(url) as reader, psycopg.connect(url) as blocker:
        reader.execute("CREATE TABLE IF NOT EXISTS read_here (id int)")
        blocker.execute("SELECT FROM read_here")
        runner = start(migrate, url)
        until = time.monotonic() + hold
        while time.monotonic() < until:
            began = time.monotonic()
            reader.execute("SELECT FROM read_here")
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.005)
        blocker.rollback()
    code, said = finish(runner)
    assert code == 0, said
    assert worst > lock_timeout / 4, "the ALTER never queued before the reader"
    return worst


def make_blocked_alter(root: Path, *, lock_timeout: float) -> Path:
    """Write a project whose one migration needs an exclusive lock on the table that is read."""
    (root / "migrations").mkdir(parents=True)
    setting = f'directory = "migrations", lock-timeout = {lock_timeout}'
    (root / "pyproject.toml").write_text(_PROJECT.replace('directory = "migrations"', setting), "utf-8")
    (root / "migrations" / "001_alter.sql").write_text("ALTER TABLE read_here ADD COLUMN more int;\n", "utf-8")
    return root
