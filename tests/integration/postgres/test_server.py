"""The embedded server: starting, stopping, owners, crashes."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fairlead.exceptions import PlatformError
from fairlead.postgres import Server, remove_data, temporary, temporary_server
from fairlead.postgres.binaries import Binaries, find_binaries
from fairlead.postgres.cluster import home_of
from fairlead.postgres.ownership import is_server

ROOT = Path(__file__).parents[3]
OWNER = """
    import sys, signal
    from pathlib import Path
    from fairlead.postgres import Server
    server = Server.start(Path(sys.argv[1]), durable=False)
    print(server.pid, flush=True)
    signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A wanted folder, with a space in its name, and what the server keeps elsewhere removed afterwards."""
    wanted = tmp_path / "my data"
    yield wanted
    if wanted.is_dir():
        remove_data(wanted)


def start_owner(wanted: Path) -> tuple["subprocess.Popen[str]", int]:
    """Start a process that owns the server of `wanted`; return it and the server's process id."""
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), wanted],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_data_and_port_and_password_outlast_a_restart(folder: Path) -> None:
    with Server.start(folder) as server:
        first = server.url("maya")
        server.create_database("maya")
        run(first, "CREATE TABLE t AS SELECT 42 AS n")
    assert not server.alive()
    with Server.start(folder) as server:
        assert server.url("maya") == first
        assert run(first, "SELECT n FROM t") == [(42,)]


def test_databases_are_made_cloned_found_and_dropped(postgres_server: Server) -> None:
    name = f"made_{os.getpid()}"
    postgres_server.create_database(name)
    run(postgres_server.url(name), "CREATE TABLE t AS SELECT 1 AS n")
    postgres_server.create_database(f"{name} clone", template=name)
    assert run(postgres_server.url(f"{name} clone"), "SELECT n FROM t") == [(1,)]
    for each in (name, f"{name} clone"):
        postgres_server.drop_database(each)
        postgres_server.drop_database(each)
        assert not postgres_server.database_exists(each)


def test_missing_database_is_made_and_one_that_is_there_is_left_as_it_is(folder: Path) -> None:
    name = 'it\'s "mine" :name \\gexec'
    with Server.start(folder, durable=False) as server:
        server.ensure_database(name)
        run(server.url(name), "CREATE TABLE t AS SELECT 42 AS n")
        server.ensure_database(name)
        assert run(server.url(name), "SELECT n FROM t") == [(42,)]
        with pytest.raises(PlatformError, match=r"(?s)did not make the database .*zero-length") as caught:
            server.ensure_database("")
        assert server.url().split(":")[2].partition("@")[0] not in str(caught.value)


@pytest.mark.parametrize(("durable", "iterations"), [(True, "4096"), (False, "1")], ids=["kept", "thrown away"])
def test_password_of_a_kept_server_is_hashed_as_often_as_clients_ask(
    folder: Path, durable: bool, iterations: str
) -> None:
    with Server.start(folder, durable=durable) as server:
        ((found,),) = run(server.url(), "SELECT substr(rolpassword, 15) FROM pg_authid WHERE rolname = 'postgres'")
    assert str(found).partition(":")[0] == iterations


def test_making_a_database_twice_is_refused_in_one_line(postgres_server: Server) -> None:
    with pytest.raises(PlatformError, match='database "postgres" already exists'):
        postgres_server.create_database("postgres")


def test_wrong_password_is_refused_on_loopback_and_socket(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        for host in ("127.0.0.1", str(server.socket_directory)):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(host=host, port=server.port, user="postgres", password="wrong", dbname="postgres")


def test_socket_takes_connections_and_is_private(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        password = server.url().partition("@")[0].rpartition(":")[2]
        assert server.socket_directory is not None
        assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
        with psycopg.connect(
            host=str(server.socket_directory), port=server.port, user="postgres", password=password, dbname="postgres"
        ) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_folder_with_a_long_path_gets_a_short_socket_elsewhere(folder: Path) -> None:
    with Server.start(folder / ("x" * 110), durable=False) as server:
        sockets = server.socket_directory
        assert sockets is not None
        assert len(str(sockets)) < 60 or sockets.parent == server.home
        assert server.alive()
    assert not sockets.exists() or sockets.parent == server.home
    remove_data(folder / ("x" * 110))


def test_short_socket_folder_of_a_killed_owner_is_removed(folder: Path) -> None:
    wanted = folder / ("x" * 110)
    owner, _ = start_owner(wanted)
    with owner:
        owner.kill()
    home = home_of(wanted)
    if home == wanted:
        left = Path((home / "sockets").read_text().strip())
        assert left.is_dir()
    remove_data(wanted)
    assert not home.exists()
    assert home != wanted or not left.exists()


def test_server_listens_on_loopback_only(postgres_server: Server) -> None:
    assert run(postgres_server.url(), "SHOW listen_addresses") == [("127.0.0.1",)]


def test_password_is_private_and_in_no_command_line(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        file = server.home / "password"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        commands = subprocess.run(["ps", "-axww", "-o", "command"], capture_output=True, text=True, check=True).stdout
        assert file.read_text() not in commands


def test_second_owner_is_refused_by_the_name_of_the_first(folder: Path) -> None:
    owner, _ = start_owner(folder)
    with owner:
        try:
            with pytest.raises(PlatformError, match=f"belongs to process {owner.pid}, which is running"):
                Server.start(folder)
        finally:
            owner.terminate()


def test_owner_that_ends_without_a_word_leaves_no_server(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from fairlead.postgres import Server;"
    code += "print(Server.start(Path(sys.argv[1]), durable=False).pid)"
    argv = [sys.executable, "-c", code, folder]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not is_server(int(done.stdout), home_of(folder) / "data")


def test_killed_owner_is_followed_by_one_that_ends_the_orphan_and_keeps_the_data(folder: Path) -> None:
    owner, orphan = start_owner(folder)
    with owner:
        home = home_of(folder)
        url = f"postgresql://postgres:{(home / 'password').read_text()}@127.0.0.1:{(home / 'port').read_text().strip()}"
        run(f"{url}/postgres", "CREATE TABLE t AS SELECT 7 AS n")
        owner.kill()
    assert is_server(orphan, home / "data")
    with Server.start(folder, durable=False) as server:
        assert not is_server(orphan, home / "data")
        assert run(server.url(), "SELECT n FROM t") == [(7,)]


def test_killed_owner_and_killed_server_are_recovered_from(folder: Path) -> None:
    with Server.start(folder) as server:
        run(server.url(), "CREATE TABLE t AS SELECT 8 AS n")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive())
    with Server.start(folder) as server:
        assert run(server.url(), "SELECT n FROM t") == [(8,)]


def test_recorded_number_of_a_stranger_does_not_keep_the_server_from_starting(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        home = server.home
    (home / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n{home / 'data'}\n")
    with Server.start(folder, durable=False) as server:
        assert server.alive()


def test_cluster_made_in_part_is_made_anew(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        home = server.home
    half = home / "new-12345"
    (home / "data").rename(half)
    (half / "PG_VERSION").unlink()
    with Server.start(folder, durable=False) as server:
        assert server.alive()
        assert not half.exists()


def test_two_servers_run_at_once(folder: Path) -> None:
    with Server.start(folder, durable=False) as first, temporary_server() as second:
        assert first.port != second.port
        assert first.alive()
        assert second.alive()


def test_taken_port_is_told_when_it_was_asked_for(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PlatformError, match=f"port {port} on 127.0.0.1 is taken"):
            Server.start(folder, port=port, durable=False)


def test_taken_port_of_last_time_is_replaced(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        port = server.port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with Server.start(folder, durable=False) as server:
            assert server.port != port


def test_port_that_was_asked_for_is_used(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    with Server.start(folder, port=port, durable=False) as server:
        assert server.port == port


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("#!/bin/sh\necho no luck today; exit 3\n", ["initdb failed", "exit code 3", "no luck today"]),
        ("#!/no/such/interpreter\n", ["initdb cannot be run"]),
    ],
)
def test_bad_initdb_is_told_and_leaves_nothing(folder: Path, script: str, told: list[str]) -> None:
    programs = folder.parent / "bin"
    programs.mkdir()
    (programs / "initdb").write_text(script)
    (programs / "initdb").chmod(0o755)
    folder.parent.chmod(0o755)
    with pytest.raises(PlatformError) as caught:
        Server.start(folder, binaries=Binaries(programs))
    if "cannot be run" in caught.value.message and os.geteuid() == 0:
        told = ["initdb cannot be run"]  # the folders of the test's are closed to the server's user
    assert [part for part in told if part not in caught.value.message] == []
    assert not list(home_of(folder).glob("new-*"))
    assert not (home_of(folder) / "data").exists()


def test_server_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        data = server.home / "data"
    with (data / "postgresql.conf").open("a") as stream:
        stream.write("max_connections = many\n")
    with pytest.raises(PlatformError, match="max_connections") as caught:
        Server.start(folder, durable=False)
    assert "server.log" in str(caught.value.hint)


def test_missing_password_is_told(folder: Path) -> None:
    with Server.start(folder, durable=False) as server:
        home = server.home
    (home / "password").unlink()
    with pytest.raises(PlatformError, match=r"password .* is missing"):
        Server.start(folder)


def test_file_in_place_of_the_folder_is_told(folder: Path) -> None:
    folder.touch()
    with pytest.raises(PlatformError, match="cannot hold a PostgreSQL"):
        Server.start(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_root_starts_it_as_an_unprivileged_user_without_opening_anyone_s_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Server.start(closed / "data", durable=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert server.home != closed / "data"
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.home / "data").stat().st_mode) == 0o700
        assert run(server.url(), "SELECT 1") == [(1,)]
        with pytest.raises(PlatformError, match="which is running"):
            remove_data(closed / "data")
    remove_data(closed / "data")
    assert not server.home.exists()
    assert not (closed / "data").exists()


def test_temporary_server_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with temporary_server(place=tmp_path) as server:
        pid, home = server.pid, server.home
        assert run(server.url(), "SHOW fsync") == [("off",)]
    assert not is_server(pid, home / "data")
    assert not home.exists()
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_owner_is_removed_by_the_next(tmp_path: Path) -> None:
    wanted = tmp_path / f"fairlead-{os.geteuid()}-left"
    owner, orphan = start_owner(wanted)
    with owner:
        owner.kill()
    home = home_of(wanted)
    temporary.sweep_leftovers(tmp_path, f"fairlead-{os.geteuid()}-")
    assert not is_server(orphan, home / "data")
    assert not home.exists()
    assert not wanted.exists()


def test_living_server_is_not_taken_for_a_leftover(postgres_server: Server) -> None:
    temporary.sweep_leftovers(temporary.choose_place(), f"fairlead-{os.geteuid()}-")
    assert run(postgres_server.url(), "SELECT 1") == [(1,)]


def test_programs_for_dumps_are_there_too() -> None:
    for name in ("psql", "pg_dump", "pg_restore"):
        assert find_binaries().program(name).is_file()


@pytest.mark.parametrize("durable", [True, False])
def test_second_cluster_is_a_copy_with_a_password_of_its_own(
    memory_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    folder = memory_path / "my data"
    monkeypatch.setattr("fairlead.postgres.cluster.choose_cache", lambda _account: tmp_path / "cache")
    identify = "SELECT system_identifier FROM pg_control_system()"
    with Server.start(folder, durable=durable) as server:
        first, port, identifier = server.url(), server.port, run(server.url(), identify)
    remove_data(folder)
    with Server.start(folder, durable=durable) as server:
        assert run(server.url(), identify) == identifier
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(first.replace(f":{port}/", f":{server.port}/"))
    assert len(list((tmp_path / "cache").iterdir())) == 1
