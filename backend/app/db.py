"""Owns the connection to PostgreSQL: the pool, its sessions, the wait for it at start-up and its probe."""

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.settings import Settings

logger = logging.getLogger(__name__)

#: What tells that the database cannot serve now, although the statement was right.
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError, psycopg.InterfaceError)

_FIRST_DELAY = 0.25
_LONGEST_DELAY = 5.0
_CLOSE_TIMEOUT = 2.0
_PROBE = text("SELECT to_regclass('business_settings') IS NOT NULL")

_jitter = secrets.SystemRandom()

Sleep = Callable[[float], Awaitable[None]]


class DatabaseUnavailableError(Exception):
    """The database did not answer in time. The message says where it was looked for and why it failed."""


class Database:
    """A pool of connections and what is asked of it. Making one connects nowhere."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.dsn
        self._engine = _create_engine(settings)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._probe: asyncio.Task[bool] | None = None

    @property
    def address(self) -> str:
        """Where the database is, without the password."""
        return describe(self._url)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what it does not commit is rolled back at the end."""
        async with self._sessions() as session:
            yield session

    async def probe(self, *, within: float) -> bool:
        """Query the database and return whether its tables are there.

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
        await self._engine.dispose()

    async def _query(self) -> bool:
        async with self._engine.connect() as connection:
            return bool((await connection.execute(_PROBE)).scalar_one())


def describe(url: URL) -> str:
    """Render an address without its password: user@host:port/database."""
    host = url.host or str(url.query.get("host", "")) or "the local socket"
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"{user}{host}{port}/{url.database}"


def explain(error: BaseException) -> str:
    """Say in one line why the database could not be used."""
    if isinstance(error, PoolTimeoutError):
        return "every connection of the pool is in use"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


def _create_engine(settings: Settings) -> AsyncEngine:
    statement_timeout = int(settings.database_statement_timeout * 1000)
    return create_async_engine(
        settings.dsn,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "application_name": "maya-backend",
            "connect_timeout": settings.database_connect_timeout,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": f"-c statement_timeout={statement_timeout} -c timezone=UTC",
        },
    )


def _forget(task: "asyncio.Task[bool]") -> None:
    # Fetching the outcome keeps asyncio from reporting an abandoned probe's error as never retrieved.
    if not task.cancelled():
        task.exception()
