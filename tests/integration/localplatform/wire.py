"""The proxy between a client and releases that say exactly the bytes they are told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvicorn

from fairlead.localplatform import ports
from fairlead.localplatform.proxy import Proxy
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.traffic import Traffic

PATIENCE = 30.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
async def serve_proxy(*, http: str = "h11") -> AsyncIterator[Stage]:
    """Run a proxy over uvicorn's given implementation of HTTP."""
    router, traffic = Router(), Traffic()
    proxy = Proxy(router, traffic)
    settings = uvicorn.Config(
        proxy, lifespan="off", log_config=None, access_log=False, ws=proxy.websockets, http=http, server_header=False,
        date_header=False, proxy_headers=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    with ports.bind() as bound:
        bound.listen(64)
        server = _Server(settings)
        task = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            async with asyncio.timeout(PATIENCE):
                yield Stage(ports.port_of(bound), router, traffic)
        finally:
            server.should_exit = True
            await task


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
