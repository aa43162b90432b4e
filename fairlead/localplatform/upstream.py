"""HTTP/1.1 to one release: the connections kept open to it, and the requests sent over them.

The other side may close a kept connection just when it is used again. Only a request that does no harm when it arrives
twice is sent over one, and once more over a new connection if no answer comes; any other gets a new connection at once.
A body is sent while the answer is awaited, so that a release may refuse it without reading on.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast

import h11

from fairlead.localplatform.forwarding import LONGEST_HEAD, Headers
from fairlead.localplatform.ports import LOOPBACK

_CONNECT_TIMEOUT: Final = 5.0
#: How long a release may be silent, in seconds, while it is neither sent anything nor sends anything.
_SILENCE: Final = 300.0
#: Shorter than the five seconds after which uvicorn closes an idle connection, so that few are used while they go away.
_IDLE: Final = 2.0
_KEPT: Final = 64
_PIECE: Final = 65536


class Connections:
    """The connections to the release on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(
        self, request: h11.Request, body: AsyncIterator[bytes] | None = None, *, repeatable: bool = False
    ) -> "Answer":
        """Send a request and return the answer once its head is there.

        Raises `h11.LocalProtocolError` when the request is at fault, `TimeoutError`, `h11.RemoteProtocolError` for what
        is no answer, other kinds of `OSError` when there is no connection, and whatever the body raises.
        """
        kept = self._take() if repeatable else None
        if kept is not None:
            try:
                return Answer(self, kept, await kept.send(request, None))
            except TimeoutError:
                raise
            except (OSError, h11.RemoteProtocolError):
                pass
        connection = await self._open()
        return Answer(self, connection, await connection.send(request, body))

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection for another request if it is good for one, else close it."""
        if self._closed or len(self._idle) >= _KEPT or not connection.renew():
            connection.close()
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_IDLE, self._close_old)

    def close(self) -> None:
        """Close the connections that nothing is sent over, the others when their answer has ended."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        if self._sweep is not None:
            self._sweep.cancel()

    def _take(self) -> "_Connection | None":
        oldest = asyncio.get_running_loop().time() - _IDLE
        while self._idle:
            connection = self._idle.pop()
            if connection.take(oldest):
                return connection
            connection.close()
        return None

    async def _open(self) -> "_Connection":
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, LOOPBACK, self._port)
        return connection

    def _close_old(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and self._idle[0].idle_since <= now - _IDLE:
            self._idle.pop(0).close()
        self._sweep = None
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_at(self._idle[0].idle_since + _IDLE, self._close_old)


class Answer:
    """An answer whose head is there; its body is read as it comes, and `close` ends it."""

    def __init__(self, connections: Connections, connection: "_Connection", head: h11.Response) -> None:
        self.status = head.status_code
        self.headers: Headers = list(head.headers.raw_items())
        self._connections = connections
        self._connection: _Connection | None = connection

    async def read(self) -> AsyncIterator[bytes]:
        """Give the body in the pieces that it comes in; raise as `Connections.send` when it does not come whole."""
        while self._connection is not None and isinstance(event := await self._connection.receive(), h11.Data):
            yield bytes(event.data)

    def close(self) -> None:
        """Give the connection back; one whose answer has not ended is closed."""
        if self._connection is not None:
            self._connections.give_back(self._connection)
            self._connection = None


class _Connection(asyncio.StreamReaderProtocol):
    """One connection, and the exchange that takes place over it."""

    def __init__(self) -> None:
        reader = asyncio.StreamReader(limit=_PIECE)
        super().__init__(reader)
        self.idle_since = 0.0
        self._reader = reader
        self._writer: asyncio.StreamWriter
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._sending: asyncio.Task[None] | None = None
        self._fault: Exception | None = None
        self._deadline: asyncio.Timeout | None = None
        self._idle = self._spoiled = False

    # --- what the loop tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        both = cast("asyncio.Transport", transport)
        self._writer = asyncio.StreamWriter(both, self, self._reader, asyncio.get_running_loop())

    def data_received(self, data: bytes) -> None:
        self._spoiled |= self._idle
        super().data_received(data)

    def eof_received(self) -> bool | None:
        self._spoiled = True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._spoiled = True
        super().connection_lost(exc)

    # --- between two exchanges ---

    def renew(self) -> bool:
        """Prepare for another request; tell whether there can be one."""
        if self._spoiled or self._http.trailing_data[0]:
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle = True
        self.idle_since = asyncio.get_running_loop().time()
        return True

    def take(self, oldest: float) -> bool:
        """Take the connection for a request; tell whether it is still good and was not idle since before `oldest`."""
        self._idle = False
        return not self._spoiled and self.idle_since > oldest

    def close(self) -> None:
        """Close the connection, whatever takes place."""
        if self._sending is None:
            self._writer.close()
        else:
            self._sending.cancel()
            self._writer.transport.abort()

    # --- an exchange ---

    async def send(self, request: h11.Request, body: AsyncIterator[bytes] | None) -> h11.Response:
        """Send a request and return the head of its answer; on whatever error the connection is closed."""
        try:
            self._write(request, *([h11.EndOfMessage()] if body is None else []))
            if body is not None:
                self._sending = asyncio.create_task(self._send_body(body))
            return await self._receive_head()
        except BaseException:
            self.close()
            raise

    async def receive(self) -> h11.Event | type[h11.PAUSED]:
        """Return what the release says next."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._read())
        except (OSError, h11.RemoteProtocolError):
            if self._fault is not None:
                raise self._fault from None
            raise
        if isinstance(event, h11.ConnectionClosed):
            raise self._fault or h11.RemoteProtocolError("the connection was closed instead of an answer")
        return event  # type: ignore[return-value]  # NEED_DATA, the one other type, was dealt with

    async def _receive_head(self) -> h11.Response:
        while not isinstance(event := await self.receive(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("an answer without a head")
        return event

    async def _read(self) -> bytes:
        async with asyncio.timeout(_SILENCE) as deadline:
            self._deadline = deadline
            try:
                return await self._reader.read(_PIECE)
            finally:
                self._deadline = None

    def _write(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))

    def _put_off_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + _SILENCE)

    async def _send_body(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                self._write(h11.Data(data=piece))
                await self._writer.drain()
                self._put_off_deadline()
            self._write(h11.EndOfMessage())
            self._sending = None
        except OSError:
            # The release reads no further. It may have answered all the same.
            pass
        except Exception as error:  # noqa: BLE001 - whoever awaits the answer raises it
            self._fault = error
            self._writer.transport.abort()
