"""A running PostgreSQL server, in the foreground under the process that started it."""

import atexit
import contextlib
import errno
import os
import random
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from fairlead import _process
from fairlead._polling import wait_until
from fairlead.exceptions import CommandError, DeadlineError, PlatformError
from fairlead.postgres.account import pick_account
from fairlead.postgres.binaries import Binaries, find_binaries
from fairlead.postgres.cluster import (
    ENVIRONMENT,
    USER,
    Cluster,
    failure,
    initialise,
    locate_cluster,
    remove_sockets,
)
from fairlead.postgres.databases import Databases
from fairlead.postgres.ownership import OwnerLock, end_orphan, read_pid, reap

START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0

_ATTEMPTS = 20
_LOG_LIMIT = 5_000_000
#: Below the ports that the system hands out by itself, so that a choice stays free until the server takes it.
_PORTS = range(20_000, 32_000)
_CREATE_MISSING = """
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""
_PASSING = ("could not bind", "could not create any TCP/IP sockets", "pre-existing shared memory block")


class Server(Databases):
    """A PostgreSQL that this process owns; `directory` is the folder that it was asked to keep its data in."""

    def __init__(self, directory: Path, cluster: Cluster, lock: OwnerLock, binaries: Binaries) -> None:
        self.directory = directory
        self.home = cluster.home
        self.port = 0
        self._cluster = cluster
        self._lock = lock
        self._child: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._password = ""  # nosec B105 - made when the cluster is
        self._binaries = binaries
        self._owner = os.getpid()

    @classmethod
    def start(
        cls, directory: Path, *, port: int = 0, durable: bool = True, binaries: Binaries | None = None
    ) -> "Server":
        """Start the server of `directory`, making its cluster the first time; return when it accepts connections.

        Port 0 takes the one used last time if that is free, and else any free one. Without `durable` nothing is synced
        to disk: quick, for data that may be lost. Raises `PlatformError` when another process owns the folder, and for
        everything that keeps the server from starting.
        """
        try:
            account = pick_account()
            programs = binaries or find_binaries(account)
            cluster = locate_cluster(directory, account)
            lock = OwnerLock.acquire(cluster.lock_file)
            server = cls(directory, cluster, lock, programs)
            try:
                server._bring_up(port, durable=durable)
            except BaseException:
                server.stop()
                raise
        except OSError as error:
            raise _not_usable(directory, error) from error
        return server

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._child.pid if self._child else 0

    @property
    def socket_directory(self) -> Path | None:
        """The private folder of the server's Unix socket."""
        return self._sockets

    @property
    def log_file(self) -> Path:
        """The file with everything that the server said."""
        return self.home / "server.log"

    def url(self, database: str = "postgres") -> str:
        """Return the address of one database on loopback, with the password."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def ensure_database(self, name: str) -> None:
        """Create the database `name` unless there is one: by psql, which has done so before psycopg is imported."""
        login = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": self._password}
        done = _process.run(
            psql_argv(self._binaries, name),
            cwd=Path("/"),
            env=ENVIRONMENT | login,
            stdin=_CREATE_MISSING,
            timeout=START_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise failure(f"PostgreSQL did not make the database {name}", done.output)

    def alive(self) -> bool:
        """Tell whether the server's process is running."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """Stop the server and give up its folder; a second time does nothing."""
        if os.getpid() != self._owner:
            return  # a fork of the owner
        atexit.unregister(self.stop)
        if self._child is not None:
            reap(self._child, grace=STOP_TIMEOUT)
            self._child = None
        remove_sockets(self.home)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bring_up(self, port: int, *, durable: bool) -> None:
        self.throwaway = not durable
        end_orphan(self._cluster.data)
        initialise(self._cluster, self._binaries, durable=durable)
        self._password = self._cluster.read_password()
        self._sockets = self._cluster.make_socket_folder()
        atexit.register(self.stop)
        remembered = self.home / "port"
        wanted = port or _read_port(remembered)
        for _ in range(_ATTEMPTS):
            self.port = wanted or choose_port()
            said = self._launch(
                server_argv(self._binaries, self._cluster.data, self.port, self._sockets, durable=durable)
            )
            if said is None:
                remembered.write_text(f"{self.port}\n", "utf-8")
                return
            if not any(sign in said for sign in _PASSING):
                raise failure(f"PostgreSQL did not start in {self.home}", said, hint=f"its log is {self.log_file}")
            if port and "could not bind" in said:
                raise PlatformError(
                    f"port {port} on 127.0.0.1 is taken by another program", hint="choose another port, or 0 for any"
                )
            wanted = port
            time.sleep(0.05)  # the processes of a server that was killed notice it and go
        raise failure(f"PostgreSQL did not start in {self.home} at {_ATTEMPTS} attempts", said or "")

    def _launch(self, argv: list[str]) -> str | None:
        """Start the server; return None once it is ready, and what it said when it ended instead."""
        account = self._cluster.account
        with _open_log(self.log_file) as log:
            start = log.tell()
            try:
                self._child = _process.spawn(
                    argv,
                    cwd=self.home,
                    env=ENVIRONMENT,
                    output=log,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    umask=0o077,
                )
            except CommandError as error:
                raise PlatformError(f"PostgreSQL cannot be run: {error}") from error
        try:
            ready = wait_until(
                self._probe,
                timeout=START_TIMEOUT,
                what="PostgreSQL to accept connections",
                interval=0.01,
                longest_interval=0.03,
                hint=f"its log is {self.log_file}",
            )
        except DeadlineError as error:
            raise failure(str(error), _read_from(self.log_file, start), hint=error.hint) from error
        return None if ready else _read_from(self.log_file, start)

    def _probe(self, _remaining: float) -> bool | None:
        """Ask the way pg_ctl does: the server writes its state on the eighth line of its own file."""
        if not self.alive():
            return False
        file = self._cluster.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            lines = file.read_text("utf-8", "replace").splitlines()
            if len(lines) > 7 and lines[7].strip() == "ready" and read_pid(file) == self.pid:
                return True
        return None


def server_argv(binaries: Binaries, data: Path, port: int, sockets: Path, *, durable: bool) -> list[str]:
    """Build the command that runs the server: on loopback and a private socket, and nowhere else."""
    quoted = '"' + str(sockets).replace('"', '""') + '"'
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": quoted,
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": "64MB",
    }
    if not durable:
        settings |= {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "min_wal_size": "8MB",
            "max_wal_size": "128MB",
            "autovacuum_naptime": "10min",
            "io_method": "sync",
        }
    argv = [str(binaries.program("postgres")), "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return argv


def psql_argv(binaries: Binaries, name: str) -> list[str]:
    """Build the command that runs statements from its input on the first database, with `name` for them to use."""
    options = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", f"--set=name={name}"]
    return [str(binaries.program("psql")), *options, "--dbname=postgres"]


def choose_port() -> int:
    """Choose a port of 127.0.0.1 that is free now."""
    for port in random.sample(_PORTS, 50):  # nosec B311 - a port is no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _open_log(file: Path) -> IO[bytes]:
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size > _LOG_LIMIT:
            file.replace(file.with_suffix(".log.1"))
    stream = file.open("ab")
    file.chmod(0o600)
    return stream


def _read_from(file: Path, start: int) -> str:
    with file.open("rb") as log:
        log.seek(start)
        return log.read().decode("utf-8", "replace").strip()


def _read_port(file: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        port = int(file.read_text("utf-8"))
        if 1024 <= port <= 65535:
            return port
    return 0


def _not_usable(directory: Path, error: OSError) -> PlatformError:
    why = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    hints = {
        errno.ENOSPC: "the disk is full: free some space and run this again",
        errno.EACCES: "it may belong to another user; remove it, or run this as that user",
        errno.EPERM: "it may belong to another user; remove it, or run this as that user",
    }
    return PlatformError(f"{directory} cannot hold a PostgreSQL: {why}{where}", hint=hints.get(error.errno or 0))
