"""`schema_migrations`, the record of what was applied, and the lock that lets one runner at a time change it."""

import contextlib
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import MigrationError
from fairlead.migrations.files import order_of

if TYPE_CHECKING:
    from psycopg import Connection

NAME: Final = "schema_migrations"
#: The advisory lock's key: chosen once, the same in every release.
LOCK_KEY: Final = 0x0FA1_21EA_D0DB_0001

_COLUMNS: Final = ("version", "name", "checksum", "applied_at", "duration_ms", "applied_by", "state")
_CREATE: Final = """
CREATE TABLE schema_migrations (
    version     text PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    duration_ms bigint NOT NULL,
    applied_by  text NOT NULL,
    state       text NOT NULL DEFAULT 'applied'
)
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table."""

    version: str
    name: str
    checksum: str
    applied_at: datetime
    duration_ms: int
    applied_by: str
    state: str

    @property
    def label(self) -> str:
        """The version and name: 015_new_feature."""
        return f"{self.version}_{self.name}"


@dataclass(frozen=True, slots=True)
class Status:
    """Where a migration stands: `pending`, `applied`, `drift` (its file was edited) or `missing` (its file is gone)."""

    version: str
    name: str
    state: str
    reversible: bool
    applied_at: datetime | None = None
    duration_ms: int | None = None
    applied_by: str | None = None


class Table:
    """The table within one database; `schema` is where it lies, whatever a migration does to the search path."""

    def __init__(self, connection: "Connection[tuple[Any, ...]]") -> None:
        self._connection = connection
        self._schema: str | None = None

    def read(self) -> tuple[Record, ...]:
        """Return the rows in the order of their versions; none where the table is not there yet."""
        from psycopg import sql

        if not self._find():
            return ()
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), self._table())
        records = (Record(*row) for row in self._connection.execute(query).fetchall())
        return tuple(sorted(records, key=lambda record: (order_of(record.version), record.version)))

    def ensure(self) -> None:
        """Make the table where it is missing; only for the holder of the lock."""
        if self._find():
            return
        row = self._connection.execute("SELECT current_schema()").fetchone()
        if row is None or row[0] is None:
            raise MigrationError(
                "there is no schema to keep schema_migrations in",
                hint="the search_path of this user names none that exists: CREATE SCHEMA public",
            )
        self._connection.execute(_CREATE)
        self._schema = row[0]

    def insert(self, record: Record) -> None:
        """Add one row, in the transaction that is open."""
        from psycopg import sql

        query = sql.SQL(
            "INSERT INTO {} (version, name, checksum, duration_ms, applied_by) VALUES (%s, %s, %s, %s, %s)"
        ).format(self._table())
        values = (record.version, record.name, record.checksum, record.duration_ms, record.applied_by)
        self._connection.execute(query, values)

    def delete(self, version: str) -> None:
        """Remove one row, in the transaction that is open."""
        from psycopg import sql

        self._connection.execute(sql.SQL("DELETE FROM {} WHERE version = %s").format(self._table()), [version])

    def _find(self) -> bool:
        if self._schema is not None:
            return True
        rows = self._connection.execute(
            "SELECT n.nspname, a.attname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.oid = pg_catalog.to_regclass('schema_migrations')"
        ).fetchall()
        if not rows:
            return False
        missing = [column for column in _COLUMNS if column not in {row[1] for row in rows}]
        if missing:
            raise MigrationError(
                f"the table {rows[0][0]}.schema_migrations was made by another tool: it has no {', '.join(missing)}",
                hint="rename that table, then record what is applied already before migrating",
            )
        self._schema = rows[0][0]
        return True

    def _table(self) -> Any:
        from psycopg import sql

        return sql.Identifier(self._schema or "public", NAME)


@contextmanager
def hold_lock(
    connection: "Connection[tuple[Any, ...]]",
    *,
    wait: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Be the only runner on this database, waiting up to `wait` seconds for another one.

    The lock is polled: a session that blocks for it would be a transaction that CREATE INDEX CONCURRENTLY waits for.
    Raises `MigrationError` that says who holds it.
    """
    import psycopg

    deadline = clock() + wait
    pause = 0.02
    while not _try_lock(connection):
        if clock() >= deadline:
            raise MigrationError(
                f"another runner is migrating this database ({_holder(connection)}); waited {wait:g} s",
                hint="run this again when that one is done",
            )
        sleep(min(pause, max(deadline - clock(), 0.0)))
        pause = min(pause * 1.5, 0.5)
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.OperationalError):  # the session is gone, and its locks with it
            connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [LOCK_KEY])


def runner_name() -> str:
    """Return who applies a migration, for the record: user and host."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def _try_lock(connection: "Connection[tuple[Any, ...]]") -> bool:
    row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
    return bool(row and row[0])


def _holder(connection: "Connection[tuple[Any, ...]]") -> str:
    row = connection.execute(
        "SELECT a.application_name, a.pid, a.client_addr::text, a.backend_start::timestamp(0)::text"
        " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = %s",
        [LOCK_KEY],
    ).fetchone()
    if row is None:
        return "just ended"
    name, pid, address, since = row
    return f"{name or 'a session'}, server process {pid}, from {address or 'this machine'}, since {since}"
