"""Sends one file to the server: within a transaction with its record, as one query without one, or through psql."""

import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from fairlead.exceptions import MigrationError
from fairlead.migrations.failures import describe_failure, describe_lost, telling
from fairlead.migrations.lock import CHECKED_SINCE, address_of
from fairlead.migrations.statements import find_nontransactional, find_transaction_control, split_statements

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection
    from psycopg.pq.abc import PGresult

_PSQL: Final = ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", "-")
_OUTPUT_LINES: Final = 20

_OWN_ROLE: Final = "RESET SESSION AUTHORIZATION; RESET ROLE"
#: Between a file and its record: it fails where the file ended the transaction, and the record is ours to write.
_CLOSE: Final = f"SAVEPOINT fairlead; RELEASE SAVEPOINT fairlead; {_OWN_ROLE}"

Way = Literal["transaction", "query", "psql"]


class LockTimeout(Exception):  # noqa: N818 - it is caught and retried, and no error of the user's until then
    """A lock was not free in time, and the migration was rolled back; `failure` tells where, `text` is the file's."""

    def __init__(self, failure: MigrationError, text: str) -> None:
        super().__init__()
        self.failure = failure
        self.text = text


class Session:
    """The session that migrations run on; the time-outs are in seconds, and None is none."""

    def __init__(
        self,
        connection: "Connection[tuple[Any, ...]]",
        *,
        lock_timeout: float | None,
        statement_timeout: float | None,
    ) -> None:
        self._connection = connection
        self._begin = (
            f"BEGIN; SET LOCAL lock_timeout = {_milliseconds(lock_timeout)};"
            f" SET LOCAL statement_timeout = {_milliseconds(statement_timeout)}; "
        )
        checked = connection.info.server_version >= CHECKED_SINCE
        # Messages below warnings are not sent at all, and the session ends within a second of its runner being killed.
        self._settings = "RESET ALL; SET client_encoding = 'UTF8'; SET client_min_messages = warning" + (
            "; SET client_connection_check_interval = 1000" if checked else ""
        )

    def reset(self) -> None:
        """Undo what a file, or whoever had the connection before, set for the session."""
        if not self._connection.closed:
            self._roll_back()
            self._send(f"{_OWN_ROLE}; {self._settings}")

    def run_in_transaction(self, file: "Path", text: str, record: str) -> float:
        """Run a file and the statement `record` in one transaction; return the seconds.

        Raises `LockTimeout` when a lock was not free in time, and `MigrationError`; both leave nothing behind.
        """
        import psycopg
        from psycopg.pq import TransactionStatus

        closing = f"\n;{_CLOSE}; {record}; COMMIT; {self._settings}"
        started = time.monotonic()
        try:
            # One round trip for all. The file follows on the same line, so that its own lines are as they were; what
            # comes after it stands on a line of its own, since it may end in a comment or without its semicolon.
            self._send(f"{self._begin}{text}{closing}", before=self._begin)
        except psycopg.Error as error:
            done = _done(error)
            ours = done is not None and done >= sum(1 for _ in split_statements(text))
            if self._connection.closed:
                # Only the server's own last word tells how far it came.
                raise describe_lost(file, error, committing=ours or error.sqlstate is None) from None
            if isinstance(error, psycopg.errors.NoActiveSqlTransaction):
                raise MigrationError(
                    f"{file}: ended the transaction that it ran in: what it did before that is kept, and not recorded",
                    hint="look at what it did, take its COMMIT out, and record it with migrations.baseline",
                ) from None
            done = None if ours else done
            failure = describe_failure(file, text, error, done, skipped=len(self._begin), after=closing)
            if isinstance(error, psycopg.errors.LockNotAvailable):
                raise LockTimeout(failure, text) from None
            raise failure from None
        finally:
            if not self._connection.closed and self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
                self.reset()
        return time.monotonic() - started

    def run_outside(self, file: "Path", text: str, *, label: str) -> float:
        """Run a file as it is written, without a transaction around it and no time-outs; return the seconds it took.

        A time-out would leave an INVALID index behind. Raises `MigrationError` that says how to go on.
        """
        started = time.monotonic()
        outcome = (
            f"{label} runs outside a transaction: what it did before this is kept, and it is recorded as interrupted"
        )
        hint = resolve_hint(label.partition("_")[0])
        if way_of(text, transactional=False) == "psql":
            _run_psql(self._connection, file, text, outcome, hint)
            return time.monotonic() - started
        self._send("SET lock_timeout = 0; SET statement_timeout = 0")
        try:
            self._run_query(file, text, outcome, hint)
        finally:
            with telling(self._connection):
                self.reset()
        return time.monotonic() - started

    def _run_query(self, file: "Path", text: str, outcome: str, hint: str) -> None:
        import psycopg
        from psycopg.pq import TransactionStatus

        try:
            self._send(text, before="")
        except psycopg.Error as error:
            raise describe_failure(file, text, error, _done(error), outcome=outcome, hint=hint) from None
        if self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
            raise MigrationError(f"{file}: leaves a transaction open, which was rolled back\n  {outcome}", hint=hint)

    def _send(self, text: str, *, before: str | None = None) -> None:
        """Send a text as one simple query; one that fails in a file is found by how many succeeded there before it.

        `before` is what was put before the file, and None where the text holds no file.
        """
        from psycopg import errors, pq

        for done, result in enumerate(self._results(text)):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = errors.error_from_result(result, encoding="utf-8")
                if before is not None:
                    error.done = done - before.count(";")  # type: ignore[attr-defined]  # read by the one who describes it
                raise error

    def _results(self, text: str) -> "list[PGresult]":
        from psycopg import generators

        self._connection.pgconn.send_query(text.encode())
        return self._connection.wait(generators.execute(self._connection.pgconn))

    def _roll_back(self) -> None:
        from psycopg.pq import TransactionStatus

        if self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self._send("ROLLBACK")


def way_of(text: str, *, transactional: bool) -> Way:
    """Tell how a file is sent: in a transaction with its record, as one query without one, or through psql."""
    if transactional:
        return "transaction"
    statements = split_statements(text)
    next(statements, None)
    if next(statements, None) is None:
        return "query"
    # What runs between its own BEGIN and COMMIT may be one query; what can run in no transaction may not.
    return "query" if find_transaction_control(text) and not find_nontransactional(text) else "psql"


def resolve_hint(version: str) -> str:
    """Say how to go on after a migration outside a transaction was interrupted."""
    return (
        f"look at what it did, then: invoke migrations.resolve {version} --applied (you finished it), or --reverted"
        " (you undid it; an INVALID index that it left is dropped)"
    )


def _done(error: Exception) -> int | None:
    """Return how many statements of a file succeeded before it failed; None where not the file did."""
    done: int | None = getattr(error, "done", None)
    return done


def _milliseconds(seconds: float | None) -> int:
    return 0 if seconds is None else max(round(seconds * 1000), 1)


def _run_psql(connection: "Connection[tuple[Any, ...]]", file: "Path", text: str, outcome: str, hint: str) -> None:
    """Run a file of several statements through psql, which splits it; the address goes by its environment."""
    from psycopg.pq import Conninfo

    from fairlead import _process
    from fairlead.exceptions import CommandError

    parameters = address_of(connection.info)
    variables = {
        option.envvar.decode(): parameters[option.keyword.decode()]
        for option in Conninfo.get_defaults()
        if option.envvar and option.keyword.decode() in parameters
    }
    try:
        done = _process.run(_PSQL, env={**os.environ, "PGCLIENTENCODING": "UTF8", **variables}, stdin=text, check=False)
    except CommandError as error:
        raise MigrationError(
            f"{file}: holds several statements that cannot run in a transaction, which psql is needed for:"
            f" {error.message}\n  {outcome}",
            hint=f"install PostgreSQL's client programs, or give each statement a file of its own; {hint}",
        ) from None
    if done.returncode != 0:
        said = [line.replace("psql:<stdin>", str(file)) for line in done.stderr.splitlines()]
        raise MigrationError("\n".join([*said[-_OUTPUT_LINES:], f"  {outcome}"]), hint=hint)
