"""Applies and reverts migrations, each with its record in one transaction, and none when anything is amiss."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fairlead.exceptions import MigrationError
from fairlead.migrations.files import Migration, find_migration, order_of
from fairlead.migrations.statements import (
    Statement,
    find_client_copies,
    find_transaction_control,
    locate,
    split_statements,
)
from fairlead.migrations.table import Record, Status, Table, hold_lock, runner_name

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection, Error

_STATEMENT_LINES = 12
_CONNECTION_CHECK_SINCE = 140_000


@dataclass(frozen=True, slots=True)
class Step:
    """What `on_progress` is told: that a migration was started or is done, its place in the plan, and seconds taken."""

    kind: Literal["started", "done"]
    action: Literal["apply", "revert"]
    migration: Migration
    index: int
    total: int
    seconds: float = 0.0


Progress = Callable[[Step], None]


class Migrator:
    """The migrations of one folder and the database behind one connection, which must be in autocommit mode."""

    def __init__(
        self,
        connection: "Connection[tuple[Any, ...]]",
        migrations: Sequence[Migration],
        *,
        lock_wait: float = 30.0,
        applied_by: str | None = None,
    ) -> None:
        self._connection = connection
        self._migrations = tuple(migrations)
        self._table = Table(connection)
        self._lock_wait = lock_wait
        self._applied_by = applied_by or runner_name()

    def status(self) -> tuple[Status, ...]:
        """Return where every migration stands, those applied without a file among them; nothing is changed."""
        with self._telling():
            records = {order_of(record.version): record for record in self._table.read()}
        rows = [_status(migration, records.pop(migration.order, None)) for migration in self._migrations]
        rows += [
            Status(r.version, r.name, "missing", False, r.applied_at, r.duration_ms, r.applied_by)
            for r in records.values()
        ]
        return tuple(sorted(rows, key=lambda row: order_of(row.version)))

    def plan(self, *, to: str | None = None) -> tuple[Migration, ...]:
        """Return what `apply` would run, in order; nothing is changed. Raises as `apply` does."""
        with self._telling():
            return self._plan(self._table.read(), to)

    def apply(self, *, to: str | None = None, on_progress: Progress | None = None) -> tuple[Migration, ...]:
        """Apply what is pending, up to and with version `to`; return what was applied.

        Raises `MigrationError` before any change when the database and the files disagree (an applied file edited or
        missing, a new one below the newest applied), and when a migration fails: those before it stay applied.
        """
        with self._telling(), hold_lock(self._connection, wait=self._lock_wait):
            self._reset_session()
            planned = self._plan(self._table.read(), to)
            refuse_unrunnable((migration.file, migration.sql) for migration in planned)
            if planned:
                self._table.ensure()
            for index, migration in enumerate(planned, 1):
                self._report(on_progress, Step("started", "apply", migration, index, len(planned)))
                seconds = self._apply(migration)
                self._report(on_progress, Step("done", "apply", migration, index, len(planned), seconds))
        return planned

    def apply_one(self, migration: Migration, *, on_progress: Progress | None = None) -> bool:
        """Apply just this migration, which must be the next one; return False when it is applied already."""
        pending = self.plan(to=migration.version)
        if not pending:
            return False
        if len(pending) > 1:
            earlier = ", ".join(each.label for each in pending[:-1])
            raise MigrationError(
                f"{migration.label} cannot be applied before {earlier}",
                hint=f"apply that first: {pending[0].file.name}",
            )
        self.apply(to=migration.version, on_progress=on_progress)
        return True

    def plan_revert(self, *, steps: int | None = None, to: str | None = None) -> tuple[Migration, ...]:
        """Return what `revert` would undo, the newest first; nothing is changed. Raises as `revert` does."""
        with self._telling():
            return self._plan_revert(self._table.read(), steps, to)

    def revert(
        self, *, steps: int | None = None, to: str | None = None, on_progress: Progress | None = None
    ) -> tuple[Migration, ...]:
        """Undo the last `steps` migrations (1), or all above version `to` ("0": every one); return what was undone."""
        with self._telling(), hold_lock(self._connection, wait=self._lock_wait):
            self._reset_session()
            planned = self._plan_revert(self._table.read(), steps, to)
            refuse_unrunnable((m.down_file or m.file, m.down_sql or "") for m in planned)
            for index, migration in enumerate(planned, 1):
                self._report(on_progress, Step("started", "revert", migration, index, len(planned)))
                seconds = self._revert(migration)
                self._report(on_progress, Step("done", "revert", migration, index, len(planned), seconds))
        return planned

    def _plan(self, records: Sequence[Record], to: str | None) -> tuple[Migration, ...]:
        known = {migration.order: migration for migration in self._migrations}
        problems = _disagreements(records, known)
        applied = {order_of(record.version) for record in records}
        newest = max(applied, default=())
        pending = [migration for migration in self._migrations if migration.order not in applied]
        for migration in pending:
            if migration.order < newest:
                problems.append(
                    f"{migration.file.name}: is new, and below {known[newest].label if newest in known else newest},"
                    " which is applied; give it a higher number"
                )
        if problems:
            raise _refused(problems)
        if to is None:
            return tuple(pending)
        last = find_migration(self._migrations, to).order
        return tuple(migration for migration in pending if migration.order <= last)

    def _plan_revert(self, records: Sequence[Record], steps: int | None, to: str | None) -> tuple[Migration, ...]:
        known = {migration.order: migration for migration in self._migrations}
        chosen = _choose_reverts(records, steps, to, self._migrations)
        problems = _disagreements(chosen, known)
        for record in chosen:
            migration = known.get(order_of(record.version))
            if migration is not None and migration.down_sql is None:
                problems.append(f"{migration.file.name}: has no {migration.label}.down.sql beside it")
        if problems:
            raise _refused(problems)
        return tuple(known[order_of(record.version)] for record in chosen)

    def _apply(self, migration: Migration) -> float:
        started = time.monotonic()
        with self._running(migration.file, migration.sql):
            self._execute(migration.file, migration.sql)
            milliseconds = round((time.monotonic() - started) * 1000)
            self._table.insert(_record(migration, milliseconds, self._applied_by))
        return time.monotonic() - started

    def _revert(self, migration: Migration) -> float:
        started = time.monotonic()
        file, text = migration.down_file or migration.file, migration.down_sql or ""
        with self._running(file, text):
            self._execute(file, text)
            self._table.delete(migration.version)
        return time.monotonic() - started

    @contextmanager
    def _running(self, file: "Path", text: str) -> Iterator[None]:
        """Open the transaction of one file, and undo afterwards what the file set for the session."""
        import psycopg

        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise _failure(file, text, error, None) from None
        finally:
            self._reset_session()

    def _execute(self, file: "Path", text: str) -> None:
        """Send the file whole; a statement that fails is found by how many succeeded before it."""
        from psycopg import errors, generators, pq

        connection = self._connection
        connection.pgconn.send_query(text.encode())
        results = connection.wait(generators.execute(connection.pgconn))
        for done, result in enumerate(results):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = errors.error_from_result(result, encoding="utf-8")
                raise _failure(file, text, error, done)
        self._connection.execute("RESET ROLE")

    def _reset_session(self) -> None:
        """Undo what a file set for the session, which ends within a second of its runner being killed."""
        if self._connection.closed:
            return
        checked = self._connection.info.server_version >= _CONNECTION_CHECK_SINCE
        check = "; SET client_connection_check_interval = 1000" if checked else ""
        self._connection.execute(f"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL{check}".encode())

    @contextmanager
    def _telling(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise MigrationError(f"the database refused: {_first_line(str(error))}") from error

    @staticmethod
    def _report(on_progress: Progress | None, step: Step) -> None:
        if on_progress is not None:
            on_progress(step)


def _status(migration: Migration, record: Record | None) -> Status:
    reversible = migration.down_sql is not None
    if record is None:
        return Status(migration.version, migration.name, "pending", reversible)
    state = "applied" if record.checksum == migration.checksum else "drift"
    return Status(
        migration.version, migration.name, state, reversible, record.applied_at, record.duration_ms, record.applied_by
    )


def _disagreements(records: Sequence[Record], known: dict[tuple[int, ...], Migration]) -> list[str]:
    problems = []
    for record in records:
        migration = known.get(order_of(record.version))
        if migration is None:
            problems.append(f"{record.label}.sql: is applied, and the file is missing; bring it back")
        elif migration.checksum != record.checksum:
            problems.append(
                f"{migration.file.name}: was changed after it was applied; restore it, and put the change in a new one"
            )
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


def refuse_unrunnable(texts: "Iterable[tuple[Path, str]]") -> None:
    """Raise `MigrationError` naming every statement that cannot be sent in a file which is one transaction."""
    problems = []
    for file, text in texts:
        for statement in find_transaction_control(text):
            where = f"{file.name}:{locate(text, statement.start).line}"
            problems.append(f"{where}: {statement.text.strip()}: each file runs in one transaction already")
        for statement in find_client_copies(text):
            where = f"{file.name}:{locate(text, statement.start).line}"
            problems.append(f"{where}: COPY from or to the client, which there is none of: use INSERT")
    if problems:
        raise _refused(problems, hint="take these statements out")


def _refused(problems: Sequence[str], *, hint: str | None = None) -> MigrationError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return MigrationError(f"nothing was changed, because of this:\n{lines}", hint=hint)


def _failure(file: "Path", text: str, error: "Error", done: int | None) -> MigrationError:
    """Build the error for a file that failed: where, the statement, and PostgreSQL's own words."""
    diagnostics = error.diag
    said = diagnostics.message_primary or _first_line(str(error))
    statement = _find_statement(text, diagnostics.statement_position, done)
    offset = int(diagnostics.statement_position) - 1 if diagnostics.statement_position else None
    if offset is None and statement is not None:
        offset = statement.start
    place = locate(text, offset) if offset is not None else None
    where = f"{file}:{place.line}:{place.column}" if place else str(file)
    lines = [f"{where}: {said}"]
    if diagnostics.message_detail:
        lines.append(f"  detail: {diagnostics.message_detail}")
    if diagnostics.context:
        lines.append(f"  in: {_first_line(diagnostics.context)}")
    if statement is not None:
        lines += [f"  | {line}" for line in _shorten(statement.text)]
    lines.append("  this migration was rolled back; those before it stay applied")
    hint = diagnostics.message_hint or (
        "this statement cannot run in the transaction that every migration runs in"
        if "cannot run inside a transaction block" in said
        else None
    )
    return MigrationError("\n".join(lines), hint=hint)


def _find_statement(text: str, position: str | None, done: int | None) -> Statement | None:
    statements = list(split_statements(text))
    if position:
        at = int(position) - 1
        return next((s for s in reversed(statements) if s.start <= at), None)
    return statements[done] if done is not None and done < len(statements) else None


def _shorten(text: str) -> list[str]:
    lines = text.splitlines()
    return lines if len(lines) <= _STATEMENT_LINES else [*lines[:_STATEMENT_LINES], "…"]


def _first_line(text: str) -> str:
    return re.split(r"\r?\n", text.strip(), maxsplit=1)[0]


def _record(migration: Migration, milliseconds: int, applied_by: str) -> Record:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    return Record(migration.version, migration.name, migration.checksum, now, milliseconds, applied_by, "applied")
