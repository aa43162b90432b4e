"""The proxy between a client and releases that say exactly the bytes they are told to."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from fairlead.localplatform import ports
from fairlead.localplatform.proxy import Proxy
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.traffic import Traffic

PATIENCE = 30.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stage:
    """A running proxy: `router` and `traffic` are its own, `port` is where it is reached."""

    def __init__(self, port: int, router: Router, traffic: Traffic) -> None:
        self.port = port
        self.router = router
        self.traffic = traffic

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect to the proxy."""
        reader, writer = await asyncio.open_connection(ports.LOOPBACK, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return everything that is answered until the proxy closes the connection."""
        async with self.connect() as (reader, writer):
            writer.write(request)
            return await reader.read()

    def statuses(self, deployment_id: str | None = None) -> dict[int, int]:
        """Return how many answers of each status were counted."""
        found = self.traffic.by_status(since=0, until=2**40, step=2**40, deployment_id=deployment_id)
        return {each.status_code: each.samples[0].value for each in found}


@contextlib.asynccontextmanager
async def serve_proxy(*, http: str = "h11", patience: float = PATIENCE) -> AsyncIterator[Stage]:
    """Run a proxy over uvicorn's given implementation of HTTP, at the most `patience` seconds."""
    router, traffic = Router(), Traffic()
    proxy = Proxy(router, traffic)
    settings = uvicorn.Config(
        proxy, lifespan="off", log_config=None, access_log=False, ws=proxy.websockets, http=http, proxy_headers=False,
        timeout_keep_alive=75,
    )  # fmt: skip
    settings.load()
    state = ServerState()
    # Not by way of uvicorn's own server, which takes a fifth of a second to end.
    protocol: Any = settings.http_protocol_class
    make = functools.partial(protocol, config=settings, server_state=state, app_state={})
    with ports.bind() as bound:
        server = await asyncio.get_running_loop().create_server(make, sock=bound, backlog=512)
        try:
            async with asyncio.timeout(patience):
                yield Stage(ports.port_of(bound), router, traffic)
        finally:
            server.close()
            for connection in tuple(state.connections):
                connection.shutdown()
            for task in tuple(state.tasks):
                task.cancel()
            await asyncio.gather(*state.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serve_release(handler: Handler, *, deployment_id: str = "one") -> AsyncIterator[Target]:
    """Run a release whose every connection is handled by `handler`; it is closed when that returns."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, ports.LOOPBACK, 0)
    target = Target(server.sockets[0].getsockname()[1], deployment_id=deployment_id)
    try:
        yield target
    finally:
        await target.close()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def say(answer: bytes, *, heard: list[bytes] | None = None) -> Handler:
    """Make a handler that reads the head of a request, says `answer` and closes the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        writer.write(answer)
        await writer.drain()

    return handle
