"""Locks held by others, runners at once, sessions that end, servers that take no changes, tables of other tools."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, Step, connect, load_migrations

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two migrations."""
    (tmp_path / "001_users.sql").write_text("CREATE TABLE users (id int PRIMARY KEY);")
    (tmp_path / "001_users.down.sql").write_text("DROP TABLE users;")
    (tmp_path / "002_name.sql").write_text("ALTER TABLE users ADD COLUMN name text;")
    return tmp_path


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def states(connection: Connection, folder: Path) -> list[str]:
    return [row.state for row in Migrator(connection, load_migrations(folder)).status()]


def test_lock_held_by_another_is_tried_again_until_it_is_free(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    Migrator(connection, load_migrations(folder)).apply(to="1")
    steps: list[Step] = []
    with connect(fresh_database_url) as other:
        other.execute("BEGIN; SELECT * FROM users")
        engine = Migrator(
            connection, load_migrations(folder), lock_timeout=0.05, sleep=lambda _: other.execute("ROLLBACK") and None
        )
        engine.apply(on_progress=steps.append)
    assert [step.kind for step in steps] == ["started", "waiting", "done"]
    assert steps[1].seconds > 0
    assert states(connection, folder) == ["applied", "applied"]


def test_lock_that_is_never_free_names_its_holder_and_changes_nothing(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    Migrator(connection, load_migrations(folder)).apply(to="1")
    pauses: list[float] = []
    with connect(fresh_database_url, application="a long report") as other:
        other.execute("BEGIN; SELECT * FROM users")
        engine = Migrator(connection, load_migrations(folder), lock_timeout=0.02, lock_retry=2.0, sleep=pauses.append)
        with pytest.raises(MigrationError) as caught:
            engine.apply()
        assert f"server process {other.info.backend_pid} (a long report, user postgres" in caught.value.message
    assert "002_name.sql:1:1: canceling statement due to lock timeout" in caught.value.message
    assert "on users" in caught.value.message
    assert 2 <= len(pauses) <= 10
    assert sum(pauses) <= 2.0
    assert states(connection, folder) == ["applied", "pending"]


def test_reader_beside_a_blocked_alter_waits_no_longer_than_the_lock_timeout(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    Migrator(connection, load_migrations(folder)).apply(to="1")
    waiting = threading.Event()

    def run() -> None:
        with connect(fresh_database_url) as own:
            engine = Migrator(own, load_migrations(folder), lock_timeout=0.4)
            engine.apply(on_progress=lambda step: waiting.set() if step.kind == "waiting" else None)

    longest = 0.0
    with connect(fresh_database_url) as other, connect(fresh_database_url) as reader:
        other.execute("BEGIN; SELECT * FROM users")
        runner = threading.Thread(target=run)
        runner.start()
        while not waiting.is_set():
            started = time.monotonic()
            reader.execute("SELECT * FROM users")
            longest = max(longest, time.monotonic() - started)
        other.execute("ROLLBACK")
        runner.join()
    assert 0.05 < longest <= 0.9
    assert states(connection, folder) == ["applied", "applied"]


@pytest.mark.parametrize("runners", [2, 4])
def test_runners_at_once_on_an_empty_database_all_succeed(fresh_database_url: str, folder: Path, runners: int) -> None:
    (folder / "003_rows.sql").write_text("INSERT INTO users VALUES (1);")
    (folder / "004_index.sql").write_text("-- fairlead: no-transaction\nCREATE INDEX CONCURRENTLY i ON users (name);")
    outcomes: list[object] = []
    barrier = threading.Barrier(runners)

    def run() -> None:
        with connect(fresh_database_url) as connection:
            barrier.wait()
            try:
                outcomes.append(len(Migrator(connection, load_migrations(folder)).apply()))
            except MigrationError as error:
                outcomes.append(error.message)

    threads = [threading.Thread(target=run) for _ in range(runners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == [*["0"] * (runners - 1), "4"]


def test_nothing_pending_takes_no_lock_and_no_second_session(
    connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Migrator(connection, load_migrations(folder))
    engine.apply()
    monkeypatch.setattr(psycopg, "connect", None)
    assert engine.apply() == ()


def test_run_stops_before_the_next_migration_when_the_lock_is_lost(connection: Connection, folder: Path) -> None:
    (folder / "001_users.sql").write_text(
        "CREATE TABLE users ();\n"
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database());"
    )
    with pytest.raises(MigrationError, match="the session that held the lock was ended"):
        Migrator(connection, load_migrations(folder)).apply()
    assert states(connection, folder) == ["applied", "pending"]


def test_lost_connection_says_what_the_database_holds(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    (folder / "002_name.sql").write_text("CREATE TABLE b (); SELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(MigrationError) as caught:
        Migrator(connection, load_migrations(folder)).apply()
    assert "002_name.sql: the connection to the server was lost" in caught.value.message
    assert "this migration was not applied" in caught.value.message
    with connect(fresh_database_url) as again:
        assert states(again, folder) == ["applied", "pending"]


def test_statement_timeout_ends_a_migration(connection: Connection, folder: Path) -> None:
    (folder / "002_name.sql").write_text("SELECT pg_sleep(30);")
    with pytest.raises(MigrationError, match=r"002_name\.sql:1:1: canceling statement due to statement timeout"):
        Migrator(connection, load_migrations(folder), statement_timeout=0.1).apply()
    assert states(connection, folder) == ["applied", "pending"]


def test_version_below_the_newest_is_applied_where_that_is_allowed(connection: Connection, folder: Path) -> None:
    late = folder / "002_name.sql"
    text = late.read_text()
    late.unlink()
    (folder / "003_c.sql").write_text("CREATE TABLE c ();")
    Migrator(connection, load_migrations(folder)).apply()
    late.write_text(text)
    with pytest.raises(MigrationError, match=r"002_name\.sql: is new, and below 003_c"):
        Migrator(connection, load_migrations(folder)).apply()
    applied = Migrator(connection, load_migrations(folder), out_of_order=True).apply()
    assert [migration.version for migration in applied] == ["002"]


def test_schema_without_permission_is_told(connection: Connection, fresh_database_url: str, folder: Path) -> None:
    role = f"fairlead_poor_{connection.info.dbname[-12:]}"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'weak'; REVOKE CREATE ON SCHEMA public FROM PUBLIC".encode())
    try:
        url = f"postgresql://{role}:weak@{fresh_database_url.rpartition('@')[2]}"
        with (
            connect(url) as poor,
            pytest.raises(MigrationError, match="may not make tables in the schema public") as told,
        ):
            Migrator(poor, load_migrations(folder)).apply()
        assert f"GRANT CREATE ON SCHEMA public TO {role}" in str(told.value.hint)
    finally:
        connection.execute(f"DROP ROLE {role}".encode())


def test_baseline_records_without_running(connection: Connection, folder: Path) -> None:
    connection.execute("CREATE TABLE users (id int PRIMARY KEY)")
    engine = Migrator(connection, load_migrations(folder))
    assert [migration.version for migration in engine.baseline("1")] == ["001"]
    assert engine.baseline("001") == ()
    assert [migration.version for migration in engine.apply()] == ["002"]
    with pytest.raises(MigrationError, match=r"002_name\.sql: is applied already, and above 001_users"):
        engine.baseline("1")


@pytest.mark.parametrize("kind", ["text", "character varying(128)"])
def test_table_of_dbmate_is_adopted_and_stays_usable_by_it(connection: Connection, folder: Path, kind: str) -> None:
    connection.execute(f"CREATE TABLE schema_migrations (version {kind} PRIMARY KEY)".encode())
    connection.execute("INSERT INTO schema_migrations VALUES ('001')")
    connection.execute("CREATE TABLE users (id int PRIMARY KEY)")
    engine = Migrator(connection, load_migrations(folder))
    with pytest.raises(MigrationError) as caught:
        engine.apply()
    assert "invoke migrations.baseline 001" in str(caught.value.hint)
    assert [migration.version for migration in engine.baseline("1")] == ["001"]
    assert [migration.version for migration in engine.apply()] == ["002"]
    (folder / "003_c.sql").write_text("CREATE TABLE c ();")
    connection.execute("INSERT INTO schema_migrations (version) VALUES ('003')")
    assert states(connection, folder) == ["applied"] * 3


def test_adopting_refuses_versions_without_a_file_and_changes_nothing(connection: Connection, folder: Path) -> None:
    connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
    connection.execute("INSERT INTO schema_migrations VALUES ('001'), ('20200101')")
    with pytest.raises(MigrationError, match="20200101: is recorded, and has no file"):
        Migrator(connection, load_migrations(folder)).baseline("1")
    columns = connection.execute("SELECT * FROM schema_migrations").description
    assert [column.name for column in columns or ()] == ["version"]


def test_table_that_cannot_be_adopted_is_told_with_the_statement_that_moves_it(
    connection: Connection, folder: Path
) -> None:
    connection.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
    with pytest.raises(MigrationError, match="its version is no text") as caught:
        Migrator(connection, load_migrations(folder)).baseline("1")
    assert "ALTER TABLE public.schema_migrations RENAME TO" in str(caught.value.hint)


def test_file_that_drops_the_record_table_fails_as_a_whole(connection: Connection, folder: Path) -> None:
    (folder / "002_name.sql").write_text("DROP TABLE schema_migrations;\nSELECT 1;\nSELECT 2;\n" + "SELECT 3;\n" * 40)
    with pytest.raises(MigrationError) as caught:
        Migrator(connection, load_migrations(folder)).apply()
    assert '002_name.sql: relation "public.schema_migrations" does not exist' in caught.value.message
    assert " | " not in caught.value.message
    assert states(connection, folder) == ["applied", "pending"]


def test_database_of_flyway_is_not_migrated_before_a_baseline(connection: Connection, folder: Path) -> None:
    connection.execute("CREATE TABLE users (id int PRIMARY KEY)")
    connection.execute(
        "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50),"
        " description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL, checksum int,"
        " installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(),"
        " execution_time int NOT NULL, success boolean NOT NULL)"
    )
    connection.execute(
        "INSERT INTO flyway_schema_history VALUES (1, '1', 'users', 'SQL', 'V1__users.sql', 1, 'x', now(), 1, true)"
    )
    engine = Migrator(connection, load_migrations(folder))
    with pytest.raises(MigrationError, match="Flyway has applied migrations to this database") as caught:
        engine.apply()
    assert "invoke migrations.baseline 1" in str(caught.value.hint)
    engine.baseline("1")
    assert [migration.version for migration in engine.apply()] == ["002"]
