"""Recognises the record of another migration tool in a database, so that it can be adopted and is never overwritten."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from psycopg import Connection

#: The tables that tools keep their records in, in the order in which they are looked for.
_TABLES: Final = (
    "schema_migrations",
    "ar_internal_metadata",
    "flyway_schema_history",
    "alembic_version",
    "django_migrations",
)
_TEXT: Final = {"text", "character varying"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """What another tool recorded: its table with the schema, and the versions that it has applied, as it wrote them.

    `dirty` says that its last run failed half-way. `compatible` says that the table is a `schema_migrations` with its
    versions as a text key, beside which Fairlead's own columns can stand.
    """

    tool: str
    table: str
    versions: tuple[str, ...]
    dirty: bool = False
    compatible: bool = False


def recognise(connection: "Connection[tuple[Any, ...]]") -> Foreign | None:
    """Return the record of another tool that the search path leads to; None where there is none, or Fairlead's own.

    golang-migrate and Alembic keep no list: `versions` is the current one alone. Nothing is changed.
    """
    found = _find_tables(connection)
    if columns := found.get("schema_migrations"):
        if "checksum" in columns:
            return None
        return _read_schema_migrations(connection, columns, rails="ar_internal_metadata" in found)
    if "flyway_schema_history" in found:
        return _read_flyway(connection, found["flyway_schema_history"])
    if columns := found.get("alembic_version"):
        rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
        return Foreign("Alembic", _name(columns, "alembic_version"), _texts(rows))
    if columns := found.get("django_migrations"):
        rows = connection.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id").fetchall()
        return Foreign("Django", _name(columns, "django_migrations"), _texts(rows))
    return None


def _find_tables(connection: "Connection[tuple[Any, ...]]") -> dict[str, dict[str, tuple[str, str]]]:
    """Return each table that is there with its columns, and of each column its type and the table's schema."""
    rows = connection.execute(
        "SELECT c.relname, n.nspname, a.attname, pg_catalog.format_type(a.atttypid, NULL)"
        " FROM pg_catalog.unnest(%s::text[]) AS wanted (name)"
        " JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(wanted.name)"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY c.relname, a.attnum",
        [list(_TABLES)],
    ).fetchall()
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for table, schema, column, kind in rows:
        found.setdefault(table, {})[column] = (kind, schema)
    return found


def _read_schema_migrations(
    connection: "Connection[tuple[Any, ...]]", columns: dict[str, tuple[str, str]], *, rails: bool
) -> Foreign:
    table = _name(columns, "schema_migrations")
    if "version" not in columns:
        return Foreign("an unknown tool", table, ())
    if "dirty" in columns:
        rows = connection.execute("SELECT version, dirty FROM schema_migrations ORDER BY 1").fetchall()
        return Foreign("golang-migrate", table, _texts(rows), dirty=any(row[1] for row in rows))
    rows = connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()
    compatible = columns["version"][0] in _TEXT
    if len(columns) > 1 or not compatible:
        return Foreign("an unknown tool", table, _texts(rows), compatible=compatible)
    return Foreign("Rails" if rails else "dbmate", table, _texts(rows), compatible=True)


def _read_flyway(connection: "Connection[tuple[Any, ...]]", columns: dict[str, tuple[str, str]]) -> Foreign:
    rows = connection.execute(
        "SELECT version, type, success FROM flyway_schema_history WHERE version IS NOT NULL ORDER BY installed_rank"
    ).fetchall()
    versions: dict[str, None] = {}
    for version, kind, success in rows:
        if success and kind.startswith(("UNDO", "DELETE")):
            versions.pop(version, None)
        elif success:
            versions[version] = None
    dirty = any(not success for _, _, success in rows)
    return Foreign("Flyway", _name(columns, "flyway_schema_history"), tuple(versions), dirty=dirty)


def _name(columns: dict[str, tuple[str, str]], table: str) -> str:
    return f"{next(iter(columns.values()))[1]}.{table}"


def _texts(rows: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in rows)
