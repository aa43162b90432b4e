"""Owns the loopback server that stands in for a vendor: real HTTP/1.1 on a port of its own, with a script of answers.

A request takes the next answer of the script; when there is none, the handler is asked. Everything asked is recorded.

```python
with VendorServer(lambda request: answer_json({"ok": True})) as vendor:
    vendor.script(answer_json({"error": "slow down"}, status=429, headers={"Retry-After": "3"}), Hang())
    ...  # the first request gets the 429, the second no answer until vendor.release(), the others {"ok": true}
    assert vendor.requests[0].form["amount"] == "100"
```

A vendor's own module subclasses it, overriding `handle`. As a process of its own: see `run_until_terminated`.
"""

import contextlib
import json
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

#: How long a hanging answer hangs at most, and a test waits for a request: a test that fails must not stop the run.
LONGEST = 30.0


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """One request as it arrived; the names of headers are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form (the last value of each)."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def fields(self) -> dict[str, list[str]]:
        """The fields of a form with every value of each."""
        return parse_qs(self.body.decode(), keep_blank_values=True)

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer until the server is released, or until the client gives up; then the connection closes."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are not HTTP."""

    data: bytes = b"\x00\xff not HTTP at all \r\n\r\n"


@dataclass(frozen=True, slots=True)
class Cut:
    """The beginning of an answer, `after` bytes of its body, and then the end of the connection."""

    answer: Answer
    after: int = 0


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer of which `step` bytes come every `pause` seconds, until it is whole or the server is released."""

    answer: Answer
    pause: float = 0.05
    step: int = 1


Reply = Answer | Hang | Garbage | Cut | Drip
Handler = Callable[[VendorRequest], Reply]


def answer_json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Make an answer of JSON."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def answer_nothing(request: VendorRequest) -> Reply:
    """Answer what nobody scripted, so that a test sees it."""
    return answer_json({"error": f"nothing is scripted for {request.method} {request.path}"}, status=501)


class VendorServer:
    """A threaded server on 127.0.0.1, from entering its context to leaving it."""

    def __init__(self, handler: Handler | None = None, *, port: int = 0) -> None:
        """Answer by `handler` what is not scripted. Port 0 lets the machine choose."""
        self._handler = handler or answer_nothing
        self._script: deque[Reply] = deque()
        self._requests: list[VendorRequest] = []
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join(LONGEST)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Its address, without a last slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> tuple[VendorRequest, ...]:
        """Everything that was asked so far, in order of arrival."""
        with self._changed:
            return tuple(self._requests)

    def handle(self, request: VendorRequest) -> Reply:
        """Answer a request that nothing is scripted for. Called by many threads at once."""
        return self._handler(request)

    def script(self, *replies: Reply) -> None:
        """Answer the next requests by these, in this order."""
        with self._changed:
            self._script.extend(replies)

    def clear(self) -> None:
        """Forget what is scripted and what was asked."""
        with self._changed:
            self._script.clear()
            self._requests.clear()

    def release(self) -> None:
        """End every answer that hangs or drips; those to come end at once."""
        self._released.set()

    def wait_for_requests(self, count: int, *, within: float = LONGEST) -> tuple[VendorRequest, ...]:
        """Return the requests as soon as there are `count`; fail after `within` seconds."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._requests) >= count, within)
            assert arrived, f"{len(self._requests)} of {count} requests arrived within {within:g} s"
            return tuple(self._requests)

    def take(self, request: VendorRequest) -> Reply:
        """Record a request and choose its answer."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            if self._script:
                return self._script.popleft()
        return self.handle(request)

    def wait_until_released(self, seconds: float) -> bool:
        """Wait at most so long, and say whether the server was released."""
        return self._released.wait(seconds)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], vendor: VendorServer) -> None:
        super().__init__(address, _Connection)
        self.vendor = vendor
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close what clients keep alive, so that no thread outlives the server."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; anything else is a defect of the double and is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = VendorRequest(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        match self.server.vendor.take(request):
            case Answer() as answer:
                self._send(answer, iter([answer.body]))
            case Hang():
                self.server.vendor.wait_until_released(LONGEST)
                self.close_connection = True
            case Garbage(data):
                self.wfile.write(data)
                self.close_connection = True
            case Cut(answer, after):
                self._send(answer, iter([answer.body[:after]]))
                self.close_connection = True
            case Drip() as drip:
                self._send(drip.answer, self._pieces(drip))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815 - the names that http.server calls

    def _send(self, answer: Answer, pieces: Iterator[bytes]) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()

    def _pieces(self, drip: Drip) -> Iterator[bytes]:
        for start in range(0, len(drip.answer.body), drip.step):
            if self.server.vendor.wait_until_released(drip.pause):
                self.close_connection = True
                return
            yield drip.answer.body[start : start + drip.step]

    def log_message(self, *_: Any) -> None:
        """Say nothing: what arrived is recorded."""


def run_until_terminated(server: VendorServer) -> None:
    """Serve as a process: print the address as the first line, and serve until SIGTERM or SIGINT."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with server:
        print(server.url, flush=True)  # noqa: T201 - the address is the output of this program
        done.wait()
