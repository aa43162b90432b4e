"""WebSockets: the upgrade is asked of the release, and what follows is passed on byte by byte, as the two agreed.

So messages, compression, pings and close codes are the release's and the client's own. The frames are counted as they
pass, because a connection that must end (its release is being replaced) may be told so only between two of them.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

import h11

from fairlead.localplatform import forwarding
from fairlead.localplatform.forwarding import LONGEST_HEAD
from fairlead.localplatform.ports import LOOPBACK
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.traffic import Traffic

_log = logging.getLogger(__name__)
_CONNECT_TIMEOUT: Final = 5.0
_ANSWER_TIMEOUT: Final = 60.0
#: How long the other side may take to finish a frame, or to close its end, once it was told to go away.
_FAREWELL: Final = 1.0
_PIECE: Final = 65536
#: A close frame with code 1001, as a server sends it and, masked with zeros, as a client does (RFC 6455, 5.5.1, 7.4.1).
_GOING_AWAY: Final = b"\x88\x02\x03\xe9"
_GOING_AWAY_MASKED: Final = b"\x88\x82\x00\x00\x00\x00\x03\xe9"
_UPGRADE: Final = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]


class Tunnel(asyncio.StreamReaderProtocol):
    """One client's WebSocket, from the moment that the server hands the connection over."""

    def __init__(self, router: Router, traffic: Traffic, *, connections: "set[Any]") -> None:
        super().__init__(asyncio.StreamReader(limit=LONGEST_HEAD), self._serve)
        self._router = router
        self._traffic = traffic
        self._connections = connections
        self._leaving = asyncio.Event()

    def shutdown(self) -> None:
        """Tell both sides that the connection ends; the server calls it when it stops."""
        self._leaving.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(self)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, h11.ProtocolError) as error:
            _log.info("a WebSocket was broken off: %r", error)
        except Exception:  # noqa: BLE001 - nobody waits for this task, so nobody else would say it
            _log.exception("a WebSocket")
        finally:
            self._connections.discard(self)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        client = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        client.receive_data(head)
        request = client.next_event()
        if not isinstance(request, h11.Request):
            return
        deployment_id = forwarding.find_deployment(request.headers)
        target = await self._router.find(deployment_id)
        if target is None:
            _refuse(client, writer, 503, *forwarding.explain_absence(deployment_id))
            return
        with target.use(leave=self._leaving.set):
            began = time.perf_counter()

            def record(status: int) -> None:
                self._traffic.record(target.deployment_id, status, time.perf_counter() - began)

            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    there = await asyncio.open_connection(LOOPBACK, target.port)
            except (OSError, TimeoutError) as error:
                record(502)
                _refuse(client, writer, 502, forwarding.describe_failure(error), forwarding.READ_LOGS)
                return
            try:
                upgrade = _Upgrade(client, writer, *there)
                status = await upgrade.run(_make_request(request, target, writer))
                record(status)
                if status == 101:
                    await _Passage(reader, writer, *there, first=upgrade.first).run(self._leaving)
            finally:
                there[1].close()


class _Upgrade:
    """The release's answer to the request for a WebSocket, passed on to the client."""

    def __init__(
        self,
        client: h11.Connection,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        self._client = client
        self._writer = writer
        self._there_reader = there_reader
        self._there_writer = there_writer
        self._release = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        #: What the release sent right after its answer.
        self.first = b""

    async def run(self, request: h11.Request) -> int:
        """Send the request and pass the answer on; return its status, 101 when the two may talk."""
        self._there_writer.write(self._send(self._release, request) + self._send(self._release, h11.EndOfMessage()))
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                answer = await self._read_head()
        except TimeoutError:
            _refuse(self._client, self._writer, 504, "the release did not answer in time", forwarding.READ_LOGS)
            return 504
        except (OSError, h11.RemoteProtocolError) as error:
            _refuse(self._client, self._writer, 502, forwarding.describe_failure(error), forwarding.READ_LOGS)
            return 502
        headers = forwarding.make_answer_headers(answer.status_code, answer.headers.raw_items())
        if isinstance(answer, h11.InformationalResponse):
            self.first = self._release.trailing_data[0]
            accepted = h11.InformationalResponse(status_code=101, headers=headers + _UPGRADE, reason=answer.reason)
            self._writer.write(self._send(self._client, accepted))
            return 101
        # The connection was handed over for good, so it ends here: another request on it would not be routed.
        headers.append((b"connection", b"close"))
        refused = h11.Response(status_code=answer.status_code, headers=headers, reason=answer.reason)
        self._writer.write(self._send(self._client, refused))
        await self._pass_body_on()
        return answer.status_code

    async def _read_head(self) -> h11.InformationalResponse | h11.Response:
        while True:
            event = await self._read_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event

    async def _pass_body_on(self) -> None:
        while True:
            event = await self._read_event()
            if isinstance(event, h11.Data):
                self._writer.write(self._send(self._client, event))
                await self._writer.drain()
            elif isinstance(event, h11.EndOfMessage):
                self._writer.write(self._send(self._client, h11.EndOfMessage()))
                return

    async def _read_event(self) -> Any:
        while (event := self._release.next_event()) is h11.NEED_DATA:
            self._release.receive_data(await self._there_reader.read(_PIECE))
        return event

    @staticmethod
    def _send(connection: h11.Connection, event: h11.Event) -> bytes:
        return connection.send(event) or b""


class _Passage:
    """The two directions of a WebSocket that was agreed upon."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
        *,
        first: bytes,
    ) -> None:
        self._down = _Direction(there_reader, writer)
        self._up = _Direction(reader, there_writer)
        self._down.pass_on(first)

    async def run(self, leaving: asyncio.Event) -> None:
        """Pass on what comes until one side closes its end, or until both must leave."""
        down, up, leave = tasks = [
            asyncio.create_task(self._down.run()),
            asyncio.create_task(self._up.run()),
            asyncio.create_task(leaving.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if leave.done() and not leave.cancelled() and down.cancelled() and up.cancelled():
            await asyncio.gather(self._down.end_with(_GOING_AWAY), self._up.end_with(_GOING_AWAY_MASKED))
            await self._up.wait_for_end()
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome


class _Direction:
    """Bytes from one side to the other, and how far they are within a frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames()

    async def run(self) -> None:
        """Pass on until the sender closes its end."""
        while data := await self._reader.read(_PIECE):
            self.pass_on(data)
            await self._writer.drain()

    def pass_on(self, data: bytes) -> None:
        """Pass some bytes on."""
        self._frames.feed(data)
        self._writer.write(data)

    async def end_with(self, frame: bytes) -> None:
        """Let the frame that has begun be finished, then send the last one."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_FAREWELL):
                while (missing := self._frames.missing) and (data := await self._reader.read(missing)):
                    self.pass_on(data)
                if not missing:
                    self._writer.write(frame)
                    self._writer.write_eof()
                await self._writer.drain()

    async def wait_for_end(self) -> None:
        """Wait for a moment until the sender closes its end; what still comes is for nobody."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_FAREWELL):
                while await self._reader.read(_PIECE):
                    pass


class Frames:
    """Follows the frames in a stream of bytes (RFC 6455, 5.2); `missing` is what the present one lacks at the least."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._payload = 0

    @property
    def missing(self) -> int:
        """How many bytes are certain to come before the present frame ends, 0 between two frames."""
        return self._payload or (_head_size(self._head) - len(self._head) if self._head else 0)

    def feed(self, data: bytes) -> None:
        """Take note of bytes that pass."""
        at = 0
        while at < len(data):
            if not self._payload:
                self._head.append(data[at])
                at += 1
                if len(self._head) == _head_size(self._head):
                    self._payload = _payload_size(self._head)
                    self._head.clear()
                continue
            step = min(self._payload, len(data) - at)
            self._payload -= step
            at += step


def _head_size(head: bytearray) -> int:
    if len(head) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0) + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytearray) -> int:
    length = head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(length, 0)
    return int.from_bytes(head[2 : 2 + extended]) if extended else length


def _make_request(request: h11.Request, target: Target, writer: asyncio.StreamWriter) -> h11.Request:
    given = request.headers.raw_items()
    path, named = forwarding.read_target({"raw_path": request.target, "query_string": b""})
    host = named or forwarding.find_header(given, b"host") or f"{LOOPBACK}:{target.port}".encode()
    headers = forwarding.make_request_headers(
        given,
        client=forwarding.forwarded_client(writer.get_extra_info("peername")),
        scheme="http",
        host=host,
    )
    return h11.Request(method=request.method, target=path, headers=headers + _UPGRADE)


def _refuse(client: h11.Connection, writer: asyncio.StreamWriter, status: int, detail: str, action: str) -> None:
    headers, body = forwarding.make_problem(status, detail, action)
    refused = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
    for event in (refused, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(client.send(event) or b"")


def bind_tunnel(router: Router, traffic: Traffic) -> type[asyncio.Protocol]:
    """Return the class that uvicorn makes a protocol of for each WebSocket (its setting `ws`)."""

    class BoundTunnel(Tunnel):
        def __init__(self, *, server_state: Any, **_others: object) -> None:
            super().__init__(router, traffic, connections=server_state.connections)

    return BoundTunnel
