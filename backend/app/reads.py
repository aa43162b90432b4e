"""Owns the connections for single reads that must be fast: no transaction around them, no session, no ORM.

A read through the session costs five times the processor time of the same read here, and BEGIN and ROLLBACK travel to
the server as well. What is asked for with every request is read here; whatever writes goes through a session.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed

Row = tuple[Any, ...]
_Pool = AsyncConnectionPool[psycopg.AsyncConnection[Row]]

#: Seconds after which a connection is replaced: servers and proxies may move behind one that never ends.
_LIFETIME: Final = 1800.0
_UNTRACED: Final = nullcontext()
#: Seconds that closing waits for connections that hang.
_CLOSE_WITHIN: Final = 2.0


class Reads:
    """Up to `size` connections in autocommit, handed out in the order of asking. Making one connects nowhere."""

    def __init__(self, arguments: dict[str, Any], *, size: int, patience: float) -> None:
        """Connect with psycopg's `arguments`; wait up to `patience` seconds for a connection that is free."""
        self._arguments = arguments | {"autocommit": True}
        self._patience = patience
        self._pool: _Pool | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._size = size
        #: Goes around each query, where reads are traced.
        self.surround: Callable[[str], AbstractContextManager[None]] | None = None

    @property
    def in_use(self) -> int:
        """How many connections are reading now."""
        return self._count("pool_size") - self._count("pool_available")

    @property
    def idle(self) -> int:
        """How many connections are open and wait."""
        return self._count("pool_available")

    async def fetch_row(self, query: str, parameters: Sequence[Any]) -> Row | None:
        """Return the first row that `query` finds with `parameters` for its `%s`, or None.

        The query must only read: it is sent again where a connection had died since it was last used. Raise the
        driver's error; not getting a connection is one of them.
        """
        # Every connection that waits may have died; after as many failures the next is new.
        for _ in range(self._size):
            try:
                return await self._read(query, parameters)
            except _DiedError:
                continue
        return await self._read(query, parameters)

    async def close(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(_CLOSE_WITHIN)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_WITHIN)

    async def _read(self, query: str, parameters: Sequence[Any]) -> Row | None:
        pool = self._pool or await self._open()
        try:
            connection = await pool.getconn()
        except PoolClosed as error:
            # Which `_give_up` did while this one waited; the pool itself has logged why.
            raise psycopg.OperationalError("no connection can be made") from error
        try:
            with _UNTRACED if self.surround is None else self.surround(query):
                cursor = await connection.execute(query, parameters)
                return await cursor.fetchone()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if connection.closed:
                raise _DiedError(str(error)) from error
            raise
        finally:
            await pool.putconn(connection)

    async def _open(self) -> _Pool:
        # Trying for long is no good to requests that wait: the pool gives up after its second try, the next one begins.
        self._pool = pool = _Pool(
            kwargs=self._arguments,
            min_size=0,
            max_size=self._size,
            open=False,
            timeout=self._patience,
            max_lifetime=_LIFETIME,
            reconnect_timeout=0,
            reconnect_failed=self._give_up,
            name="reads",
        )
        await pool.open()
        return pool

    async def _give_up(self, pool: AsyncConnectionPool[Any]) -> None:
        """Tell everybody who waits that there is no connection, which closing does; the next read begins afresh."""
        if pool.get_stats()["pool_size"] > 0:
            # The server takes no more connections, or did not for a moment: those that are open go on.
            return
        if self._pool is pool:
            self._pool = None
        # Closing waits for the very task that this runs in.
        task = asyncio.create_task(pool.close(_CLOSE_WITHIN))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _count(self, name: str) -> int:
        return int(self._pool.get_stats().get(name, 0)) if self._pool is not None else 0


class _DiedError(psycopg.OperationalError):
    """A connection that was open before is not any more."""
