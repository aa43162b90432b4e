"""A small HTTP server on loopback that can also hang, cut and drip: what a network does to a deploy."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

#: So small that an upload of a few megabytes can be cut in its middle and does not lie in a buffer by then.
_RECEIVE_BUFFER = 16 * 1024


@dataclass(slots=True)
class Request:
    """One request as it came; its body is read when somebody asks for it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lost: bool = False
    _body: bytes | None = None

    @property
    def size(self) -> int:
        return int(self.headers.get("content-length", "0"))

    async def body(self) -> bytes:
        if self._body is None:
            self._body = await self.reader.readexactly(self.size)
        return self._body

    async def answer(self, status: int, value: Any = None, *, body: bytes | None = None, **headers: str) -> None:
        if self.lost:
            self.reset()
            return
        content = json.dumps(value).encode() if body is None else body
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self.writer.drain()

    def reset(self) -> None:
        """Reset the connection, as a router does that has forgotten it."""
        plain = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


#: Answers a request in its own way, or ends its connection; True says that it is to be answered as usual after all.
Fault = Callable[[Request], Awaitable[bool | None]]


def say(status: int, value: Any = None, *, body: bytes | None = None, **headers: str) -> Fault:
    """Answer with a status and a body of one's own."""

    async def fault(request: Request) -> None:
        await request.body()
        await request.answer(status, value, body=body, **headers)

    return fault


def refuse(*messages: str) -> Fault:
    """Answer HTTP 200 with GraphQL errors, as Railway does."""
    return say(200, {"data": None, "errors": [{"message": message} for message in messages]})


def cut(*, after: int = 0) -> Fault:
    """Reset the connection once that many bytes of the body were read."""

    async def fault(request: Request) -> None:
        await request.reader.readexactly(min(after, request.size))
        request.reset()

    return fault


def only(when: Callable[[], bool], fault: Fault) -> Fault:
    """Let a fault strike only those requests that come while `when` says so."""

    async def perhaps(request: Request) -> bool:
        if not when():
            return True
        return await fault(request) or False

    return perhaps


def at(path: str, fault: Fault) -> Fault:
    """Let a fault strike only requests for that path."""

    async def perhaps(request: Request) -> bool:
        if request.path != path:
            return True
        return await fault(request) or False

    return perhaps


def hang() -> Fault:
    """Take the request and never answer it."""

    async def fault(request: Request) -> None:
        await request.body()
        await request.reader.read()

    return fault


def drip(*, every: float = 0.05) -> Fault:
    """Send a head and then spaces, one at a time, for ever: no read waits for long, and no answer comes."""

    async def fault(request: Request) -> None:
        await request.body()
        request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while not request.reader.at_eof():
            request.writer.write(b" ")
            await request.writer.drain()
            await asyncio.sleep(every)

    return fault


@dataclass(slots=True)
class Server:
    """An event loop in a thread with HTTP servers on it; a context manager."""

    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback servers")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop and return what it does."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on the loop until the servers end."""
        self._loop.call_soon_threadsafe(lambda: self._keep(self._loop.create_task(work)))

    def soon(self, callback: Callable[[], object]) -> None:
        """Call something on the loop."""
        self._loop.call_soon_threadsafe(callback)

    def listen(self, handle: Callable[[Request], Awaitable[None]], *, port: int = 0) -> str:
        """Serve `handle` on a port of loopback and return its address."""
        server: asyncio.Server = self.run(self._listen(handle, port))
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _listen(self, handle: Callable[[Request], Awaitable[None]], port: int) -> asyncio.Server:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listening.bind(("127.0.0.1", port))

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._keep(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while request := await _read_head(reader, writer):
                    await handle(request)
                    if request.headers.get("connection", "").lower() == "close":
                        break
            writer.close()

        return await asyncio.start_server(connected, sock=listening, limit=64 * 1024)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports close at the next turn of the loop.
        await asyncio.sleep(0)


class Hold:
    """A fault that keeps a request waiting until `release`; then it is answered as usual.

    Requests that come while `when` says no are answered at once.
    """

    def __init__(self, server: Server, when: Callable[[], bool] = lambda: True) -> None:
        self._server = server
        self._when = when
        self._held = threading.Event()
        self._open = asyncio.Event()

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until a request is held."""
        assert self._held.wait(timeout), "no request came to be held"

    def release(self) -> None:
        """Let what is held go on."""
        self._server.soon(self._open.set)

    async def __call__(self, request: Request) -> bool:
        await request.body()
        if self._when():
            self._held.set()
            await self._open.wait()
        return True


async def _read_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, reader, writer)
