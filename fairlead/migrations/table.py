"""`schema_migrations`, the record of what was applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import MigrationError
from fairlead.migrations.files import Migration, order_of

if TYPE_CHECKING:
    from psycopg import Connection

NAME: Final = "schema_migrations"
#: The states of a migration that began outside a transaction and was not seen to end.
INTERRUPTED: Final = frozenset({"running", "reverting"})

#: Every column but the first has a default, so that dbmate, which writes versions only, may use the table too.
_COLUMNS: Final = {
    "version": "text PRIMARY KEY",
    "name": "text NOT NULL DEFAULT ''",
    "checksum": "text NOT NULL DEFAULT ''",
    "applied_at": "timestamptz NOT NULL DEFAULT now()",
    "duration_ms": "bigint NOT NULL DEFAULT 0",
    "applied_by": "text NOT NULL DEFAULT current_user",
    "state": "text NOT NULL DEFAULT 'applied'",
}
#: The milliseconds since the transaction began, wherever a migration leads the search path.
_TOOK: Final = (
    "(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.now())"
    " OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table; `state` is `applied`, `baseline`, or one of `INTERRUPTED`."""

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
        return f"{self.version}_{self.name}" if self.name else self.version


@dataclass(frozen=True, slots=True)
class Status:
    """Where a migration stands.

    `state` is `pending`, `applied`, `drift` (its file was edited), `missing` (its file is gone), or, of one that was
    interrupted outside a transaction, `running` or `reverting`.
    """

    version: str
    name: str
    state: str
    reversible: bool
    applied_at: datetime | None = None
    duration_ms: int | None = None
    applied_by: str | None = None


class Table:
    """The table within one database, wherever a migration leads the search path: its schema is remembered."""

    def __init__(self, connection: "Connection[tuple[Any, ...]]") -> None:
        self._connection = connection
        self._schema: str | None = None

    def read(self) -> tuple[Record, ...]:
        """Return the rows in the order of their versions; none where the table is not there yet.

        Raises `MigrationError` for a table that another tool made.
        """
        from psycopg import sql

        if self._schema is None:
            found = self._look()
            if found is None:
                return ()
            missing = [column for column in _COLUMNS if column not in found[1]]
            if missing:
                raise self._made_by_another(found[0], missing)
            self._schema = found[0]
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), self._table())
        records = (Record(*row) for row in self._connection.execute(query).fetchall())
        return tuple(sorted(records, key=lambda record: (order_of(record.version), record.version)))

    def ensure(self) -> None:
        """Make the table where it is missing; only for the holder of the lock.

        Raises `MigrationError` where Flyway keeps a record of its own, since everything would be run again.
        """
        from fairlead.migrations.foreign import recognise

        if self._schema is None and (found := self._look()) is not None:
            self._schema = found[0]
        if self._schema is not None:
            return
        foreign = recognise(self._connection)
        if foreign is not None and foreign.tool == "Flyway":
            raise MigrationError(
                f"Flyway has applied migrations to this database, and recorded them in {foreign.table}",
                hint=_adopting(foreign.versions),
            )
        self._create()

    def _create(self) -> None:
        from psycopg import errors

        row = self._connection.execute("SELECT current_schema()").fetchone()
        if row is None or row[0] is None:
            raise MigrationError(
                "there is no schema to keep schema_migrations in",
                hint="the search_path of this user names none that exists: CREATE SCHEMA public",
            )
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        try:
            self._connection.execute(f"CREATE TABLE {NAME} ({columns})".encode())
        except errors.InsufficientPrivilege:
            user = self._connection.info.user
            raise MigrationError(
                f"the user {user} may not make tables in the schema {row[0]}: nothing was changed",
                hint=f"let its owner run: GRANT CREATE ON SCHEMA {row[0]} TO {user}",
            ) from None
        self._schema = row[0]

    def insertion(self, migration: Migration, applied_by: str, *, state: str = "applied") -> str:
        """Return the statement that adds a row, with its values in place: one of a migration that ran just before it.

        What is recorded as its duration is the time since the transaction began, by the server's clock.
        """
        from psycopg.pq import Escaping

        # Composed by libpq's own quoting: it is done once for each migration, and psycopg's composer takes long.
        escaping = Escaping(self._connection.pgconn)
        schema = bytes(escaping.escape_identifier((self._schema or "public").encode())).decode()
        values = (migration.version, migration.name, migration.checksum, applied_by, state)
        quoted = ", ".join(bytes(escaping.escape_literal(value.encode())).decode() for value in values)
        columns = "version, name, checksum, applied_by, state, duration_ms"
        return f"INSERT INTO {schema}.{NAME} ({columns}) VALUES ({quoted}, {_TOOK})"  # noqa: S608 # nosec B608 - quoted by libpq

    def deletion(self, version: str) -> str:
        """Return the statement that removes the row of `version`, as it is recorded."""
        from psycopg import sql

        query = sql.SQL("DELETE FROM {} WHERE version = {}")
        return query.format(self._table(), sql.Literal(version)).as_string(self._connection)

    def set_state(self, version: str, state: str, *, milliseconds: int | None = None) -> None:
        """Change the state of a row, and its duration where given."""
        from psycopg import sql

        query = sql.SQL("UPDATE {} SET state = %s, duration_ms = coalesce(%s, duration_ms) WHERE version = %s")
        self._connection.execute(query.format(self._table()), [state, milliseconds, version])

    def adopt(self) -> Mapping[tuple[int, ...], str]:
        """Give a table of dbmate's or Rails' kind our columns too; return the versions in it by their order.

        To be called in a transaction. Raises `MigrationError` with the statement that moves it aside, when its version
        is no text key of its own; nothing is renamed or overwritten here.
        """
        from psycopg import sql

        found = self._look()
        if found is None:
            self._create()
            return {}
        schema, columns = found
        if columns.get("version") not in {"text", "varchar"} or "dirty" in columns:
            raise MigrationError(
                f"the table {schema}.{NAME} of another tool cannot be taken over: its version is no text",
                hint=f"move it aside: ALTER TABLE {schema}.{NAME} RENAME TO {NAME}_before; then run this again",
            )
        self._schema = schema
        for name, kind in _COLUMNS.items():
            if name not in columns:
                query = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
                self._connection.execute(query.format(self._table(), sql.Identifier(name), sql.SQL(kind)))
        versions = self._connection.execute(sql.SQL("SELECT version FROM {}").format(self._table())).fetchall()
        return {order_of(row[0]): row[0] for row in versions}

    def record_baseline(self, migration: Migration, version: str, applied_by: str) -> None:
        """Record a migration as it stands without having run it, over another tool's row of the same `version`."""
        from psycopg import sql

        query = sql.SQL(
            "INSERT INTO {} AS t (version, name, checksum, applied_by, state) VALUES (%s, %s, %s, %s, 'baseline')"
            " ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum,"
            " applied_by = excluded.applied_by, state = excluded.state WHERE t.checksum = ''"
        )
        values = [version, migration.name, migration.checksum, applied_by]
        self._connection.execute(query.format(self._table()), values)

    def _look(self) -> tuple[str, dict[str, str]] | None:
        """Return the schema of the table that the search path leads to, and its columns with their types."""
        rows = self._connection.execute(
            "SELECT n.nspname, a.attname, y.typname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " JOIN pg_catalog.pg_type y ON y.oid = a.atttypid"
            " WHERE c.oid = pg_catalog.to_regclass('schema_migrations')"
        ).fetchall()
        return (rows[0][0], {row[1]: row[2] for row in rows}) if rows else None

    def _table(self) -> Any:
        from psycopg import sql

        return sql.Identifier(self._schema or "public", NAME)

    def _made_by_another(self, schema: str, missing: Sequence[str]) -> MigrationError:
        from fairlead.migrations.foreign import recognise

        foreign = recognise(self._connection)
        who = "another tool" if foreign is None else f"another tool ({foreign.tool})"
        return MigrationError(
            f"the table {schema}.{NAME} was made by {who}: it has no {', '.join(missing)}",
            hint=_adopting(() if foreign is None else foreign.versions),
        )


def _adopting(versions: Sequence[str]) -> str:
    newest = max(versions, key=order_of, default="V")
    return f"adopt what it applied, {newest} being its newest: invoke migrations.baseline {newest}"
