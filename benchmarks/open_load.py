"""Requests at a steady rate, whatever the answers take, over kept connections and new ones in turn.

What each got is kept, with the release that answered. At most so many are under way at once; what would be more is left
out and counted.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

#: The header in which a release of these benchmarks says which one it is, and the one that marks a planted error.
RELEASE, PLANTED = "x-release", "x-planted"

_MOST_UNDER_WAY: Final = 64
_PATIENCE: Final = 30.0


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Reply(NamedTuple):
    """One answer: its status, the release that gave it, and whether an error was planted there."""

    status: int
    release: str
    planted: bool


@dataclass
class Load:
    """A load that is under way; the counts grow, and each is only ever written by the load's own thread.

    `answers` counts by release, `planted` the errors that a release was made to give, `failures` all other answers but
    200, and what got none, `kept` and `fresh` by the kind of connection; `left_out` were too many at once.
    """

    url: str
    rate: float
    path: str = "/"
    answers: Counter[str] = field(default_factory=Counter)
    planted: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    kept: int = 0
    fresh: int = 0
    left_out: int = 0
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def requests(self) -> int:
        """How many requests have ended."""
        return self.kept + self.fresh

    def wait_for(self, requests: int, *, of: str | None = None, within: float = 300.0) -> None:
        """Wait until so many more requests were answered, by the release `of` where one is named."""

        def count() -> int:
            return self.requests if of is None else self.answers[of]

        wanted, deadline = count() + requests, time.monotonic() + within
        while count() < wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"the load did not come to {requests} requests: {self.failures.most_common(3)}")
            self.ending.wait(0.02)

    async def run(self) -> None:
        """Make requests until `ending` is set."""
        place = urlsplit(self.url)
        host, port = place.hostname or "", place.port or 80
        idle: list[_Connection] = []
        under_way: set[asyncio.Task[None]] = set()
        began, number = time.perf_counter(), 0
        while not self.ending.is_set():
            number += 1
            await asyncio.sleep(max(0.0, began + number / self.rate - time.perf_counter()))
            if len(under_way) >= _MOST_UNDER_WAY:
                self.left_out += 1
                continue
            task = asyncio.create_task(self._ask(host, port, idle if number % 2 else None))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for connection in idle:
            connection.writer.close()

    async def _ask(self, host: str, port: int, idle: list[_Connection] | None) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE):
                reply = await self._exchange(host, port, idle)
        except (OSError, EOFError, ValueError, LookupError, TimeoutError) as error:
            self.failures[f"{'kept' if idle is not None else 'new'} connection: {error!r}"] += 1
        else:
            self.answers[reply.release] += 1
            self.planted[reply.release] += reply.planted
            if reply.status != 200 and not reply.planted:
                self.failures[f"status {reply.status} of release {reply.release or 'none'}"] += 1
        self.times.append(time.perf_counter() - began)
        self.kept += idle is not None
        self.fresh += idle is None

    async def _exchange(self, host: str, port: int, idle: list[_Connection] | None) -> Reply:
        while idle and idle[-1].reader.at_eof():
            idle.pop().writer.close()
        connection = idle.pop() if idle else _Connection(*await asyncio.open_connection(host, port))
        reader, writer = connection
        try:
            close = "" if idle is not None else "Connection: close\r\n"
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {host}:{port}\r\n{close}\r\n".encode())
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        if idle is None or headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            idle.append(connection)
        return Reply(int(head.split(" ")[1]), headers.get(RELEASE, ""), PLANTED in headers)


@contextlib.contextmanager
def start_load(url: str, rate: float, *, path: str = "/") -> Iterator[Load]:
    """Ask `path` at `url` `rate` times a second, from a thread of its own, until the block ends."""
    load = Load(url, rate, path)
    thread = threading.Thread(target=lambda: asyncio.run(load.run()))
    thread.start()
    try:
        yield load
    finally:
        load.ending.set()
        thread.join()
