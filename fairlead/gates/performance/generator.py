"""A generator of load: requests over kept connections, as a closed loop or at a steady rate.

It is a program of its own, so that it shares no interpreter with what it measures: it reads an order as JSON on
standard input, headers among them, and prints what it found as JSON. `load` starts it.

In a closed loop each connection asks again as soon as it has its answer. At a rate, requests are due at fixed times
whatever the answers take, and what one takes is counted from when it was due: a server that stalls cannot hide it.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from fairlead.gates.performance.statistics import percentile

_HEAD_END: Final = b"\r\n\r\n"
_GOOD: Final = range(200, 400)
#: How long answers that are under way at the end of a run at a rate may still take.
_PATIENCE: Final = 5.0


@dataclass
class Run:
    """A load that is under way. `due` holds the times of requests that wait for a connection, where there is a rate."""

    request: bytes
    ends: float
    rate: float | None
    due: deque[float] = field(default_factory=deque)
    idle: list["Connection"] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failures: int = 0
    open: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def next_due(self) -> float | None:
        """Return when the next request was due, or None when there is nothing to ask now."""
        if self.rate is not None:
            return self.due.popleft() if self.due else None
        now = time.perf_counter()
        return now if now < self.ends else None

    def look_whether_settled(self) -> None:
        """Tell who waits for it that no answer is under way any more."""
        if len(self.idle) == self.open:
            self.settled.set()
        else:
            self.settled.clear()


class Connection(asyncio.Protocol):
    """One kept connection: asks, takes the answer's time, and asks again while there is something to ask."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._began: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to ask."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._run.open += 1
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost makes no difference
        """Count the answer that does not come any more."""
        self._run.open -= 1
        self._transport = None
        if self in self._run.idle:
            self._run.idle.remove(self)
        if self.waits and (self._run.rate is not None or time.perf_counter() < self._run.ends):
            self._run.failures += 1
        self._began = None
        self._run.look_whether_settled()

    def ask(self) -> None:
        """Send the next request, or wait until there is one."""
        self._began = self._run.next_due()
        if self._began is None:
            self._run.idle.append(self)
            self._run.look_whether_settled()
        elif self._transport is not None:
            self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; with its end, count it and ask again."""
        self._buffer += data
        head, separator, _ = self._buffer.partition(_HEAD_END)
        if not separator or self._transport is None:
            return
        length = content_length(head)
        if length is None:
            self._transport.abort()
            return
        if len(self._buffer) < len(head) + len(separator) + length:
            return
        self._buffer = b""
        self._count(head)
        self.ask()

    @property
    def waits(self) -> bool:
        """Whether an answer is under way."""
        return self._began is not None

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _count(self, head: bytes) -> None:
        now, began = time.perf_counter(), self._began
        if began is None or (self._run.rate is None and now > self._run.ends):
            return
        self._run.times.append(now - began)
        self._run.failures += int(head[9:12]) not in _GOOD


def content_length(head: bytes) -> int | None:
    """Return how long the body after an answer's head is; None where the head does not say."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None


def request_bytes(url: str, headers: dict[str, str]) -> bytes:
    """Return the request that asks for `url`."""
    place = urlsplit(url)
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def generate(order: dict[str, Any]) -> dict[str, float | int]:
    """Carry out an order: `url`, `headers`, `connections`, `seconds`, `rate` (None: a closed loop)."""
    place = urlsplit(order["url"])
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    run = Run(request_bytes(order["url"], order["headers"]), began + order["seconds"], order["rate"])
    connections = []
    for _ in range(order["connections"]):
        _, connection = await loop.create_connection(lambda: Connection(run), place.hostname, place.port)
        connections.append(connection)
    if run.rate is not None:
        await _keep_rate(run, run.rate, order["seconds"])
    patience = _PATIENCE if run.rate is not None else max(run.ends - time.perf_counter(), 0)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.settled.wait(), patience)
    seconds = time.perf_counter() - began
    unanswered = len(run.due) + sum(one.waits for one in connections) if run.rate is not None else 0
    for connection in connections:
        connection.close()
    return {
        "requests": len(run.times),
        "seconds": seconds,
        "p50": percentile(run.times, 50) * 1000 if run.times else 0.0,
        "p95": percentile(run.times, 95) * 1000 if run.times else 0.0,
        "failures": run.failures + unanswered,
    }


async def _keep_rate(run: Run, rate: float, seconds: float) -> None:
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0))
        run.due.append(began + number / rate)
        if run.idle:
            run.idle.pop().ask()
    run.look_whether_settled()


def main() -> int:
    """Carry out the order on standard input."""
    order = json.load(sys.stdin)
    try:
        import uvloop
    except ImportError:
        found = asyncio.run(generate(order))
    else:
        found = uvloop.run(generate(order))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
