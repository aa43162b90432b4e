"""A file and its record are one query: whatever the file ends in, fails at, or does to its session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, Step, connect, load_migrations, runner
from fairlead.migrations.execution import Session

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def apply(connection: Connection, folder: Path, *texts: str) -> list[Step]:
    """Write the texts as migrations and apply them; return the steps that were told."""
    steps: list[Step] = []
    for number, text in enumerate(texts, 1):
        (folder / f"{number:03}_step.sql").write_text(text, "utf-8")
    Migrator(connection, load_migrations(folder)).apply(on_progress=steps.append)
    return steps


def held(connection: Connection) -> tuple[list[str], list[str]]:
    """Return the tables and the recorded versions."""
    tables = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
    ).fetchall()
    versions = connection.execute("SELECT version FROM public.schema_migrations ORDER BY 1").fetchall()
    return [row[0] for row in tables if row[0] != "schema_migrations"], [row[0] for row in versions]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE a ()",
        "CREATE TABLE a ();;\n\n",
        "CREATE TABLE a () -- the end",
        "CREATE TABLE a (); -- the end",
        "CREATE TABLE a (); /* the end */",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; CREATE TABLE a ();",
        "CREATE TABLE a (); RESET ALL;",
        "CREATE TABLE a (); SAVEPOINT fairlead;",
        "CREATE TABLE a (); SET search_path = nowhere; SET standard_conforming_strings = off;",
        "CREATE TABLE a (); CREATE FUNCTION now() RETURNS int RETURN 1; SET search_path = public, pg_catalog",
    ],
)
def test_a_file_is_recorded_whatever_it_ends_in_and_sets(connection: Connection, tmp_path: Path, text: str) -> None:
    apply(connection, tmp_path, text, "CREATE TABLE b ();")
    assert held(connection) == (["a", "b"], ["001", "002"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CREATE TABLE a ();\nCREATE TABLE b (\n", "001_step.sql:2:17: syntax error at end of input"),
        (
            "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1;",
            "001_step.sql:2:23: syntax error at end of input",
        ),
        ("CREATE TABLE a ();\nSELECT 'open", "001_step.sql:2:13: syntax error at end of input: a statement or a quote"),
        ("CREATE TABLE a ();\nSELECT E'open\\", "001_step.sql:2:15: syntax error at end of input"),
        ('CREATE TABLE a ();\nSELECT "open', "001_step.sql:2:13: syntax error at end of input"),
        ("CREATE TABLE a ();\nSELECT $x$open", "001_step.sql:2:8: unterminated dollar-quoted string"),
        ("CREATE TABLE a ();\nSELECT 1 /* open", "001_step.sql:2:10: unterminated /* comment"),
        ("CREATE TABLE a ();\nSELECT 1 / 0;\n", "001_step.sql:2:1: division by zero"),
        ("CREATE TABLE a ();\nDROP TABLE schema_migrations;", 'relation "public.schema_migrations" does not exist'),
        (
            "CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1), (1);",
            "001_step.sql: duplicate key value",
        ),
    ],
)
def test_a_file_that_fails_anywhere_leaves_nothing_and_is_told_by_its_own_lines(
    connection: Connection, tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(MigrationError) as caught:
        apply(connection, tmp_path, text)
    assert told in caught.value.message
    assert "SAVEPOINT" not in caught.value.message
    assert held(connection) == ([], [])


def test_each_migration_is_one_query(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    results = Session._results
    monkeypatch.setattr(Session, "_results", lambda self, text: sent.append(text) or results(self, text))
    apply(connection, tmp_path, *(f"CREATE TABLE t{number} ();" for number in range(5)))
    assert [text for text in sent if "CREATE TABLE" in text] == sent[1:]
    assert len(sent) == 6


def test_what_is_recorded_is_how_long_the_file_took(connection: Connection, tmp_path: Path) -> None:
    steps = apply(connection, tmp_path, "SELECT 1", "SELECT pg_sleep(0.1)")
    rows = connection.execute("SELECT duration_ms FROM schema_migrations ORDER BY version").fetchall()
    taken = [step.seconds * 1000 for step in steps if step.kind == "done"]
    assert 0 <= rows[0][0] <= taken[0] + 1
    assert 100 <= rows[1][0] <= taken[1] + 1


def test_a_commit_that_was_not_seen_before_is_told_and_not_recorded(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_UNRUNNABLE", ())
    with pytest.raises(MigrationError, match=r"001_step\.sql: ended the transaction that it ran in: .* not recorded"):
        apply(connection, tmp_path, "CREATE TABLE a (); COMMIT; CREATE TABLE b ();")
    assert held(connection) == (["a"], [])


def test_a_session_that_ends_before_a_file_is_through_is_known_to_leave_nothing(
    connection: Connection, fresh_database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(MigrationError, match="was not applied"):
        apply(connection, tmp_path, "CREATE TABLE a (); SELECT pg_terminate_backend(pg_backend_pid());")
    with connect(fresh_database_url) as again:
        assert held(again) == ([], [])
