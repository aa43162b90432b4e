"""Files and servers that are not as they should be: each is told in words, and the database stays as it was."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, connect, load_migrations
from tests.integration.migrations import killed_runs

Connection = psycopg.Connection[tuple[Any, ...]]
FIRST, SECOND, THIRD = "001_users.sql", "002_name.sql", "003_last.sql"


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose migrations folder holds two good files."""
    folder = killed_runs.make_project(tmp_path / "project", concurrently=False, length=0) / "migrations"
    (folder / FIRST).write_text("CREATE TABLE users (id int PRIMARY KEY);\n", "utf-8")
    (folder / SECOND).write_text("ALTER TABLE users ADD COLUMN name text;\n", "utf-8")
    return folder


def apply(connection: Connection, folder: Path) -> None:
    Migrator(connection, load_migrations(folder)).apply()


def catalog(connection: Connection) -> list[tuple[Any, ...]]:
    """Everything that a migration here can change: relations with their columns, and what is recorded."""
    found = connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2"
    ).fetchall()
    if ("schema_migrations", "version") in found:
        found += connection.execute("SELECT m::text FROM schema_migrations m ORDER BY 1").fetchall()
    return found


def edit(connection: Connection, folder: Path) -> None:
    (folder / FIRST).write_text("CREATE TABLE people (id int);\n", "utf-8")


def delete(connection: Connection, folder: Path) -> None:
    (folder / SECOND).unlink()


def duplicate(connection: Connection, folder: Path) -> None:
    (folder / "003_another.sql").write_text("SELECT 1;\n", "utf-8")


def insert_below(connection: Connection, folder: Path) -> None:
    (folder / SECOND).rename(folder / "005_name.sql")
    connection.execute("UPDATE schema_migrations SET version = '005' WHERE version = '002'")


def commit_within(connection: Connection, folder: Path) -> None:
    (folder / THIRD).write_text("CREATE TABLE last (id int);\nCOMMIT;\n", "utf-8")


def interrupt(connection: Connection, folder: Path) -> None:
    connection.execute("UPDATE schema_migrations SET state = 'running' WHERE version = '002'")


@pytest.mark.parametrize(
    ("disturb", "told"),
    [
        (edit, [FIRST, "changed"]),
        (delete, ["002", "missing"]),
        (duplicate, [THIRD, "003_another.sql"]),
        (insert_below, [THIRD, "005"]),
        (commit_within, [f"{THIRD}:2", "COMMIT"]),
        (interrupt, ["002", "interrupted"]),
    ],
)
def test_each_of_six_disagreements_is_refused_before_any_change(
    connection: Connection, folder: Path, disturb: Callable[[Connection, Path], None], told: list[str]
) -> None:
    apply(connection, folder)
    (folder / THIRD).write_text("CREATE TABLE last (id int);\n", "utf-8")
    disturb(connection, folder)
    before = catalog(connection)
    with pytest.raises(MigrationError) as caught:
        apply(connection, folder)
    assert [word for word in told if word not in f"{caught.value.message} {caught.value.hint}"] == []
    assert catalog(connection) == before


READ_ONLY = (
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"
)
LONG = "".join(f"CREATE TABLE t{number} (id int);\n" for number in range(500))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{LONG}CREATE TABEL wrong (id int);\n".encode(), [f"{THIRD}:501:8", "syntax error", "CREATE TABEL wrong"]),
        (b"SELECT 'caf\xe9';\n", [THIRD, "UTF-8"]),
        (b"", [THIRD, "empty"]),
        (b"-- only words\n", [THIRD, "empty"]),
    ],
    ids=["wrong at the end of a long file", "not UTF-8", "empty", "comments alone"],
)
def test_file_that_cannot_run_is_told_and_leaves_the_database_as_it_was(
    connection: Connection, folder: Path, content: bytes, told: list[str]
) -> None:
    apply(connection, folder)
    before = catalog(connection)
    (folder / THIRD).write_bytes(content)
    with pytest.raises(MigrationError) as caught:
        apply(connection, folder)
    assert [word for word in told if word not in caught.value.message] == []
    assert catalog(connection) == before


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfCREATE TABLE last (id int);\n",
        b"CREATE TABLE last (\r\n  id int\r\n);\r\n",
        b"CREATE TABLE last (id int);\nSELECT length('" + b"x" * 20_000_000 + b"');\n",
    ],
    ids=["byte order mark", "CRLF", "20 MB"],
)
def test_file_that_only_looks_odd_is_applied(connection: Connection, folder: Path, content: bytes) -> None:
    (folder / THIRD).write_bytes(content)
    apply(connection, folder)
    assert ("last", "id") in catalog(connection)


def test_flood_of_notices_takes_no_memory(connection: Connection, folder: Path) -> None:
    loop = "FOR i IN 1..100000 LOOP RAISE NOTICE '%', repeat('x', 500); END LOOP"
    (folder / THIRD).write_text(f"DO $$ BEGIN {loop}; END $$;\n", "utf-8")
    tracemalloc.start()
    try:
        apply(connection, folder)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_renamed_file_of_an_applied_version_is_refused(connection: Connection, folder: Path) -> None:
    apply(connection, folder)
    before = catalog(connection)
    (folder / SECOND).rename(folder / "002_full_name.sql")
    with pytest.raises(MigrationError, match=r"002_full_name\.sql: was applied as 002_"):
        apply(connection, folder)
    assert catalog(connection) == before


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        ("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)", "golang-migrate"),
        ("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)", "schema_migrations"),
        (READ_ONLY, "takes no changes"),
    ],
    ids=["golang-migrate", "dbmate", "read-only"],
)
def test_database_that_cannot_be_migrated_is_told_by_the_act_with_exit_code_11(
    connection: Connection, fresh_database_url: str, folder: Path, prepare: str, told: str
) -> None:
    connection.execute(prepare.encode())
    before = catalog(connection)
    code, said = killed_runs.finish(killed_runs.start(folder.parent, fresh_database_url))
    assert (code, told in said, "Traceback" in said) == (11, True, False), said
    assert catalog(connection) == before


def test_wrong_password_is_told_by_the_act_without_it(fresh_database_url: str, folder: Path) -> None:
    name = psycopg.conninfo.conninfo_to_dict(fresh_database_url).get("user")
    there = fresh_database_url.rpartition("@")[2]
    url = f"postgresql://{name}:a-wrong-secret@{there}"
    code, said = killed_runs.finish(killed_runs.start(folder.parent, url))
    assert (code, "password" in said, "a-wrong-secret" in said) == (11, True, False), said
