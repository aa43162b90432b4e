"""Servers that fail while they are migrated: a standby, a full disk, a restart, a connection lost at the COMMIT."""

import contextlib
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead import postgres
from fairlead._polling import wait_until
from fairlead.exceptions import MigrationError
from fairlead.migrations import Migrator, Step, connect, load_migrations

FILES = {"001_first": "CREATE TABLE first (id int);", "002_second": "CREATE TABLE second (id int);"}
BIG = "CREATE TABLE second AS SELECT repeat(md5(n::text), 30) AS text FROM generate_series(1, 10000) n;"
Drops = Callable[[bytes, bool], bool]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.sql").write_text(text, "utf-8")
    return folder


def apply(address: str, folder: Path) -> list[str]:
    with connect(address) as connection:
        return [migration.version for migration in Migrator(connection, load_migrations(folder)).apply()]


def tables(address: str) -> set[str]:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def test_a_standby_is_told_apart_and_left_alone(tmp_path: Path, folder: Path) -> None:
    with postgres.Server.start(tmp_path / "server", durable=True) as server:
        data = Path(str(shown(server.url(), "SHOW data_directory")))
    (data / "standby.signal").touch()
    with postgres.Server.start(tmp_path / "server", durable=True) as server:
        assert shown(server.url(), "SELECT pg_is_in_recovery()") is True
        with pytest.raises(MigrationError, match="read-only replica: nothing was changed") as refused:
            apply(server.url(), folder)
        assert "primary" in str(refused.value.hint)
        assert tables(server.url()) == set()


def crash(server: postgres.Server) -> None:
    """End a server as a power cut does: without a checkpoint, so that the next one recovers."""
    os.kill(server.pid, signal.SIGQUIT)
    wait_until(lambda _left: not server.alive() or None, timeout=10, interval=0.01, what="the end of the server")


@pytest.mark.parametrize("end", [crash, postgres.Server.stop], ids=["crashed", "stopped"])
def test_a_server_that_is_back_before_the_next_file_is_sent_is_not_gone_on_with(
    tmp_path: Path, folder: Path, end: Callable[[postgres.Server], None]
) -> None:
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(postgres.Server.start(tmp_path / "server", durable=True))
        again: list[postgres.Server] = []

        def restart(step: Step) -> None:
            if (step.kind, step.migration.version) == ("started", "002"):
                end(server)
                server.stop()
                again.append(servers.enter_context(postgres.Server.start(tmp_path / "server", durable=True)))

        with connect(server.url()) as connection, pytest.raises(MigrationError, match=r"the lock|was lost") as lost:
            Migrator(connection, load_migrations(folder)).apply(on_progress=restart)
        assert "run this again" in str(lost.value.hint)
        assert tables(again[0].url()) == {"first", "schema_migrations"}
        assert apply(again[0].url(), folder) == ["002"]


def test_a_connection_lost_after_the_work_outside_a_transaction_is_found_and_resolved(
    fresh_database_url: str, folder: Path
) -> None:
    text = "-- fairlead: no-transaction\nCREATE INDEX CONCURRENTLY here ON first (id);\n"
    (folder / "002_second.sql").write_text(text, "utf-8")
    done = b"CREATE INDEX\0"
    with relayed(fresh_database_url, lambda data, from_server: from_server and done in data) as address:
        with pytest.raises(MigrationError, match="002_second") as lost:
            apply(address, folder)
        assert "recorded as interrupted" in lost.value.message
        assert "migrations.resolve 002" in str(lost.value.hint)
    with pytest.raises(MigrationError, match=r"002.*interrupted"):
        apply(fresh_database_url, folder)
    with connect(fresh_database_url) as connection:
        migrator = Migrator(connection, load_migrations(folder))
        assert migrator.resolve("002", "applied") == ()
        assert migrator.apply() == ()


def shown(address: str, query: str) -> object:
    with psycopg.connect(address) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def test_a_disk_that_is_full_stops_at_a_whole_migration_and_the_next_run_goes_on(tmp_path: Path, folder: Path) -> None:
    (folder / "002_second.sql").write_text(BIG, "utf-8")
    with small_files(2_000_000):
        server = postgres.Server.start(tmp_path / "server", durable=False)
    with server:
        with pytest.raises(MigrationError, match=r"002_second\.sql.*could not (extend|write)") as failed:
            apply(server.url(), folder)
        assert "rolled back" in failed.value.message
        assert tables(server.url()) == {"first", "schema_migrations"}
    with postgres.Server.start(tmp_path / "server", durable=False) as server:
        assert apply(server.url(), folder) == ["002"]
        assert tables(server.url()) == {"first", "second", "schema_migrations"}


@contextlib.contextmanager
def small_files(most: int) -> Iterator[None]:
    """Start processes whose files grow to so many bytes and no further, which PostgreSQL treats as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Relay:
    """Stands between a client and a server, and ends a connection when `drops` says so of what passes."""

    def __init__(self, port: int, drops: Drops) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._target = port
        self._drops = drops
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data or self._drops(data, source is server):
                        return
                    (client if source is server else server).sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join()


@contextlib.contextmanager
def relayed(address: str, drops: Drops) -> Iterator[str]:
    facts: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(address)
    relay = Relay(int(facts["port"]), drops)
    try:
        yield psycopg.conninfo.make_conninfo(
            address, host="127.0.0.1", port=relay.port, sslmode="disable", gssencmode="disable"
        )
    finally:
        relay.close()


def before_the_commit() -> Drops:
    """Drop the message that would commit the second migration, so that the server never sees it."""
    return lambda data, from_server: not from_server and b"COMMIT" in data and b"002" in data


def after_the_commit() -> Drops:
    """Drop the server's word that the second migration is committed, which it is by then."""
    sent: list[bytes] = []

    def drops(data: bytes, from_server: bool) -> bool:
        if not from_server:
            sent.append(data)
            return False
        return b"COMMIT\0" in data and any(b"002" in one and b"COMMIT" in one for one in sent)

    return drops


@pytest.mark.parametrize(
    ("drops", "left"),
    [(before_the_commit, ["002"]), (after_the_commit, [])],
    ids=["before it arrived", "after it was done"],
)
def test_a_connection_that_ends_at_the_commit_leaves_it_open_and_the_next_run_knows(
    fresh_database_url: str, folder: Path, drops: Callable[[], Drops], left: list[str]
) -> None:
    with relayed(fresh_database_url, drops()) as address, pytest.raises(MigrationError) as lost:
        apply(address, folder)
    assert "002_second.sql" in lost.value.message
    assert "whether this migration was committed is not known" in lost.value.message
    assert "run this again" in str(lost.value.hint)
    assert apply(fresh_database_url, folder) == left
    assert tables(fresh_database_url) == {"first", "second", "schema_migrations"}
