"""Files that run outside a transaction: recorded before and after, found when interrupted, and resolved."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, connect, load_migrations

ROOT = Path(__file__).parents[3]
MARK = "-- fairlead: no-transaction\n"
Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table, and an index that is made without blocking it."""
    folder = tmp_path / "my migrations"
    folder.mkdir()
    (folder / "001_users.sql").write_text("CREATE TABLE users (id int); INSERT INTO users VALUES (1), (1);")
    (folder / "002_index.sql").write_text(f"{MARK}CREATE INDEX CONCURRENTLY users_id ON users (id);")
    (folder / "002_index.down.sql").write_text(f"{MARK}DROP INDEX CONCURRENTLY users_id;")
    return folder


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def migrator(connection: Connection, folder: Path, **options: Any) -> Migrator:
    return Migrator(connection, load_migrations(folder), **options)


def states(connection: Connection, folder: Path) -> list[str]:
    return [row.state for row in migrator(connection, folder).status()]


def indexes(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'users'::regclass ORDER BY 1"
    ).fetchall()


def test_one_statement_is_applied_and_reverted(connection: Connection, folder: Path) -> None:
    engine = migrator(connection, folder)
    engine.apply()
    assert indexes(connection) == [("users_id", True)]
    assert states(connection, folder) == ["applied", "applied"]
    assert [migration.version for migration in engine.revert()] == ["002"]
    assert indexes(connection) == []
    assert states(connection, folder) == ["applied", "pending"]


def test_several_statements_go_through_psql_without_the_password_in_its_arguments(
    connection: Connection, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "002_index.sql").write_text(
        f"{MARK}CREATE INDEX CONCURRENTLY a ON users (id);\nVACUUM users;\nCREATE INDEX CONCURRENTLY b ON users (id);"
    )
    seen: list[str] = []
    from fairlead import _process

    original = _process.run

    def run(argv: Any, **options: Any) -> Any:
        seen.extend(map(str, argv))
        return original(argv, **options)

    monkeypatch.setattr(_process, "run", run)
    migrator(connection, folder).apply()
    assert indexes(connection) == [("a", True), ("b", True)]
    assert seen[0] == "psql"
    assert not [part for part in seen if connection.info.password in part]


def test_failure_in_psql_shows_its_line_and_says_how_to_go_on(connection: Connection, folder: Path) -> None:
    (folder / "002_index.sql").write_text(f"{MARK}VACUUM users;\nVACUUM nothing;\nCREATE TABLE never ();")
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder).apply()
    assert '002_index.sql:3: ERROR:  relation "nothing" does not exist' in caught.value.message
    assert "invoke migrations.resolve 002 --applied" in str(caught.value.hint)
    assert states(connection, folder) == ["applied", "running"]


def test_missing_psql_is_told(connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "002_index.sql").write_text(f"{MARK}VACUUM users;\nVACUUM users;")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MigrationError, match="psql is not installed") as caught:
        migrator(connection, folder).apply()
    assert "install PostgreSQL's client programs" in str(caught.value.hint)


def fail_unique(connection: Connection, folder: Path) -> None:
    (folder / "002_index.sql").write_text(f"{MARK}CREATE UNIQUE INDEX CONCURRENTLY users_id ON users (id);")
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder).apply()
    assert "could not create unique index" in caught.value.message
    assert "002_index runs outside a transaction" in caught.value.message
    assert "--reverted" in str(caught.value.hint)
    assert indexes(connection) == [("users_id", False)]


def test_interrupted_one_is_refused_by_every_act_before_any_change(connection: Connection, folder: Path) -> None:
    fail_unique(connection, folder)
    (folder / "003_more.sql").write_text("CREATE TABLE more ();")
    engine = migrator(connection, folder)
    for act in (engine.apply, engine.revert, engine.plan, engine.plan_revert):
        with pytest.raises(MigrationError, match="002_index: was interrupted while it was applied"):
            act()
    assert states(connection, folder) == ["applied", "running", "pending"]


def test_resolving_as_reverted_drops_the_invalid_index_and_only_that(connection: Connection, folder: Path) -> None:
    fail_unique(connection, folder)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY other ON users (id)")
    engine = migrator(connection, folder)
    assert engine.resolve("2", "reverted") == ("public.users_id",)
    assert indexes(connection) == [("other", False)]
    connection.execute("DELETE FROM users")
    assert [migration.version for migration in engine.apply()] == ["002"]


def test_resolving_as_applied_is_refused_while_the_index_is_invalid(connection: Connection, folder: Path) -> None:
    fail_unique(connection, folder)
    engine = migrator(connection, folder)
    with pytest.raises(MigrationError, match=r"left INVALID indexes behind: public\.users_id"):
        engine.resolve("2", "applied")
    connection.execute("DELETE FROM users")
    connection.execute("REINDEX INDEX CONCURRENTLY users_id")
    assert engine.resolve("2", "applied") == ()
    assert states(connection, folder) == ["applied", "applied"]


@pytest.mark.parametrize("outcome", ["applied", "reverted"])
def test_what_was_not_interrupted_cannot_be_resolved(
    connection: Connection, folder: Path, outcome: Literal["applied", "reverted"]
) -> None:
    engine = migrator(connection, folder)
    with pytest.raises(MigrationError, match="002_index was not interrupted: it is not applied"):
        engine.resolve("2", outcome)
    engine.apply()
    with pytest.raises(MigrationError, match="002_index was not interrupted: it is applied"):
        engine.resolve("2", outcome)
    assert states(connection, folder) == ["applied", "applied"]


def test_interrupted_down_is_found_and_resolved(connection: Connection, folder: Path) -> None:
    engine = migrator(connection, folder)
    engine.apply()
    connection.execute("DROP INDEX users_id")
    with pytest.raises(MigrationError, match="does not exist"):
        engine.revert()
    assert states(connection, folder) == ["applied", "reverting"]
    with pytest.raises(MigrationError, match="002_index: was interrupted while it was reverted"):
        engine.apply()
    engine.resolve("2", "reverted")
    assert states(connection, folder) == ["applied", "pending"]


def test_index_is_built_without_time_outs(connection: Connection, folder: Path, fresh_database_url: str) -> None:
    migrator(connection, folder).apply(to="1")

    def run() -> None:
        with connect(fresh_database_url) as own:
            migrator(own, folder, lock_timeout=0.05, statement_timeout=0.05).apply()

    with connect(fresh_database_url) as other:
        other.execute("BEGIN; INSERT INTO users VALUES (2)")
        runner = threading.Thread(target=run)
        runner.start()
        waited = (
            "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database()"
            " AND NOT granted AND clock_timestamp() - waitstart > interval '0.3 s'"
        )
        deadline = time.monotonic() + 20
        while not connection.execute(waited.encode()).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        other.execute("COMMIT")
        runner.join()
    assert indexes(connection) == [("users_id", True)]


def test_file_with_its_own_transaction_runs_as_written_where_that_is_allowed(
    connection: Connection, folder: Path
) -> None:
    (folder / "003_own.sql").write_text("BEGIN;\nCREATE TABLE own ();\nCOMMIT;\nBEGIN;\nCREATE TABLE too ();\nCOMMIT;")
    with pytest.raises(MigrationError, match=r"003_own\.sql:1: BEGIN"):
        migrator(connection, folder).apply()
    assert states(connection, folder) == ["pending"] * 3
    migrator(connection, folder, transaction_control="run").apply()
    assert states(connection, folder) == ["applied"] * 3
    assert connection.execute("SELECT to_regclass('too') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("BEGIN;\nCREATE TABLE own ();\nCOMMIT;\nSELECT 1/0;", "003_own.sql:4:1: division by zero"),
        ("BEGIN;\nCREATE TABLE own ();", "003_own.sql: leaves a transaction open"),
    ],
)
def test_failure_of_a_file_with_its_own_transaction_is_found_again(
    connection: Connection, folder: Path, text: str, told: str
) -> None:
    (folder / "003_own.sql").write_text(text)
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder, transaction_control="run").apply()
    assert told in caught.value.message
    assert states(connection, folder) == ["applied", "applied", "running"]


def test_killed_runner_leaves_it_interrupted_and_one_resolve_goes_on(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from fairlead.migrations import Migrator, connect, load_migrations
        with connect(os.environ["URL"]) as connection:
            Migrator(connection, load_migrations(Path(sys.argv[1]))).apply()
    """
    migrator(connection, folder).apply(to="1")
    with connect(fresh_database_url) as other:
        other.execute("BEGIN; INSERT INTO users VALUES (2)")
        environment = {**os.environ, "URL": fresh_database_url, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), folder], env=environment) as runner:
            deadline = time.monotonic() + 20
            while ("users_id", False) not in indexes(connection):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            runner.send_signal(signal.SIGKILL)
        while connection.execute(
            "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"
        ).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        other.execute("COMMIT")
    engine = migrator(connection, folder, lock_wait=20)
    with pytest.raises(MigrationError, match="002_index: was interrupted"):
        engine.apply()
    assert engine.resolve("2", "reverted") == ("public.users_id",)
    assert [migration.version for migration in engine.apply()] == ["002"]
    assert indexes(connection) == [("users_id", True)]
