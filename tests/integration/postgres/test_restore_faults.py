"""Backups and restores that are interrupted, refused or in somebody's way, and what each leaves."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fairlead import _process
from fairlead.exceptions import PlatformError
from fairlead.postgres import Databases, backup
from fairlead.postgres import restore as restores
from fairlead.postgres.backup import back_up
from fairlead.postgres.restore import restore

#: Restoring this takes a minute, in the middle of the first table's COPY; filling and dumping it takes no time.
SLOW = """
CREATE FUNCTION public.slow() RETURNS boolean LANGUAGE sql AS $$
    SELECT CASE WHEN current_database() LIKE '%\\_restore\\_%' THEN pg_sleep(60)::text IS NOT NULL ELSE true END
$$;
CREATE TABLE many (n int CHECK (public.slow()));
INSERT INTO many SELECT generate_series(1, 10);
"""
#: As on a terminal: a test runner in the background of a shell hands an ignored SIGINT down to its children.
_INTERRUPTIBLE = "import pathlib, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
BACK_UP = (
    f"{_INTERRUPTIBLE} from fairlead.postgres.backup import back_up; back_up(sys.argv[1], pathlib.Path(sys.argv[2]))"
)
RESTORE = f"{_INTERRUPTIBLE} from fairlead.postgres.restore import restore;"
RESTORE += " restore(sys.argv[1], pathlib.Path(sys.argv[2]), replace=sys.argv[3])"


@pytest.fixture
def filled(fresh_database_url: str) -> str:
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute(SLOW)
    return fresh_database_url


@pytest.fixture
def role(filled: str) -> Iterator[str]:
    """Give the name of a role of this test's own, which may create databases and is a superuser of nothing."""
    name = f"owner_{database_of(filled)}"
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE \"{name}\" LOGIN CREATEDB PASSWORD 'secret'")
        try:
            yield name
        finally:
            connection.execute(f'DROP ROLE "{name}"')


def database_of(address: str) -> str:
    return str(conninfo_to_dict(address)["dbname"])


def count(address: str) -> int:
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT count(*) FROM many").fetchone()
    assert row is not None
    return int(row[0])


def beside(server: Databases, name: str) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND datname <> %s ORDER BY 1"
        return [row[0] for row in connection.execute(query, [name, name]).fetchall()]


def wait_for(server: Databases, condition: str, values: list[str], child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    with psycopg.connect(server.url(), autocommit=True) as watcher:
        while watcher.execute(f"SELECT FROM pg_stat_activity WHERE {condition}", values).fetchone() is None:
            assert child.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < deadline


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_restore_that_is_ended_while_rows_are_copied_changes_nothing(
    filled: str, postgres_server: Databases, tmp_path: Path, number: signal.Signals
) -> None:
    dump, name = tmp_path / "one.dump", database_of(filled)
    back_up(filled, dump)
    with psycopg.connect(filled) as connection:
        connection.execute("DELETE FROM many WHERE n <= 3")
    with subprocess.Popen([sys.executable, "-c", RESTORE, filled, str(dump), name], stderr=subprocess.DEVNULL) as child:
        copying = "starts_with(datname, %s) AND application_name = 'pg_restore' AND query ILIKE 'copy %%'"
        wait_for(postgres_server, copying, [name], child)
        child.send_signal(number)
        assert child.wait(20) == -number
    assert count(filled) == 7
    if number == signal.SIGINT:
        assert beside(postgres_server, name) == [], "a Ctrl-C cleans up at once"
        assert str(dump) not in _process.run(["ps", "-ewwo", "args"]).stdout, "pg_restore is still there"
    else:
        (left,) = beside(postgres_server, name)
        with psycopg.connect(filled, autocommit=True) as connection:
            connection.execute("DROP TABLE many; DROP FUNCTION slow")
        back_up(filled, tmp_path / "two.dump")
        restore(filled, tmp_path / "two.dump", replace=name)
        assert (beside(postgres_server, name), "_restore_" in left) == ([], True)


def test_a_ctrl_c_ends_a_backup_and_its_pg_dump_and_leaves_no_file(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    with psycopg.connect(filled) as blocker:
        blocker.execute("LOCK TABLE many IN ACCESS EXCLUSIVE MODE")
        argv = [sys.executable, "-c", BACK_UP, filled, str(tmp_path / "one.dump")]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
            waiting = "datname = %s AND application_name = 'pg_dump' AND wait_event_type = 'Lock'"
            wait_for(postgres_server, waiting, [database_of(filled)], child)
            assert str(tmp_path) in _process.run(["ps", "-ewwo", "args"]).stdout
            child.send_signal(signal.SIGINT)
            assert child.wait(20) == -signal.SIGINT
        assert str(tmp_path) not in _process.run(["ps", "-ewwo", "args"]).stdout, "pg_dump is still there"
    assert list(tmp_path.iterdir()) == []


HELD = {
    "a table": "CREATE TABLE one (n int)",
    "a view": "CREATE VIEW one AS SELECT 1",
    "a sequence": "CREATE SEQUENCE one",
    "a function": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a large object": "SELECT lo_create(0)",
    "a partitioned table": "CREATE TABLE one (n int) PARTITION BY RANGE (n)",
}


@pytest.mark.parametrize("statement", HELD.values(), ids=list(HELD))
def test_a_database_that_holds_anything_is_not_empty(fresh_database_url: str, tmp_path: Path, statement: str) -> None:
    dump = tmp_path / "one.dump"
    back_up(fresh_database_url, dump)
    restore(fresh_database_url, dump)
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute(statement)
    with pytest.raises(PlatformError, match=r"is not empty: it holds 1 (table|view|sequence|function|large object)$"):
        restore(fresh_database_url, dump)


def test_one_byte_that_differs_is_found(fresh_database_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "one.dump"
    back_up(fresh_database_url, dump)
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    with pytest.raises(PlatformError, match="size or checksum differs"):
        restore(fresh_database_url, dump)


def test_a_pg_dump_older_than_the_server_is_refused_with_what_to_do(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "MAJOR_VERSION", 12)
    with pytest.raises(PlatformError, match=r"the server is PostgreSQL \d+, and pg_dump 12 cannot read it") as refused:
        back_up(filled, tmp_path / "one.dump")
    assert "install --upgrade" in str(refused.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_is_not_the_owner_is_told_so(
    fresh_database_url: str, postgres_server: Databases, tmp_path: Path, role: str
) -> None:
    back_up(fresh_database_url, tmp_path / "one.dump")
    address = make_conninfo(fresh_database_url, user=role, password="secret")
    with pytest.raises(PlatformError, match=f"the user {role} may not create one for that role") as refused:
        restore(address, tmp_path / "one.dump", replace=database_of(fresh_database_url))
    assert f"TO {role}" in str(refused.value.hint)
    assert beside(postgres_server, database_of(fresh_database_url)) == []


def test_what_is_not_certainly_ours_or_not_ours_to_drop_stays_and_stops_nobody(
    filled: str, postgres_server: Databases, tmp_path: Path, role: str
) -> None:
    mine, dump, notes = f"mine_{database_of(filled)[-12:]}", tmp_path / "one.dump", list[str]()
    marked, strange = f"{mine}_restore_0badcafe", f"{mine}_before_0badcafe"
    address = make_conninfo(filled, dbname=mine, user=role, password="secret")
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{mine}" OWNER "{role}"')
        connection.execute(f'CREATE DATABASE "{strange}" OWNER "{role}"')
        connection.execute(f'CREATE DATABASE "{marked}" CONNECTION LIMIT {restores._NOBODYS}')
        try:
            back_up(address, dump)
            restore(address, dump, replace=mine, on_note=notes.append)
            left = beside(postgres_server, mine)
        finally:
            for name in (mine, strange, marked):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
    assert left == [strange, marked]
    assert [marked in note and "must be owner" in note for note in notes] == [True], notes


def test_a_replaced_database_that_cannot_be_dropped_is_told_of_and_the_restore_stands(
    fresh_database_url: str, postgres_server: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump, name, notes, drop = tmp_path / "one.dump", database_of(fresh_database_url), list[str](), restores._drop
    back_up(fresh_database_url, dump)

    def refuse(*_: object) -> None:
        raise psycopg.errors.ObjectInUse("it is used by an active logical replication slot")

    with monkeypatch.context() as patched:
        patched.setattr(restores, "_drop", refuse)
        restore(fresh_database_url, dump, replace=name, on_note=notes.append)
    (left,) = beside(postgres_server, name)
    assert [left in note and "replication slot" in note for note in notes] == [True], notes
    assert restores._drop is drop
    restore(fresh_database_url, dump, replace=name)
    assert beside(postgres_server, name) == []


def test_a_name_as_long_as_a_name_may_be_keeps_within_its_bytes(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    name = "é" * 25 + database_of(filled)[-12:]
    postgres_server.create_database(name)
    try:
        address = make_conninfo(filled, dbname=name)
        back_up(address, tmp_path / "one.dump")
        restore(address, tmp_path / "one.dump", replace=name)
        with psycopg.connect(address) as connection:
            assert connection.info.dbname == name
    finally:
        postgres_server.drop_database(name)
    with psycopg.connect(postgres_server.url()) as connection:
        assert connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'é%'").fetchall() == []


def test_two_restores_of_one_database_do_not_meet(
    fresh_database_url: str, postgres_server: Databases, tmp_path: Path
) -> None:
    back_up(fresh_database_url, tmp_path / "one.dump")
    with psycopg.connect(postgres_server.url(), autocommit=True) as other:
        restores._lock(other, database_of(fresh_database_url))
        with pytest.raises(PlatformError, match="another restore of this database"):
            restore(fresh_database_url, tmp_path / "one.dump")
    restore(fresh_database_url, tmp_path / "one.dump")
