"""Finds and drops the INVALID indexes that a file left behind when it was interrupted outside a transaction."""

import re
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import MigrationError
from fairlead.migrations.failures import names_in

if TYPE_CHECKING:
    from psycopg import Connection

#: What REINDEX CONCURRENTLY adds to the name of an index while it works.
_REINDEXED: Final = re.compile(r"_cc(new|old)\d*$")


def find_invalid_indexes(connection: "Connection[tuple[Any, ...]]", text: str) -> tuple[tuple[str, str], ...]:
    """Return schema and name of the INVALID indexes that `text` names, or that lie on a table it names unnamed.

    Raises `MigrationError` while one of them is still being built.
    """
    rows = connection.execute(
        "SELECT n.nspname, c.relname, t.relname, p.pid FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.index_relid = i.indexrelid"
        " WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1, 2"
    ).fetchall()
    names = names_in(text)
    found = []
    for schema, index, table, builder in rows:
        # An index without a name of its own in the file has one that begins with its table's.
        ours = _REINDEXED.sub("", index) in names or (table in names and index.startswith(f"{table}_"))
        if ours and builder is not None:
            raise MigrationError(
                f"the index {schema}.{index} is still being built, by server process {builder}",
                hint="wait for it, or end it with pg_terminate_backend; then run this again",
            )
        if ours:
            found.append((schema, index))
    return tuple(found)


def drop_invalid_indexes(connection: "Connection[tuple[Any, ...]]", text: str) -> tuple[str, ...]:
    """Drop the INVALID indexes of a file without blocking their tables; return their names with their schemas."""
    from psycopg import sql

    dropped = []
    for schema, index in find_invalid_indexes(connection, text):
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(schema, index)))
        dropped.append(f"{schema}.{index}")
    return tuple(dropped)
