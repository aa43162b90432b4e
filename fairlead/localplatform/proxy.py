"""The public port: passes each request on to the release that serves, and streams both ways.

While a release is being started again, requests wait for it for a while instead of failing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import h11

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
        if status is not None:
            self._traffic.record(target.deployment_id, status, time.perf_counter() - began)

    async def _try(self, target: Target) -> int | None:
        """Pass the request on to a release; return the status that counts for it, None when the request is at fault."""
        try:
            return await self._pass_on(target)
        except h11.LocalProtocolError as error:
            await self._refuse(400, f"the request cannot be passed on: {error}", "correct the request")
            return None
        except TimeoutError:
            return await self._refuse(504, "the release did not answer in time", READ_LOGS)
        except (h11.RemoteProtocolError, OSError) as error:
            return await self._refuse(502, describe_failure(error), READ_LOGS)

    async def _pass_on(self, target: Target) -> int:
        request, has_body = self._make_request(target)
        if not has_body:
            self._body_read.set()
        answer = await target.send(
            request,
            self._read_body() if has_body else None,
            repeatable=not has_body and self._scope["method"] in _REPEATABLE,
        )
        try:
            headers = forwarding.make_answer_headers(answer.status, answer.headers)
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            self._answered = True
            async for piece in answer.read():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            answer.close()
        await self._send({"type": "http.response.body", "body": b""})
        return answer.status

    def _make_request(self, target: Target) -> tuple[h11.Request, bool]:
        """Make the request that a release is sent, and tell whether a body belongs to it."""
        scope = self._scope
        given = scope["headers"]
        path, named = forwarding.read_target(scope)
        if scope["method"] == "CONNECT" or not (path.startswith(b"/") or path == b"*"):
            raise h11.LocalProtocolError("it asks for no path")
        host = named or find_header(given, b"host") or f"{LOOPBACK}:{target.port}".encode()
        if named:
            given = [(b"host", host), *(pair for pair in given if pair[0].lower() != b"host")]
        headers = forwarding.make_request_headers(
            given, client=forwarding.forwarded_client(scope["client"]), scheme=scope["scheme"], host=host
        )
        coding = find_header(given, b"transfer-encoding")
        if coding is not None:
            if coding.lower().strip() != b"chunked":
                raise h11.LocalProtocolError("its transfer coding is unknown")
            # Of two statements about the length, the one that the body was read by is passed on.
            headers = [pair for pair in headers if pair[0] != b"content-length"]
            headers.append((b"transfer-encoding", b"chunked"))
        has_body = coding is not None or (find_header(given, b"content-length") or b"0").strip(b"0") != b""
        return h11.Request(method=scope["method"], target=path, headers=headers), has_body

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
