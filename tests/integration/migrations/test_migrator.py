"""Applying and reverting on a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, Step, connect, load_migrations
from fairlead.migrations.lock import LOCK_KEY, hold_lock

ROOT = Path(__file__).parents[3]
DEFERRED = """
ALTER TABLE users ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;
INSERT INTO users VALUES (5, 'x'), (6, 'x');
"""
Connection = psycopg.Connection[tuple[Any, ...]]

CHAIN = {
    "001_users.sql": "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);",
    "001_users.down.sql": "DROP TABLE users;",
    "002_email.sql": "ALTER TABLE users ADD COLUMN email text;\nCREATE INDEX users_email ON users (email);",
    "002_email.down.sql": "ALTER TABLE users DROP COLUMN email;",
    "003_rows.sql": "INSERT INTO users VALUES (1, 'a; b', $$c$$);",
    "003_rows.down.sql": "DELETE FROM users;",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a chain of three migrations."""
    folder = tmp_path / "my migrations"
    folder.mkdir()
    for name, text in CHAIN.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def migrator(connection: Connection, folder: Path, **options: float) -> Migrator:
    return Migrator(connection, load_migrations(folder), **options)  # type: ignore[arg-type]  # one keyword, a number


def tables(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT relname FROM pg_stat_user_tables ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def states(connection: Connection, folder: Path) -> list[str]:
    return [row.state for row in migrator(connection, folder).status()]


def test_pending_is_applied_in_order_and_recorded(connection: Connection, folder: Path) -> None:
    applied = migrator(connection, folder).apply()
    assert [migration.label for migration in applied] == ["001_users", "002_email", "003_rows"]
    rows = migrator(connection, folder).status()
    assert [(row.version, row.name, row.state, row.reversible) for row in rows] == [
        ("001", "users", "applied", True),
        ("002", "email", "applied", True),
        ("003", "rows", "applied", True),
    ]
    assert all(row.applied_by and row.applied_at and row.duration_ms is not None for row in rows)
    assert migrator(connection, folder).apply() == ()


def test_status_and_plan_change_nothing(connection: Connection, folder: Path) -> None:
    assert states(connection, folder) == ["pending"] * 3
    assert [m.version for m in migrator(connection, folder).plan(to="2")] == ["001", "002"]
    assert tables(connection) == []


def test_progress_is_told_before_and_after_each(connection: Connection, folder: Path) -> None:
    steps: list[Step] = []
    migrator(connection, folder).apply(to="002", on_progress=steps.append)
    assert [(s.kind, s.action, s.migration.version, s.index, s.total) for s in steps] == [
        ("started", "apply", "001", 1, 2),
        ("done", "apply", "001", 1, 2),
        ("started", "apply", "002", 2, 2),
        ("done", "apply", "002", 2, 2),
    ]
    assert steps[1].seconds > 0


def test_applying_stops_at_the_version_asked_for(connection: Connection, folder: Path) -> None:
    migrator(connection, folder).apply(to="2")
    assert states(connection, folder) == ["applied", "applied", "pending"]


@pytest.mark.parametrize(
    ("chosen", "undone"),
    [({}, ["003"]), ({"steps": 2}, ["003", "002"]), ({"to": "1"}, ["003", "002"]), ({"to": "0"}, ["003", "002", "001"]),
     ({"steps": 9}, ["003", "002", "001"]), ({"to": "3"}, [])],
)  # fmt: skip
def test_reverting_goes_back_newest_first(
    connection: Connection, folder: Path, chosen: dict[str, Any], undone: list[str]
) -> None:
    engine = migrator(connection, folder)
    engine.apply()
    assert [migration.version for migration in engine.plan_revert(**chosen)] == undone
    assert [migration.version for migration in engine.revert(**chosen)] == undone
    assert states(connection, folder).count("pending") == len(undone)


@pytest.mark.parametrize("chosen", [{"steps": 0}, {"steps": -1}, {"steps": 1, "to": "1"}, {"to": "9"}])
def test_senseless_reverts_are_refused(connection: Connection, folder: Path, chosen: dict[str, Any]) -> None:
    with pytest.raises(MigrationError):
        migrator(connection, folder).revert(**chosen)


def test_revert_without_a_down_file_is_refused_before_any_change(connection: Connection, folder: Path) -> None:
    (folder / "002_email.down.sql").unlink()
    engine = migrator(connection, folder)
    engine.apply()
    with pytest.raises(MigrationError, match=r"002_email\.sql: has no 002_email\.down\.sql"):
        engine.revert(steps=2)
    assert states(connection, folder) == ["applied"] * 3


def plant_edit(folder: Path) -> None:
    (folder / "001_users.sql").write_text(CHAIN["001_users.sql"] + " -- edited")


def plant_rename(folder: Path) -> None:
    for suffix in (".sql", ".down.sql"):
        (folder / f"002_email{suffix}").rename(folder / f"004_email{suffix}")


def plant_out_of_order(folder: Path) -> None:
    (folder / "001_users.sql").rename(folder / "000_users.sql")
    (folder / "001_users.down.sql").unlink()


def plant_copy(folder: Path) -> None:
    (folder / "004_copy.sql").write_text("SELECT 1;\nCOPY users FROM STDIN;\n1\tx\n\\.\n")


def plant_vacuum(folder: Path) -> None:
    (folder / "004_vacuum.sql").write_text("SELECT 1;\nVACUUM;")


def plant_psql(folder: Path) -> None:
    (folder / "004_psql.sql").write_text("\\connect other\nSELECT 1;")


def plant_commit(folder: Path) -> None:
    (folder / "004_commit.sql").write_text("SELECT 1;\nCOMMIT;\nSELECT 2;")


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (plant_edit, ["001_users.sql: was changed after it was applied"]),
        (plant_rename, ["002_email.sql: is applied, and the file is missing"]),
        (
            plant_out_of_order,
            ["001_users.sql: is applied, and the file", "000_users.sql: is new, and below 002_email"],
        ),
        (plant_commit, ["004_commit.sql:2: COMMIT"]),
        (plant_copy, ["004_copy.sql:2: COPY users FROM STDIN: COPY from or to the client"]),
        (plant_vacuum, ["004_vacuum.sql:2: VACUUM: cannot run in a transaction"]),
        (plant_psql, ["004_psql.sql:1:", "is psql's, not SQL"]),
    ],
)
def test_disagreement_is_refused_before_any_change(
    connection: Connection, folder: Path, plant: Any, told: list[str]
) -> None:
    migrator(connection, folder).apply(to="002")
    plant(folder)
    (folder / "009_more.sql").write_text("CREATE TABLE more ();")
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder).apply()
    assert [part for part in told if part not in caught.value.message] == []
    assert "more" not in tables(connection)
    assert len([state for state in states(connection, folder) if state != "pending"]) == 2


def test_change_of_line_ends_alone_is_no_drift(connection: Connection, folder: Path) -> None:
    migrator(connection, folder).apply()
    file = folder / "002_email.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert states(connection, folder) == ["applied"] * 3
    assert migrator(connection, folder).apply() == ()


@pytest.mark.parametrize(
    ("text", "place", "told", "statement"),
    [
        ("SELECT 1;\n\nSELEC 2;\n", ":3:1:", 'syntax error at or near "SELEC"', "SELEC 2"),
        ("SELECT 1;\n  SELECT\n    nothing FROM users;\n", ":3:5:", 'column "nothing" does not exist', "SELECT\n"),
        ("INSERT INTO users VALUES (5, 'x');\nINSERT INTO users VALUES (5, 'y');", ":2:1:", "duplicate key",
         "INSERT INTO users VALUES (5, 'y')"),
        ("SELECT 'ü', 'ä';\nSELECT 1/0;", ":2:1:", "division by zero", "SELECT 1/0"),
        ("DO $$ BEGIN PERFORM 1; RAISE EXCEPTION 'no'; END $$;", ":1:1:", "no", "DO $$"),
        (DEFERRED, "", "duplicate key", ""),
    ],
)  # fmt: skip
def test_failure_tells_place_statement_and_reason_and_leaves_the_database_as_it_was(
    connection: Connection, folder: Path, text: str, place: str, told: str, statement: str
) -> None:
    (folder / "004_bad.sql").write_text(text, "utf-8")
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder).apply()
    message = caught.value.message
    assert f"004_bad.sql{place}" in message
    assert told in message
    assert statement.splitlines()[0] in message if statement else " | " not in message
    assert states(connection, folder) == ["applied", "applied", "applied", "pending"]
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    (folder / "004_bad.sql").write_text("SELECT 1;")
    assert len(migrator(connection, folder).apply()) == 1


def test_hint_of_the_server_is_passed_on(connection: Connection, folder: Path) -> None:
    (folder / "004_bad.sql").write_text("SELECT lenght(name) FROM users;")
    with pytest.raises(MigrationError) as caught:
        migrator(connection, folder).apply()
    assert "argument types" in str(caught.value.hint)


def test_what_a_file_sets_for_its_session_does_not_reach_the_next(connection: Connection, folder: Path) -> None:
    (folder / "004_set.sql").write_text(
        "CREATE ROLE fairlead_test_role; SET search_path = ''; SET statement_timeout = 1; SET ROLE fairlead_test_role;"
    )
    (folder / "005_after.sql").write_text("CREATE TABLE after AS SELECT current_user AS who; SELECT pg_sleep(0.01);")
    try:
        migrator(connection, folder).apply()
        assert connection.execute("SELECT who = session_user FROM public.after").fetchone() == (True,)
    finally:
        connection.execute("DROP ROLE fairlead_test_role")


def test_flood_of_notices_and_a_long_file_are_taken(connection: Connection, folder: Path) -> None:
    rows = "\n".join(f"INSERT INTO users VALUES ({number}, 'name {number}');" for number in range(10, 5_000))
    notices = "DO $$ BEGIN FOR i IN 1..2000 LOOP RAISE NOTICE 'n %', i; END LOOP; END $$;\n"
    (folder / "004_long.sql").write_text(notices + rows)
    migrator(connection, folder).apply()
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (4_991,)


def test_two_runners_at_once_apply_each_migration_once(fresh_database_url: str, folder: Path) -> None:
    (folder / "001_users.sql").write_text(CHAIN["001_users.sql"] + "SELECT pg_sleep(0.3);")
    outcomes: list[object] = []

    def run() -> None:
        with connect(fresh_database_url) as connection:
            try:
                outcomes.append(len(migrator(connection, folder, lock_wait=30).apply()))
            except MigrationError as error:
                outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["0", "0", "3"]


def test_second_runner_gives_up_and_says_who_holds_the_lock(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    with connect(fresh_database_url, application="the first") as first:
        with (
            hold_lock(first, wait=0),
            pytest.raises(MigrationError, match=r"another runner .*the first, server process"),
        ):
            migrator(connection, folder, lock_wait=0.1).apply()
        assert len(migrator(connection, folder, lock_wait=0.1).apply()) == 3


def test_lock_of_another_database_does_not_matter(
    connection: Connection, folder: Path, migrated_database_url: str
) -> None:
    with connect(migrated_database_url) as other, hold_lock(other, wait=0):
        assert len(migrator(connection, folder, lock_wait=0).apply()) == 3


def test_killed_runner_leaves_the_database_as_it_was_and_its_lock_free(
    connection: Connection, fresh_database_url: str, folder: Path
) -> None:
    (folder / "003_rows.sql").write_text("INSERT INTO users VALUES (1, 'a');\nSELECT pg_sleep(60);")
    code = """
        import os, sys
        from pathlib import Path
        from fairlead.migrations import Migrator, connect, load_migrations
        with connect(os.environ["URL"]) as connection:
            migrations = load_migrations(Path(sys.argv[1]))
            Migrator(connection, migrations).apply(on_progress=lambda step: print(step.kind, flush=True))
    """
    runner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), folder],
        stdout=subprocess.PIPE,
        env={**os.environ, "URL": fresh_database_url, "PYTHONPATH": str(ROOT)},
    )
    with runner:
        assert runner.stdout is not None
        for _ in range(5):
            runner.stdout.readline()
        deadline = time.monotonic() + 20
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while not connection.execute(sleeping).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        runner.send_signal(signal.SIGKILL)
    (folder / "003_rows.sql").write_text(CHAIN["003_rows.sql"])
    assert [m.version for m in migrator(connection, folder, lock_wait=20).apply()] == ["003"]
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    assert connection.execute(f"{held} WHERE objid = %s", [LOCK_KEY & 0xFFFFFFFF]).fetchone() == (0,)


def test_table_of_another_tool_is_not_touched(connection: Connection, folder: Path) -> None:
    connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
    with pytest.raises(MigrationError, match=r"made by another tool.*: it has no name"):
        migrator(connection, folder).apply()
    assert tables(connection) == ["schema_migrations"]


def test_missing_schema_is_told(connection: Connection, folder: Path) -> None:
    connection.execute("DROP SCHEMA public")
    with pytest.raises(MigrationError, match="no schema to keep schema_migrations in"):
        migrator(connection, folder).apply()


def test_read_only_database_is_told(fresh_database_url: str, folder: Path) -> None:
    with connect(f"{fresh_database_url}?options=-cdefault_transaction_read_only%3Don") as connection:
        with pytest.raises(MigrationError, match="every transaction of this user is read-only"):
            migrator(connection, folder).apply()
        assert tables(connection) == []


def test_one_migration_is_applied_by_name_only_when_it_is_next(connection: Connection, folder: Path) -> None:
    engine = migrator(connection, folder)
    first, second, third = load_migrations(folder)
    with pytest.raises(MigrationError, match="003_rows cannot be applied before 001_users, 002_email") as caught:
        engine.apply_one(third)
    assert "001_users.sql" in str(caught.value.hint)
    assert engine.apply_one(first) is True
    assert engine.apply_one(first) is False
    assert engine.apply_one(second) is True
    assert states(connection, folder) == ["applied", "applied", "pending"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url.replace("postgres:", "postgres:x", 1), "password is wrong"),
        (lambda url: url.rpartition("/")[0] + "/no_such_database", "there is no database"),
        (lambda url: url.rpartition(":")[0] + ":1/x", "nothing listens there"),
        (lambda _: "postgresql:///x?host=/no/such/folder", "nothing listens on that socket"),
    ],
)
def test_unreachable_database_is_told_without_the_password(fresh_database_url: str, change: Any, told: str) -> None:
    password = fresh_database_url.partition("@")[0].rpartition(":")[2]
    with pytest.raises(MigrationError, match=told) as caught:
        connect(change(fresh_database_url))
    assert password not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.hint


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_every_spelling_connects(fresh_database_url: str, scheme: str) -> None:
    with connect(fresh_database_url.replace("postgresql", scheme, 1)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
