"""Applies and reverts migrations, each with its record in one transaction, and none when anything is amiss."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from fairlead.exceptions import MigrationError
from fairlead.migrations.execution import LockTimeout, Session, way_of
from fairlead.migrations.failures import describe_blockers, refused, telling
from fairlead.migrations.files import Migration, find_migration, order_of
from fairlead.migrations.interruption import drop_invalid_indexes, find_invalid_indexes
from fairlead.migrations.lock import Lock, find_holder, hold_lock, runner_name
from fairlead.migrations.planning import agrees, plan_apply, plan_revert, refuse_interrupted, tell_status
from fairlead.migrations.statements import (
    find_client_copies,
    find_meta_commands,
    find_nontransactional,
    find_transaction_control,
    locate,
)
from fairlead.migrations.table import INTERRUPTED, Record, Status, Table

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0


@dataclass(frozen=True, slots=True)
class Step:
    """What `on_progress` is told: a migration's place in the plan, and that it was started or is done in `seconds`.

    A step that is `waiting` did not get a lock, was rolled back, and is tried again after `seconds`.
    """

    kind: Literal["started", "waiting", "done"]
    action: Literal["apply", "revert"]
    migration: Migration
    index: int
    total: int
    seconds: float = 0.0


Progress = Callable[[Step], None]


_UNRUNNABLE: Final = (
    (find_transaction_control, "each file runs in one transaction already"),
    (find_client_copies, "COPY from or to the client, which there is none of: use INSERT"),
    (find_nontransactional, "cannot run in a transaction: put it in a file with -- fairlead: no-transaction"),
    (find_meta_commands, "is psql's, not SQL"),
)


class Migrator:
    """The migrations of one folder and the database behind one connection, which must be in autocommit mode."""

    def __init__(
        self,
        connection: "Connection[tuple[Any, ...]]",
        migrations: Sequence[Migration],
        *,
        lock_wait: float = 30.0,
        applied_by: str | None = None,
        lock_timeout: float | None = 2.0,
        statement_timeout: float | None = None,
        out_of_order: bool = False,
        transaction_control: str = "refuse",
        lock_retry: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the times in seconds: `lock_retry` is how long a migration that gets no lock is tried again."""
        self._connection = connection
        self._migrations = tuple(migrations)
        self._table = Table(connection)
        self._session = Session(connection, lock_timeout=lock_timeout, statement_timeout=statement_timeout)
        self._lock_wait = lock_wait
        self._lock_timeout = lock_timeout or 0.0
        self._lock_retry = lock_retry
        self._out_of_order = out_of_order
        self._inner_control = transaction_control == "run"
        self._applied_by = applied_by or runner_name()
        self._sleep = sleep

    def status(self) -> tuple[Status, ...]:
        """Return where every migration stands, those applied without a file among them; nothing is changed."""
        with telling(self._connection):
            return tell_status(self._migrations, self._table.read())

    def plan(self, *, to: str | None = None) -> tuple[Migration, ...]:
        """Return what `apply` would run, in order; nothing is changed. Raises as `apply` does."""
        records = self._read_unlocked()
        return plan_apply(self._migrations, records, to, out_of_order=self._out_of_order)

    def apply(self, *, to: str | None = None, on_progress: Progress | None = None) -> tuple[Migration, ...]:
        """Apply what is pending, up to and with version `to`; return what was applied.

        Raises `MigrationError` before any change when the database and the files disagree (an applied file edited or
        missing, a new one below the newest applied, one interrupted), and when a migration fails: those before it stay
        applied.
        """
        with telling(self._connection):
            records = self._table.read()
            planned = self._plan_apply(records, to)
            # What is running now may be another runner's work: only the lock tells.
            if not planned and not any(record.state in INTERRUPTED for record in records):
                return ()
            with self._locked() as lock:
                records = self._table.read()
                refuse_interrupted(records)
                seen, planned = planned, plan_apply(self._migrations, records, to, out_of_order=self._out_of_order)
                if planned != seen:  # another runner was at work until now
                    self._refuse_unrunnable((m.file, m.sql, m.transactional) for m in planned)
                if planned:
                    self._table.ensure()
                for index, migration in enumerate(planned, 1):
                    lock.check()
                    step = Step("started", "apply", migration, index, len(planned))
                    self._perform(step, self._apply, lock, on_progress)
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
        records = self._read_unlocked()
        return plan_revert(self._migrations, records, steps, to)

    def revert(
        self, *, steps: int | None = None, to: str | None = None, on_progress: Progress | None = None
    ) -> tuple[Migration, ...]:
        """Undo the last `steps` migrations (1), or all above version `to` ("0": every one); return what was undone."""
        with telling(self._connection), self._locked() as lock:
            records = self._table.read()
            refuse_interrupted(records)
            planned = plan_revert(self._migrations, records, steps, to)
            self._refuse_unrunnable((m.down_file or m.file, m.down_sql or "", m.down_transactional) for m in planned)
            recorded = {order_of(record.version): record.version for record in records}
            for index, migration in enumerate(planned, 1):
                lock.check()
                step = Step("started", "revert", migration, index, len(planned))
                version = recorded[migration.order]
                self._perform(step, partial(self._revert, version=version), lock, on_progress)
        return planned

    def baseline(self, version: str) -> tuple[Migration, ...]:
        """Record everything up to and with `version` as applied without running it; return what was recorded.

        A table of dbmate's or Rails' kind is taken over, with its rows. Raises `MigrationError` before any change when
        what is recorded already does not agree.
        """
        last = find_migration(self._migrations, version)
        chosen = [migration for migration in self._migrations if migration.order <= last.order]
        known = {migration.order for migration in self._migrations}
        with telling(self._connection), self._locked(), self._connection.transaction():
            foreign = self._table.adopt()
            problems = [
                f"{text}: is recorded, and has no file" for order, text in foreign.items() if order not in known
            ]
            records = {order_of(record.version): record for record in self._table.read()}
            refuse_interrupted(tuple(records.values()))
            for migration in self._migrations:
                record = records.get(migration.order)
                if record is not None and not agrees(record, migration):
                    problems.append(f"{migration.file.name}: was changed after it was applied")
                if record is not None and record.checksum and migration.order > last.order:
                    problems.append(f"{migration.file.name}: is applied already, and above {last.label}")
            if problems:
                raise refused(problems)
            fresh = [m for m in chosen if m.order not in records or not records[m.order].checksum]
            for migration in fresh:
                self._table.record_baseline(
                    migration, foreign.get(migration.order, migration.version), self._applied_by
                )
        return tuple(fresh)

    def resolve(self, version: str, outcome: Literal["applied", "reverted"]) -> tuple[str, ...]:
        """Record what became of a migration that was interrupted outside a transaction; return the indexes dropped.

        With `reverted`, the INVALID indexes that it left behind are dropped, and its record is removed. Raises
        `MigrationError` for one that was not interrupted, and with `applied` while such an index is there.
        """
        migration = find_migration(self._migrations, version)
        with telling(self._connection), self._locked():
            records = {order_of(record.version): record for record in self._table.read()}
            record = records.get(migration.order)
            if record is None or record.state not in INTERRUPTED:
                stands = "is not applied" if record is None else "is applied"
                raise MigrationError(
                    f"{migration.label} was not interrupted: it {stands}", hint="invoke migrations.status"
                )
            text = f"{migration.sql}\n{migration.down_sql or ''}"
            if outcome == "reverted":
                dropped = drop_invalid_indexes(self._connection, text)
                self._connection.execute(self._table.deletion(record.version).encode())
                return dropped
            invalid = find_invalid_indexes(self._connection, text)
            if invalid:
                names = ", ".join(f"{schema}.{name}" for schema, name in invalid)
                raise MigrationError(
                    f"{migration.label} is not applied: it left INVALID indexes behind: {names}",
                    hint=f"invoke migrations.resolve {migration.version} --reverted drops them; then apply it again",
                )
            self._table.set_state(record.version, "applied")
        return ()

    @contextmanager
    def _locked(self) -> Iterator[Lock]:
        """Be the only runner on a server that takes changes, in a session that holds nothing of what came before."""
        self._session.reset()
        row = self._connection.execute(
            "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'"
        ).fetchone()
        if row is not None and row[0]:
            raise MigrationError(
                "this server is a read-only replica: nothing was changed",
                hint="give the address of the primary, or add target_session_attrs=read-write to it",
            )
        if row is not None and row[1]:
            raise MigrationError(
                "this database takes no changes: every transaction of this user is read-only",
                hint="see default_transaction_read_only of the user, the database and the address",
            )
        with hold_lock(self._connection, wait=self._lock_wait, sleep=self._sleep) as lock:
            yield lock

    def _read_unlocked(self) -> Sequence[Record]:
        """Read the records, and refuse an interrupted one: what a runner that is at work has begun is none."""
        with telling(self._connection):
            records = self._table.read()
            begun = {(record.version, record.state) for record in records if record.state in INTERRUPTED}
            if begun and find_holder(self._connection) is None:
                # Seen before and after there was nobody at work: nobody will end it.
                records = self._table.read()
                refuse_interrupted([record for record in records if (record.version, record.state) in begun])
        return records

    def _plan_apply(self, records: Sequence[Record], to: str | None) -> tuple[Migration, ...]:
        planned = plan_apply(self._migrations, records, to, out_of_order=self._out_of_order)
        self._refuse_unrunnable((m.file, m.sql, m.transactional) for m in planned)
        return planned

    def _refuse_unrunnable(self, files: "Iterable[tuple[Path, str, bool]]") -> None:
        """Refuse what cannot be sent; only psql, in which no transaction is ours, takes everything."""
        refuse_unrunnable(
            (file, text)
            for file, text, transactional in files
            if way_of(text, transactional=self._within(text, transactional)) == "transaction"
        )

    def _within(self, text: str, transactional: bool) -> bool:
        """Tell whether a file runs in a transaction of ours, which one with its own may be allowed not to."""
        return transactional and not (self._inner_control and find_transaction_control(text))

    def _perform(self, step: Step, act: Callable[[Migration], float], lock: Lock, on_progress: Progress | None) -> None:
        """Run one migration, again after each lock that it did not get, and tell of it."""

        def tell(kind: Literal["started", "waiting", "done"], seconds: float) -> None:
            if on_progress is not None:
                on_progress(Step(kind, step.action, step.migration, step.index, step.total, seconds))

        tell("started", 0.0)
        waited, pause, attempts = 0.0, _FIRST_PAUSE, 0
        while True:
            attempts += 1
            try:
                seconds = act(step.migration)
            except LockTimeout as timeout:
                waited += self._lock_timeout
                if waited + pause > self._lock_retry:
                    raise self._gave_up(timeout, lock, attempts, waited) from None
            else:
                return tell("done", seconds)
            # Spread, so that runners which wait alike do not come back together; no secret hangs on it.
            jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 # nosec B311 - no secret
            tell("waiting", jittered)
            self._sleep(jittered)
            lock.check()
            waited, pause = waited + jittered, min(pause * 2, _LONGEST_PAUSE)

    def _gave_up(self, timeout: LockTimeout, lock: Lock, attempts: int, waited: float) -> MigrationError:
        blockers = describe_blockers(self._connection, timeout.text, [lock.pid])
        times = "once" if attempts == 1 else f"{attempts} times within {waited:.0f} s"
        return MigrationError(
            f"{timeout.failure.message}\n  a lock was not free within {self._lock_timeout:g} s, tried {times}:"
            f" {blockers}",
            hint="end that session's transaction, or run this again when it is done",
        )

    def _apply(self, migration: Migration) -> float:
        if self._within(migration.sql, migration.transactional):
            record = self._table.insertion(migration, self._applied_by)
            return self._session.run_in_transaction(migration.file, migration.sql, record)
        running = self._table.insertion(migration, self._applied_by, state="running")
        self._connection.execute(running.encode())
        seconds = self._session.run_outside(migration.file, migration.sql, label=migration.label)
        self._table.set_state(migration.version, "applied", milliseconds=round(seconds * 1000))
        return seconds

    def _revert(self, migration: Migration, *, version: str) -> float:
        file, text = migration.down_file or migration.file, migration.down_sql or ""
        if self._within(text, migration.down_transactional):
            return self._session.run_in_transaction(file, text, self._table.deletion(version))
        self._table.set_state(version, "reverting")
        seconds = self._session.run_outside(file, text, label=migration.label)
        self._connection.execute(self._table.deletion(version).encode())
        return seconds


def refuse_unrunnable(texts: "Iterable[tuple[Path, str]]") -> None:
    """Raise `MigrationError` naming every statement that cannot be sent in a file which is one transaction."""
    problems = []
    for file, text in texts:
        for find, why in _UNRUNNABLE:
            for statement in find(text):
                where = f"{file.name}:{locate(text, statement.start).line}"
                problems.append(f"{where}: {statement.text.strip().partition(chr(10))[0]}: {why}")
    if problems:
        raise refused(problems, hint="take these statements out, or see docs/migrations.md")
