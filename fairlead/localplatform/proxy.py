"""The public port: passes each request on to the release that serves, and streams both ways.

The router holds the one pointer that a swap changes. A request keeps the target it was given, and each target counts
the requests it is working on, so that an old release can be left to finish them. While a release is being started
again, requests wait for it for a while instead of failing.
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Final

import httpx

from fairlead.localplatform.ports import LOOPBACK

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"})
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TIMEOUT: Final = {"connect": 5.0, "read": 300.0, "write": 60.0, "pool": 60.0}
#: Shorter than the five seconds after which uvicorn closes an idle connection, so that none is used while it goes away.
_IDLE: Final = 2.0
_PATIENCE: Final = 30.0
_READ_LOGS: Final = "read what it printed: invoke platform.logs"


class Target:
    """One release as the proxy sees it: its port, the connections kept open to it, the requests it is working on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=_IDLE),
        )

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer once its headers are there."""
        return await self._transport.handle_async_request(request)

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Count a request as being worked on."""
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def wait_until_idle(self, *, within: float) -> bool:
        """Wait until no request is being worked on; tell whether that came about `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class Router:
    """Says which release gets the next request."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self._expected = False
        self._changed = asyncio.Event()

    def point(self, target: Target | None, *, expected: bool = False) -> Target | None:
        """Change the pointer and return what it was; `expected` says that a target will follow soon."""
        before, self.target, self._expected = self.target, target, expected
        self._changed.set()
        self._changed = asyncio.Event()
        return before

    async def find(self, *, patience: float = _PATIENCE) -> Target | None:
        """Return the target, waiting for it while one is expected, at the most `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.target is None and self._expected:
                    await self._changed.wait()
        return self.target


class Proxy:
    """The ASGI application of the public port."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP reaches it, WebSockets are answered like any other request."""
        if scope["type"] == "http":
            await _Exchange(self._router, scope, receive, send).run()


class _Exchange:
    """One request and its answer."""

    def __init__(self, router: Router, scope: Scope, receive: Receive, send: Send) -> None:
        self._router = router
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
        self._body_begun = False
        self._answered = False

    async def run(self) -> None:
        """Pass the request on; stop at once when the client goes away."""
        forward = asyncio.create_task(self._forward())
        watch = asyncio.create_task(self._wait_for_disconnect())
        try:
            await asyncio.wait({forward, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (forward, watch):
                task.cancel()
            outcomes = await asyncio.gather(forward, watch, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, _ClientGoneError):
                _log.warning("%s %s: %r", self._scope["method"], self._scope["path"], outcome)

    async def _forward(self) -> None:
        target = await self._router.find()
        if target is None:
            await self._refuse(503, "no release is serving", "deploy one: invoke deploy --env local")
            return
        try:
            with target.use():
                await self._pass_on(target)
        except httpx.TimeoutException:
            await self._refuse(504, "the release did not answer in time", _READ_LOGS)
        except (httpx.TransportError, OSError) as error:
            await self._refuse(502, f"the release cannot be reached: {error}", _READ_LOGS)

    async def _pass_on(self, target: Target) -> None:
        try:
            answer = await target.send(self._make_request(target))
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # A kept connection may be closed by the other side just when it is used again.
            if self._body_begun or self._scope["method"] not in _REPEATABLE:
                raise
            answer = await target.send(self._make_request(target))
        try:
            headers = _end_to_end(answer.headers.raw)
            await self._send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            self._answered = True
            async for chunk in answer.aiter_raw():
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    def _make_request(self, target: Target) -> httpx.Request:
        scope = self._scope
        headers = [pair for pair in _end_to_end(scope["headers"]) if pair[0].lower() not in _FORWARDED]
        given = {name.lower(): value for name, value in scope["headers"]}
        headers += [
            (b"x-forwarded-for", (scope["client"] or (LOOPBACK, 0))[0].encode("ascii")),
            (b"x-forwarded-proto", scope["scheme"].encode("ascii")),
            (b"x-forwarded-host", given.get(b"host", b"")),
        ]
        chunked = b"transfer-encoding" in given
        if chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        has_body = chunked or given.get(b"content-length", b"0") != b"0"
        path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        if not has_body:
            self._body_read.set()
        return httpx.Request(
            scope["method"],
            f"http://{LOOPBACK}:{target.port}/",
            headers=headers,
            stream=_Body(self._read_body()) if has_body else httpx.ByteStream(b""),
            extensions={"timeout": dict(_TIMEOUT), "target": path + query},
        )

    async def _read_body(self) -> AsyncIterator[bytes]:
        self._body_begun = True
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise _ClientGoneError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                self._body_read.set()
                return

    async def _wait_for_disconnect(self) -> None:
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _refuse(self, status: int, detail: str, action: str) -> None:
        if self._answered:
            # The answer has begun: breaking the connection off is the one honest way to say that it is not whole.
            _log.warning("%s %s was broken off: %s", self._scope["method"], self._scope["path"], detail)
            return
        titles = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
        problem = {"type": "about:blank", "title": titles[status], "status": status, "detail": detail}
        body = json.dumps({**problem, "error": titles[status], "message": detail, "action": action}).encode("utf-8")
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"retry-after", b"1"),
        ]
        self._answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


class _ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    pairs = list(headers)
    named = {
        option.strip().lower() for name, value in pairs if name.lower() == b"connection" for option in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named
    return [(name.lower(), value) for name, value in pairs if name.lower() not in dropped]
