"""Owns the connection to PostgreSQL: the pool, its sessions, the wait for it at start-up and its probe."""

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import QueuePool

from app.connections import connect_arguments, describe, first_line
from app.reads import Reads
from app.settings import Settings

logger = logging.getLogger(__name__)

#: What tells that the database cannot serve now, although the statement was right.
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError)

_FIRST_DELAY = 0.25
_LONGEST_DELAY = 5.0
_CLOSE_TIMEOUT = 2.0
_PROBE = text(
    "SELECT to_regclass('business_settings') IS NOT NULL, to_regclass('schema_migrations') IS NOT NULL,"
    " current_setting('transaction_read_only')::boolean"
)
#: Other tools keep the versions alone; Fairlead also notes what began and was not seen to end.
_APPLIED = text(
    "SELECT version FROM schema_migrations AS record"
    " WHERE coalesce(to_jsonb(record) ->> 'state', '') NOT IN ('running', 'reverting')"
)

_jitter = secrets.SystemRandom()

Sleep = Callable[[float], Awaitable[None]]


class DatabaseUnavailableError(Exception):
    """The database did not answer in time. The message says where it was looked for and why it failed."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What the database holds: its tables, and the versions of the migrations that are on record as applied."""

    has_tables: bool
    #: As numbers without leading zeros; None where no record is kept.
    applied: frozenset[str] | None = None
    #: Whether nothing can be changed: another server may be about to take its place.
    read_only: bool = False


class Database:
    """A pool of connections and what is asked of it. Making one connects nowhere."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.dsn
        connecting = connect_arguments(settings, application="maya-backend")
        self._engine = _create_engine(settings, connecting)
        _, address = self._engine.dialect.create_connect_args(self._url)
        self.reads = Reads(
            {**address, **connecting}, size=settings.database_pool_size, patience=settings.database_pool_timeout
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._probe: asyncio.Task[Schema] | None = None

    @property
    def address(self) -> str:
        """Where the database is, without the password."""
        return describe(self._url)

    @property
    def engine(self) -> AsyncEngine:
        """What sessions are made on."""
        return self._engine

    @property
    def sessions_in_use(self) -> int:
        """How many connections sessions are using now."""
        return self._pool.checkedout()

    @property
    def sessions_idle(self) -> int:
        """How many connections are open and wait for a session."""
        return self._pool.checkedin()

    @property
    def _pool(self) -> QueuePool:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)  # noqa: S101  (narrows the type: the engine is made with this one)
        return pool

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what it does not commit is rolled back at the end."""
        async with self._sessions() as session:
            yield session

    async def probe(self, *, within: float) -> Schema:
        """Query the database and return what it holds.

        Raise `TimeoutError` after `within` seconds, or the driver's error. Callers at the same time share one query,
        and a query that hangs is left to the connection's own time-outs: cancelling it could wait on the very server
        that does not answer, and starting another each time would use up the pool.
        """
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._query())
        probe = self._probe
        done, _ = await asyncio.wait({probe}, timeout=within)
        if not done:
            probe.add_done_callback(_forget)
            raise TimeoutError
        return probe.result()

    async def wait_until_ready(
        self, *, within: float, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Query the database until it answers, with growing pauses, for up to `within` seconds.

        Raise `DatabaseUnavailableError` when it never does.
        """
        deadline = clock() + within
        for attempt in itertools.count(1):
            try:
                await self.probe(within=max(deadline - clock(), 1.0))
            except (*UNAVAILABLE, TimeoutError, SQLAlchemyError) as error:
                reason = explain(error)
            else:
                return
            pause = min(_FIRST_DELAY * 2 ** min(attempt - 1, 10), _LONGEST_DELAY)
            delay = pause * _jitter.uniform(0.8, 1.2)
            if clock() + delay >= deadline:
                break
            logger.warning(
                "the database does not answer yet, trying again",
                extra={"database": self.address, "reason": reason, "attempt": attempt, "retry_in": round(delay, 2)},
            )
            await sleep(delay)
        raise DatabaseUnavailableError(
            f"The backend cannot start: the database at {self.address} did not answer within {within:g} s ({reason}). "
            "Start the database or correct DATABASE_URL; DATABASE_STARTUP_TIMEOUT sets how long to wait."
        )

    async def close(self) -> None:
        """Close every connection; a query that hangs is abandoned."""
        if self._probe is not None and not self._probe.done():
            self._probe.add_done_callback(_forget)
            self._probe.cancel()
            await asyncio.wait({self._probe}, timeout=_CLOSE_TIMEOUT)
        await self.reads.close()
        await self._engine.dispose()

    async def _query(self) -> Schema:
        async with self._engine.connect() as connection:
            has_tables, has_record, read_only = (await connection.execute(_PROBE)).one()
            applied = None
            if has_record:
                versions = (await connection.execute(_APPLIED)).scalars()
                applied = frozenset(version.lstrip("0") or "0" for version in versions)
            if read_only:
                # The next connection may lead to where writing is possible again.
                await connection.invalidate()
            return Schema(bool(has_tables), applied, bool(read_only))


def explain(error: BaseException) -> str:
    """Say in one line why the database could not be used."""
    if isinstance(error, PoolTimeoutError):
        return "every connection of the pool is in use"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return first_line(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)


def _create_engine(settings: Settings, arguments: dict[str, Any]) -> AsyncEngine:
    engine = create_async_engine(
        settings.dsn,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args=arguments,
    )
    event.listen(engine.sync_engine, "handle_error", _judge)
    return engine


def _judge(context: ExceptionContext) -> BaseException | None:
    """Take the customers' data out of an error, and tell a database that takes no writes from a wrong statement."""
    original = context.original_exception
    if not isinstance(original, psycopg.Error) or context.sqlalchemy_exception is None:
        return None
    if original.diag.message_primary is not None:
        # What follows in DETAIL is the row that was refused; the constraint stays on `diag`.
        original.args = (original.diag.message_primary,)
        name = f"{type(original).__module__}.{type(original).__name__}"
        context.sqlalchemy_exception.args = (f"({name}) {original}",)
    if not isinstance(original, psycopg.errors.ReadOnlySqlTransaction):
        return None
    # This connection leads to a server that takes no writes; the next may lead to the one that took its place.
    context.is_disconnect = True
    context.invalidate_pool_on_disconnect = False
    return OperationalError(context.statement, None, original, hide_parameters=True)


def _forget(task: "asyncio.Task[Schema]") -> None:
    # Fetching the outcome keeps asyncio from reporting an abandoned probe's error as never retrieved.
    if not task.cancelled():
        task.exception()
