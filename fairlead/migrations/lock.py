"""The lock that lets one runner at a time change a database, held on a session of its own."""

import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import MigrationError

if TYPE_CHECKING:
    from psycopg import Connection, ConnectionInfo

#: The advisory lock's key: chosen once, the same in every release.
LOCK_KEY: Final = 0x0FA1_21EA_D0DB_0001
#: Servers from here on end a session within `client_connection_check_interval` of its client's death.
CHECKED_SINCE: Final = 140_000


class Lock:
    """The lock while it is held: `pid` is the server process of its session."""

    def __init__(self, session: "Connection[tuple[Any, ...]]") -> None:
        self._session = session
        self.pid: Final = session.info.backend_pid

    def check(self) -> None:
        """Raise `MigrationError` when the session that holds the lock has ended; this costs no round trip."""
        import psycopg

        try:
            # What arrives at the end of a session is its last message, and then the end of the stream.
            for _ in range(2):
                self._session.pgconn.consume_input()
            alive = self._session.pgconn.status == psycopg.pq.ConnStatus.OK
        except psycopg.Error:
            alive = False
        if not alive:
            raise MigrationError(
                "the session that held the lock was ended by the server, so that another runner may be at work: stopped"
                " before the next migration; those before it stay applied",
                hint="run this again: it goes on where this one stopped",
            )


@contextmanager
def hold_lock(
    connection: "Connection[tuple[Any, ...]]",
    *,
    wait: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lock]:
    """Be the only runner on the database of `connection`, waiting up to `wait` seconds for another one.

    The lock is polled: a session that blocks for it would be a transaction that CREATE INDEX CONCURRENTLY waits for.
    Raises `MigrationError` that says who holds it.
    """
    session = _open_session(connection.info)
    try:
        deadline = clock() + wait
        pause = 0.02
        while not _try_lock(session):
            if clock() >= deadline:
                holder = find_holder(session) or "just ended"
                raise MigrationError(
                    f"another runner is migrating this database ({holder}); waited {wait:g} s",
                    hint="run this again when that one is done",
                )
            sleep(min(pause, max(deadline - clock(), 0.0)))
            pause = min(pause * 1.5, 0.5)
        yield Lock(session)
    finally:
        _release(session)


def address_of(info: "ConnectionInfo") -> dict[str, str]:
    """Return the parameters that lead to the very server of a session, of the several that an address may name.

    The password is among them: they are for libpq, never for a message or a command line.
    """
    parameters = info.get_parameters()
    parameters |= {"host": info.host, "port": str(info.port), "user": info.user, "dbname": info.dbname}
    if "hostaddr" in parameters:
        parameters["hostaddr"] = info.hostaddr
    if info.password:
        parameters["password"] = info.password
    return {name: value for name, value in parameters.items() if value}


def find_holder(connection: "Connection[tuple[Any, ...]]") -> str | None:
    """Return in words which session is migrating this database; None where there is none."""
    row = connection.execute(
        "SELECT a.application_name, a.pid, a.client_addr::text, a.backend_start::timestamp(0)::text"
        " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = %s",
        [LOCK_KEY],
    ).fetchone()
    if row is None:
        return None
    name, pid, address, since = row
    return f"{name or 'a session'}, server process {pid}, from {address or 'this machine'}, since {since}"


def runner_name() -> str:
    """Return who applies a migration, for the record: user and host."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def _open_session(info: "ConnectionInfo") -> "Connection[tuple[Any, ...]]":
    import psycopg

    parameters: dict[str, Any] = address_of(info)
    try:
        session = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        raise MigrationError(
            f"the second session, which holds the lock, cannot be opened: {said}",
            hint="migrating takes two sessions: end some, or raise max_connections",
        ) from None
    # A time-out of the role or the database must not end the session that only waits.
    settings = ["statement_timeout = 0", "idle_session_timeout = 0", "client_connection_check_interval = 1000"]
    wanted = settings if session.info.server_version >= CHECKED_SINCE else settings[:1]
    session.execute("; ".join(f"SET {setting}" for setting in wanted).encode())
    return session


def _release(session: "Connection[tuple[Any, ...]]") -> None:
    import psycopg

    try:
        # Waited for: the lock of a session that is only closed is free a little later.
        session.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [LOCK_KEY])
    except psycopg.Error:
        pass  # the session is gone, and its locks with it
    finally:
        session.close()


def _try_lock(session: "Connection[tuple[Any, ...]]") -> bool:
    row = session.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
    return bool(row and row[0])
