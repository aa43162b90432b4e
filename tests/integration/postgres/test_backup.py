"""Backups and restores against a real server: what comes back, what is refused, and what a killed restore leaves."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from fairlead.exceptions import CommandError, PlatformError
from fairlead.postgres import Databases, backup
from fairlead.postgres.backup import back_up, manifest_path
from fairlead.postgres.restore import restore

_ROWS = 20_000


@pytest.fixture
def filled(fresh_database_url: str) -> str:
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
        connection.execute("INSERT INTO schema_migrations VALUES ('2'), ('010')")
        connection.execute(f"CREATE TABLE many AS SELECT n, repeat('x', 50) t FROM generate_series(1, {_ROWS}) n")
    return fresh_database_url


def _count(address: str) -> int:
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT count(*) FROM many").fetchone()
    assert row is not None
    return int(row[0])


def _name(address: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(address)["dbname"])


def _left_behind(server: Databases, address: str) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [_name(address) + "_"]
        ).fetchall()
    return [row[0] for row in rows]


def test_a_backup_says_what_it_holds_and_keeps_the_password_to_itself(filled: str, tmp_path: Path) -> None:
    dump = tmp_path / "one.dump"
    manifest = back_up(filled, dump)
    assert manifest.rows == {"public.many": _ROWS, "public.schema_migrations": 2}
    assert (manifest.migration, manifest.size) == ("010", dump.stat().st_size)
    assert sorted(tmp_path.iterdir()) == [dump, manifest_path(dump)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    password = str(psycopg.conninfo.conninfo_to_dict(filled)["password"])
    assert password not in manifest_path(dump).read_text("utf-8")


def test_a_restore_brings_back_rows_settings_and_grants_and_drops_the_old(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    name = _name(filled)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')
        connection.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    facts = (
        "SELECT (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),"
        " setconfig::text, datcollate, datdba FROM pg_database d"
        " JOIN pg_db_role_setting ON setdatabase = d.oid WHERE datname = current_database()"
    )
    with psycopg.connect(filled) as connection:
        before = connection.execute(facts).fetchall()
    back_up(filled, tmp_path / "one.dump")
    with psycopg.connect(filled, autocommit=True) as user:  # is still connected when the databases are swapped
        user.execute("DELETE FROM many")
        restore(filled, tmp_path / "one.dump", replace=name)
    assert _count(filled) == _ROWS
    with psycopg.connect(filled) as connection:
        assert connection.execute(facts).fetchall() == before
    assert _left_behind(postgres_server, filled) == []


@pytest.mark.parametrize("replace", [None, "another"])
def test_a_filled_database_is_replaced_only_by_its_name(filled: str, tmp_path: Path, replace: str | None) -> None:
    back_up(filled, tmp_path / "one.dump")
    with pytest.raises(PlatformError, match=r"is not empty|is called"):
        restore(filled, tmp_path / "one.dump", replace=replace)


@pytest.mark.parametrize("fault", ["missing", "truncated", "no manifest", "garbage"])
def test_a_dump_that_is_not_what_was_written_is_refused(filled: str, tmp_path: Path, fault: str) -> None:
    dump = tmp_path / "one.dump"
    back_up(filled, dump)
    if fault == "missing":
        dump.unlink()
    elif fault == "no manifest":
        manifest_path(dump).unlink()
    elif fault == "garbage":
        manifest_path(dump).write_text("[]", "utf-8")
    else:
        os.truncate(dump, 100)
    with pytest.raises(PlatformError):
        restore(filled, dump, replace=_name(filled))
    assert _count(filled) == _ROWS


def test_a_restore_whose_rows_differ_leaves_the_old_database(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    dump = tmp_path / "one.dump"
    back_up(filled, dump)
    beside = manifest_path(dump)
    beside.write_text(beside.read_text("utf-8").replace(f'"public.many": {_ROWS}', '"public.many": 1'), "utf-8")
    with pytest.raises(PlatformError, match=r"public\.many"):
        restore(filled, dump, replace=_name(filled))
    assert _count(filled) == _ROWS
    assert _left_behind(postgres_server, filled) == []


def test_a_backup_that_is_there_is_not_replaced(filled: str, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "one.dump")
    before = manifest_path(tmp_path / "one.dump").read_bytes()
    with pytest.raises(PlatformError, match=r"there is .*one\.dump already"):
        back_up(filled, tmp_path / "one.dump")
    assert manifest_path(tmp_path / "one.dump").read_bytes() == before


def test_a_failing_dump_leaves_no_file(filled: str, tmp_path: Path) -> None:
    # A role that may not read the table: pg_dump has begun when it finds that out.
    with pytest.raises((CommandError, PlatformError)):
        back_up(psycopg.conninfo.make_conninfo(filled, options="-c role=pg_read_all_settings"), tmp_path / "one.dump")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_restore_leaves_the_old_database_and_the_next_one_sweeps(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    dump = tmp_path / "one.dump"
    back_up(filled, dump)
    script = "import sys, pathlib; from fairlead.postgres.restore import restore;"
    script += " restore(sys.argv[1], pathlib.Path(sys.argv[2]), replace=sys.argv[3])"
    child = subprocess.Popen([sys.executable, "-c", script, filled, str(dump), _name(filled)])
    busy = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_restore' AND starts_with(datname, %s)"
    deadline = time.monotonic() + 15
    with psycopg.connect(postgres_server.url(), autocommit=True) as watcher:
        while watcher.execute(busy, [_name(filled)]).fetchone() is None:
            assert time.monotonic() < deadline
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert _count(filled) == _ROWS
    assert len(_left_behind(postgres_server, filled)) == 1
    restore(filled, dump, replace=_name(filled))
    assert _left_behind(postgres_server, filled) == []


#: Where a restore is killed, as what it was about to do there, and whether the new database serves already.
KILLED = {
    "just created": ("_copy_settings", False),
    "restored": ("count_rows", False),
    "before the swap": ("_swap", False),
    "swapped": ("_drop", True),
}


@pytest.mark.parametrize(("step", "swapped"), KILLED.values(), ids=list(KILLED))
def test_a_restore_killed_at_any_step_leaves_one_whole_database_and_the_next_one_sweeps(
    filled: str, postgres_server: Databases, tmp_path: Path, step: str, swapped: bool
) -> None:
    dump = tmp_path / "one.dump"
    back_up(filled, dump)
    with psycopg.connect(filled) as connection:
        connection.execute("DELETE FROM many WHERE n <= 5")
    script = (
        "import os, pathlib, signal, sys; from fairlead.postgres import restore;"
        " setattr(restore, sys.argv[4], lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL));"
        " restore.restore(sys.argv[1], pathlib.Path(sys.argv[2]), replace=sys.argv[3])"
    )
    killed = subprocess.run([sys.executable, "-c", script, filled, str(dump), _name(filled), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert _count(filled) == (_ROWS if swapped else _ROWS - 5)
    assert len(_left_behind(postgres_server, filled)) == 1
    restore(filled, dump, replace=_name(filled))
    assert (_count(filled), _left_behind(postgres_server, filled)) == (_ROWS, [])


def test_the_limit_of_connections_is_the_old_database_s(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    name = _name(filled)
    back_up(filled, tmp_path / "one.dump")
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 17')
        restore(filled, tmp_path / "one.dump", replace=name, keep_old=True)
        limits = connection.execute(
            "SELECT datconnlimit FROM pg_database WHERE starts_with(datname, %s)", [name]
        ).fetchall()
        (kept,) = _left_behind(postgres_server, filled)
        restore(filled, tmp_path / "one.dump", replace=name)
        assert _left_behind(postgres_server, filled) == [kept], "what was kept on purpose is nobody's to sweep"
        connection.execute(f'DROP DATABASE "{kept}"')
    assert limits == [(17,), (17,)]


def test_what_a_killed_backup_left_is_removed_and_a_running_one_s_is_not(filled: str, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys; from fairlead.postgres import backup;"
        " backup.count_rows = lambda *a: (print(flush=True), sys.stdin.read());"
        " backup.back_up(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    argv = [sys.executable, "-c", script, filled, str(tmp_path / "two.dump")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        back_up(filled, tmp_path / "one.dump")
        assert len(list(tmp_path.glob(".part-*"))) == 1, "it is still at work"
        child.kill()
    back_up(filled, tmp_path / "three.dump")
    assert list(tmp_path.glob(".part-*")) == []
    assert sorted(file.name for file in tmp_path.glob("*.dump")) == ["one.dump", "three.dump"]


def test_a_user_who_may_not_create_databases_is_told_what_to_ask_for(
    filled: str, postgres_server: Databases, tmp_path: Path
) -> None:
    back_up(filled, tmp_path / "one.dump")
    role = f"plain_{_name(filled)}"
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret' IN ROLE pg_read_all_data")
        try:
            address = psycopg.conninfo.make_conninfo(filled, user=role, password="secret")
            with pytest.raises(PlatformError, match="may not create databases") as refused:
                restore(address, tmp_path / "one.dump", replace=_name(filled))
        finally:
            connection.execute(f'DROP ROLE "{role}"')
    assert f"ALTER ROLE {role} CREATEDB" in str(refused.value.hint)
    assert (_count(filled), _left_behind(postgres_server, filled)) == (_ROWS, [])


def test_progress_is_told_while_a_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_TOLD_EVERY", 0.001)
    heard = threading.Event()

    def hear(count: int) -> None:
        assert count == 7
        heard.set()

    with backup.told(lambda: 7, hear):
        assert heard.wait(10)
