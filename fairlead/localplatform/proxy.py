"""The public port: passes each request on to the release that serves, and streams both ways.

While a release is being started again, requests wait for it for a while instead of failing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import httpx

from fairlead.localplatform import forwarding
from fairlead.localplatform.forwarding import READ_LOGS, describe_failure, find_header
from fairlead.localplatform.ports import LOOPBACK
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.traffic import Traffic
from fairlead.localplatform.tunnels import bind_tunnel

__all__ = ["Proxy", "Router", "Target"]

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TIMEOUT: Final = {"connect": 5.0, "read": 300.0, "write": 60.0, "pool": 60.0}
#: Answers without a body; a length beside them would be taken for that of a body that never comes.
_EMPTY: Final = frozenset({204, 304})


class Proxy:
    """The ASGI application of the public port; `traffic` is told what each release answered.

    A server that is given `websockets` as its setting `ws` (uvicorn's) passes WebSockets on too.
    """

    def __init__(self, router: Router, traffic: Traffic | None = None) -> None:
        self._router = router
        self._traffic = Traffic() if traffic is None else traffic
        self.websockets = bind_tunnel(router, self._traffic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            await _Exchange(self._router, self._traffic, scope, receive, send).run()


class _Exchange:
    """One request and its answer."""

    def __init__(self, router: Router, traffic: Traffic, scope: Scope, receive: Receive, send: Send) -> None:
        self._router = router
        self._traffic = traffic
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
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
        deployment_id = forwarding.find_deployment(self._scope["headers"])
        target = await self._router.find(deployment_id)
        if target is None:
            if deployment_id is None:
                self._traffic.record("", 503, 0.0)
            await self._refuse(503, *forwarding.explain_absence(deployment_id))
            return
        began = time.perf_counter()
        with target.use():
            status = await self._try(target)
        if status != 400:
            self._traffic.record(target.deployment_id, status, time.perf_counter() - began)

    async def _try(self, target: Target) -> int:
        """Pass the request on to a release; return the status that counts for it, 400 when the request is at fault."""
        try:
            return await self._pass_on(target)
        except httpx.LocalProtocolError as error:
            return await self._refuse(400, f"the request cannot be passed on: {error}", "correct the request")
        except httpx.TimeoutException:
            return await self._refuse(504, "the release did not answer in time", READ_LOGS)
        except (httpx.TransportError, OSError) as error:
            return await self._refuse(502, describe_failure(error), READ_LOGS)

    async def _pass_on(self, target: Target) -> int:
        request = self._make_request(target)
        repeatable = request.method in _REPEATABLE and self._body_read.is_set()
        answer = await target.send(request, repeatable=repeatable)
        status = answer.status_code
        try:
            if status < 200:
                raise httpx.RemoteProtocolError(f"it switched protocols (status {status}) unasked")
            headers = forwarding.keep_end_to_end(answer.headers.raw)
            if status in _EMPTY:
                headers = [pair for pair in headers if pair[0] != b"content-length"]
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            self._answered = True
            async for chunk in answer.aiter_raw():
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            await answer.aclose()
        # The connection is given back first: with its last byte the client may be gone, which ends this task.
        await self._send({"type": "http.response.body", "body": b""})
        return status

    def _make_request(self, target: Target) -> httpx.Request:
        scope = self._scope
        given = scope["headers"]
        path, named = forwarding.read_target(scope)
        if scope["method"] == "CONNECT" or not (path.startswith(b"/") or path == b"*"):
            raise httpx.LocalProtocolError("it asks for no path")
        host = named or find_header(given, b"host") or f"{LOOPBACK}:{target.port}".encode()
        if named:
            given = [(b"host", host), *(pair for pair in given if pair[0].lower() != b"host")]
        headers = forwarding.make_request_headers(
            given, client=forwarding.forwarded_client(scope["client"]), scheme=scope["scheme"], host=host
        )
        coding = find_header(given, b"transfer-encoding")
        if coding is not None and coding.lower().strip() != b"chunked":
            raise httpx.LocalProtocolError("its transfer coding is unknown")
        chunked = coding is not None
        if chunked:
            # Of two statements about the length, the one that the body was read by is passed on.
            headers = [pair for pair in headers if pair[0] != b"content-length"]
            headers.append((b"transfer-encoding", b"chunked"))
        has_body = chunked or (find_header(given, b"content-length") or b"0").strip(b"0") != b""
        if not has_body:
            self._body_read.set()
        return httpx.Request(
            scope["method"],
            f"http://{LOOPBACK}:{target.port}/",
            headers=headers,
            stream=_Body(self._read_body()) if has_body else httpx.ByteStream(b""),
            extensions={"timeout": dict(_TIMEOUT), "target": path},
        )

    async def _read_body(self) -> AsyncIterator[bytes]:
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

    async def _refuse(self, status: int, detail: str, action: str) -> int:
        if self._answered:
            # The answer has begun: breaking the connection off is the one honest way to say that it is not whole.
            _log.warning("%s %s was broken off: %s", self._scope["method"], self._scope["path"], detail)
            return status
        headers, body = forwarding.make_problem(status, detail, action)
        self._answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
        return status


class _ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks
