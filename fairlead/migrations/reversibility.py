"""Proves that every down reverses its up, revision by revision and then over the whole chain, on a scratch database."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fairlead.exceptions import MigrationError
from fairlead.migrations.catalog import Difference, Snapshot, compare, take_snapshot
from fairlead.migrations.files import Migration
from fairlead.migrations.runner import Migrator, refuse_unrunnable

if TYPE_CHECKING:
    from psycopg import Connection

_LONGEST_DEFINITION = 160


def verify_reversible(
    connection: "Connection[tuple[Any, ...]]",
    migrations: Sequence[Migration],
    *,
    on_progress: Callable[[Migration, int, int], None] | None = None,
) -> None:
    """Prove that every down reverses its up; raise `MigrationError` naming what is not reversed, and by which one.

    The arguments are those of `find_irreversible`.
    """
    findings = find_irreversible(connection, migrations, on_progress=on_progress)
    if findings:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        raise MigrationError(f"the downs do not undo what the ups do:\n{lines}", hint="mend the down files named above")


def find_irreversible(
    connection: "Connection[tuple[Any, ...]]",
    migrations: Sequence[Migration],
    *,
    on_progress: Callable[[Migration, int, int], None] | None = None,
) -> tuple[str, ...]:
    """Return in words what the downs do not reverse: nothing, where every one does.

    `connection` leads to an empty scratch database, which holds all migrations afterwards when nothing was found. For
    each revision: snapshot, up, snapshot, down, compare with the first, up again, compare with the second. Then all
    down and all up again. Raises `MigrationError` when an up cannot be applied at all, and for a database that is not
    empty.
    """
    migrator = Migrator(connection, migrations)
    start = take_snapshot(connection)
    if _holds_tables(start, connection):
        raise MigrationError(
            "the database to verify migrations on is not empty", hint="give the address of a database made for this"
        )
    refuse_unrunnable((m.down_file, m.down_sql) for m in migrations if m.down_file and m.down_sql)
    findings: list[str] = []
    before = start
    for index, migration in enumerate(migrations, 1):
        migrator.apply(to=migration.version)
        after = take_snapshot(connection)
        findings += _try_revision(connection, migration, before, after)
        before = after
        if on_progress is not None:
            on_progress(migration, index, len(migrations))
    if not findings:
        findings += _walk_chain(connection, migrator, start, before)
    return tuple(findings)


def _try_revision(
    connection: "Connection[tuple[Any, ...]]", migration: Migration, before: Snapshot, after: Snapshot
) -> list[str]:
    """Revert and apply one revision again in a transaction that is rolled back, so that the next one starts clean."""
    import psycopg

    if migration.down_sql is None:
        return [f"{migration.label}: there is no {migration.label}.down.sql"]
    step = "down"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(migration.down_sql.encode())
            findings = _tell(migration, compare(before, take_snapshot(connection)), "down")
            if not findings:
                step = "up after down"
                connection.execute(migration.sql.encode())
                findings = _tell(migration, compare(after, take_snapshot(connection)), "up after down")
    except psycopg.errors.UnsafeNewEnumValueUsage:
        return []  # a label cannot be used in the transaction that adds it; the walk over the chain commits each step
    except psycopg.Error as error:
        return [f"{migration.label}: {step} fails: {str(error).strip().partition(chr(10))[0]}"]
    return findings


def _walk_chain(
    connection: "Connection[tuple[Any, ...]]", migrator: Migrator, start: Snapshot, end: Snapshot
) -> list[str]:
    migrator.revert(to="0")
    findings = _tell(None, compare(start, take_snapshot(connection)), "down")
    migrator.apply()
    return findings + _tell(None, compare(end, take_snapshot(connection)), "up after down")


def _tell(migration: Migration | None, differences: Sequence[Difference], step: str) -> list[str]:
    who = migration.label if migration else "the whole chain"
    return [f"{who}: {describe_difference(difference, step)}" for difference in differences]


def describe_difference(difference: Difference, step: str) -> str:
    """Say in words what a step (`down`, `up after down`) did not bring back as it was."""
    entry, before, after = difference.entry, difference.before, difference.after
    if after is None:
        return f"{step} does not restore {entry}" + (f" ({_shorten(before)})" if before else "")
    if before is None:
        return f"{step} leaves {entry} behind"
    return f"{step} does not restore {entry}: it was {_shorten(before)}, and is {_shorten(after)}"


def _holds_tables(snapshot: Snapshot, connection: "Connection[tuple[Any, ...]]") -> bool:
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    return bool(row and row[0]) or any(entry.kind in {"table", "view"} for entry in snapshot)


def _shorten(text: str | None) -> str:
    text = text or "nothing"
    return text if len(text) <= _LONGEST_DEFINITION else f"{text[:_LONGEST_DEFINITION]}…"
