"""What is said when a migration fails: where, which statement, PostgreSQL's own words, and what the database holds."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import MigrationError
from fairlead.migrations.statements import Statement, locate, split_statements

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection, Error

_STATEMENT_LINES: Final = 12
ROLLED_BACK: Final = "this migration was rolled back; those before it stay applied"


def refused(problems: Sequence[str], *, hint: str | None = None) -> MigrationError:
    """Build the error for a run that did not begin, with a line for each problem."""
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return MigrationError(f"nothing was changed, because of this:\n{lines}", hint=hint)


def describe_failure(
    file: "Path",
    text: str,
    error: "Error",
    done: int | None,
    *,
    skipped: int = 0,
    after: str = "",
    outcome: str = ROLLED_BACK,
    hint: str | None = None,
) -> MigrationError:
    """Build the error for a file that failed after `done` statements of it, None when not the file itself did.

    `skipped` is the number of characters that were sent before the file, `after` what was sent behind it, `outcome`
    what became of the migration.
    """
    diagnostics = error.diag
    said = diagnostics.message_primary or first_line(str(error))
    if after:
        said = said.replace(after, "")  # a quote that is left open takes it in
    position = diagnostics.statement_position if done is not None else None
    offset = int(position) - 1 - skipped if position else None
    if offset is not None and offset > len(text):
        # The file breaks off, and the server came upon what is sent behind it.
        said, offset = "syntax error at end of input: a statement or a quote is left open", len(text.rstrip())
    statement = _find_statement(text, offset, done)
    if offset is None and statement is not None:
        offset = statement.start
    place = locate(text, offset) if offset is not None else None
    where = f"{file}:{place.line}:{place.column}" if place else str(file)
    lines = [f"{where}: {said}"]
    if diagnostics.message_detail:
        lines.append(f"  detail: {diagnostics.message_detail}")
    if diagnostics.context:
        lines.append(f"  in: {first_line(diagnostics.context)}")
    if statement is not None:
        lines += [f"  | {line}" for line in _shorten(statement.text)]
    lines.append(f"  {outcome}")
    server = diagnostics.message_hint or (
        "this statement cannot run in the transaction that every migration runs in: give it a file of its own, with"
        " the line -- fairlead: no-transaction"
        if "cannot run inside a transaction block" in said
        else None
    )
    return MigrationError("\n".join(lines), hint="; ".join(part for part in (server, hint) if part) or None)


def describe_lost(file: "Path", error: "Error", *, committing: bool) -> MigrationError:
    """Build the error for a session that ended while a file ran in a transaction, or while that was committed."""
    held = (
        "whether this migration was committed is not known: the database is as before it, or exactly one further"
        if committing
        else "this migration was not applied: its transaction ended with the session; those before it stay applied"
    )
    return MigrationError(
        f"{file}: the connection to the server was lost: {first_line(str(error))}\n  {held}",
        hint="run this again when the server is back: it looks which ones are applied, and goes on after them",
    )


def first_line(text: str) -> str:
    """Return the first line of what a server said."""
    return re.split(r"\r?\n", text.strip(), maxsplit=1)[0]


@contextmanager
def telling(connection: "Connection[tuple[Any, ...]]") -> Iterator[None]:
    """Make one clear error of whatever the server refuses outside the files."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        said = first_line(str(error))
        if connection.closed:
            raise MigrationError(
                f"the connection to the server was lost: {said}",
                hint="run this again when the server is back: it looks which ones are applied, and goes on after them",
            ) from error
        raise MigrationError(f"the database refused: {said}") from error


def describe_blockers(connection: "Connection[tuple[Any, ...]]", text: str, own: Sequence[int]) -> str:
    """Say which sessions hold locks on the tables that `text` names; `own` are server processes not to be named."""
    rows = connection.execute(
        "SELECT a.pid, a.application_name, a.usename::text, a.state, a.xact_start::timestamp(0)::text,"
        " pg_catalog.string_agg(DISTINCT c.relname, ', ')"
        " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)"
        " JOIN pg_catalog.pg_class c ON c.oid = l.relation"
        " WHERE l.granted AND l.locktype = 'relation' AND c.relname = ANY(%s) AND NOT a.pid = ANY(%s)"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " GROUP BY 1, 2, 3, 4, 5 ORDER BY 5, 1 LIMIT 5",
        [list(names_in(text)), [*own, connection.info.backend_pid]],
    ).fetchall()
    if not rows:
        return "who held it cannot be told any more"
    told = (
        f"server process {pid} ({name or 'no application name'}, user {user}, {state}, in a transaction since {since})"
        f" on {tables}"
        for pid, name, user, state, since, tables in rows
    )
    return f"held by {'; '.join(told)}"


def names_in(text: str) -> set[str]:
    """Return every word of a text, as it stands and as PostgreSQL folds it: names of tables and indexes among them."""
    words = set(re.findall(r"[^\W\d][\w$]*", text)) | set(re.findall(r'"([^"]+)"', text))
    return words | {word.lower() for word in words}


def _find_statement(text: str, offset: int | None, done: int | None) -> Statement | None:
    if done is None:
        return None
    statements = list(split_statements(text))
    if offset is not None:
        return next((statement for statement in reversed(statements) if statement.start <= offset), None)
    return statements[done] if 0 <= done < len(statements) else None


def _shorten(text: str) -> list[str]:
    lines = text.splitlines()
    return lines if len(lines) <= _STATEMENT_LINES else [*lines[:_STATEMENT_LINES], "…"]
