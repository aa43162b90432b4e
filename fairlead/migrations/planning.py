"""Chooses what to apply or revert, and refuses while files and records disagree. No database is touched here."""

from collections.abc import Sequence

from fairlead.exceptions import MigrationError
from fairlead.migrations.execution import resolve_hint
from fairlead.migrations.failures import refused
from fairlead.migrations.files import Migration, find_migration, order_of
from fairlead.migrations.table import INTERRUPTED, Record, Status


def tell_status(migrations: Sequence[Migration], records: Sequence[Record]) -> tuple[Status, ...]:
    """Return where every migration stands, those applied without a file among them, in the order of versions."""
    left = {order_of(record.version): record for record in records}
    rows = [_status(migration, left.pop(migration.order, None)) for migration in migrations]
    rows += [
        Status(r.version, r.name, "missing", False, r.applied_at, r.duration_ms, r.applied_by) for r in left.values()
    ]
    return tuple(sorted(rows, key=lambda row: order_of(row.version)))


def refuse_interrupted(records: Sequence[Record]) -> None:
    """Raise `MigrationError` naming each migration that began outside a transaction and was not seen to end."""
    found = [record for record in records if record.state in INTERRUPTED]
    if found:
        raise refused(
            [f"{r.label}: was interrupted while it was {_doing(r)}, outside a transaction" for r in found],
            hint=resolve_hint(found[0].version),
        )


def plan_apply(
    migrations: Sequence[Migration], records: Sequence[Record], to: str | None, *, out_of_order: bool
) -> tuple[Migration, ...]:
    """Return what is pending up to and with version `to`; raise `MigrationError` where files and records disagree."""
    known = {migration.order: migration for migration in migrations}
    problems = _disagreements(records, known)
    applied = {order_of(record.version) for record in records}
    newest = max(applied, default=())
    pending = [migration for migration in migrations if migration.order not in applied]
    early = [] if out_of_order else [migration for migration in pending if migration.order < newest]
    for migration in early:
        above = known[newest].label if newest in known else ".".join(map(str, newest))
        problems.append(
            f"{migration.file.name}: is new, and below {above}, which is applied; give it a higher number, or apply it"
            " all the same with --allow-out-of-order"
        )
    if problems:
        raise refused(problems)
    if to is None:
        return tuple(pending)
    last = find_migration(migrations, to).order
    return tuple(migration for migration in pending if migration.order <= last)


def plan_revert(
    migrations: Sequence[Migration], records: Sequence[Record], steps: int | None, to: str | None
) -> tuple[Migration, ...]:
    """Return what to undo, the newest first; raise `MigrationError` where a down is missing or a file was changed."""
    known = {migration.order: migration for migration in migrations}
    chosen = _choose_reverts(records, steps, to, migrations)
    problems = _disagreements(chosen, known)
    for record in chosen:
        migration = known.get(order_of(record.version))
        if migration is not None and migration.down_sql is None:
            problems.append(f"{migration.file.name}: has no {migration.label}.down.sql beside it")
    if problems:
        raise refused(problems)
    return tuple(known[order_of(record.version)] for record in chosen)


def agrees(record: Record, migration: Migration) -> bool:
    """Tell whether a file is what was recorded; another tool's record holds no checksum to compare."""
    return record.checksum in {"", migration.checksum}


def _status(migration: Migration, record: Record | None) -> Status:
    reversible = migration.down_sql is not None
    if record is None:
        return Status(migration.version, migration.name, "pending", reversible)
    state = "applied" if agrees(record, migration) else "drift"
    if record.state in INTERRUPTED:
        state = record.state
    return Status(
        migration.version, migration.name, state, reversible, record.applied_at, record.duration_ms, record.applied_by
    )


def _disagreements(records: Sequence[Record], known: dict[tuple[int, ...], Migration]) -> list[str]:
    problems = []
    for record in records:
        migration = known.get(order_of(record.version))
        if migration is None:
            problems.append(f"{record.label}.sql: is applied, and the file is missing; bring it back")
        elif not agrees(record, migration):
            problems.append(
                f"{migration.file.name}: was changed after it was applied; restore it, and put the change in a new one"
            )
        elif record.name not in {"", migration.name}:
            problems.append(f"{migration.file.name}: was applied as {record.label}; give it that name again")
    return problems


def _choose_reverts(
    records: Sequence[Record], steps: int | None, to: str | None, migrations: Sequence[Migration]
) -> list[Record]:
    if steps is not None and to is not None:
        raise MigrationError("give either a number of steps or the version to go back to, not both")
    newest_first = sorted(records, key=lambda record: order_of(record.version), reverse=True)
    if to is None:
        count = 1 if steps is None else steps
        if count < 1:
            raise MigrationError(f"the number of steps must be 1 or more, not {count}")
        return newest_first[:count]
    last = () if to.isdecimal() and int(to) == 0 else find_migration(migrations, to).order
    return [record for record in newest_first if order_of(record.version) > last]


def _doing(record: Record) -> str:
    return "applied" if record.state == "running" else "reverted"
