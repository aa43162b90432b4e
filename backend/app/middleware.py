"""Owns what surrounds every request: its id, its log line, security headers, the body's limit, a failed start."""

import logging
import re
import time
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import request_id

logger = logging.getLogger("app.request")

_INBOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
#: Asked every few seconds by platforms; their successes would drown the log.
_QUIET = frozenset({"/api/live", "/api/health", "/api/v1/health"})
_ERROR = 400

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


class RequestContextMiddleware:
    """Gives each request an id and a log line, each response its headers, and each bug one log entry."""

    def __init__(self, app: ASGIApp, *, strict_transport: bool = False, pages: frozenset[str] = frozenset()) -> None:
        """Wrap `app`. `pages` are paths that serve HTML with scripts, and so go without the policy for JSON."""
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        self._pages = pages
        if strict_transport:
            self._headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = request_id.set(_choose_id(Headers(scope=scope).get("x-request-id")))
        try:
            await self._answer(scope, receive, send)
        finally:
            request_id.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 0
        complete = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            logger.exception("a request failed unexpectedly", extra={"method": scope["method"], "path": scope["path"]})
            # The answer went out already; half an answer is left to the server, which must close the connection.
            if not complete:
                raise
        finally:
            _log(scope, status, time.perf_counter() - started)

    def _add_headers(self, headers: MutableHeaders, path: str) -> None:
        headers["X-Request-ID"] = request_id.get() or ""
        for name, value in self._headers.items():
            if not (name == "Content-Security-Policy" and path in self._pages):
                headers.setdefault(name, value)


class BodyLimitMiddleware:
    """Refuses a request's body beyond `limit` bytes, whether it is announced or arrives in pieces."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        too_long = announced.isascii() and announced.isdigit() and int(announced[-20:]) > self._limit
        arrived = 0

        async def receive_within_limit() -> Message:
            nonlocal arrived
            if too_long:
                raise HTTPException(413)
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self._limit:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)


class StartupErrorMiddleware:
    """Tells the server of a failed start by its message alone; without it the server would print a traceback."""

    def __init__(self, app: ASGIApp, *, expected: type[Exception]) -> None:
        self._app = app
        self._expected = expected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but the traceback of a failed start."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failure: Message | None = None

        async def hold_back_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.failed":
                failure = message
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_back_failure)
        except Exception as error:
            if failure is None:
                raise
            if isinstance(error, self._expected):
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send(failure)
            raise


def _choose_id(inbound: str | None) -> str:
    if inbound is not None and _INBOUND_ID.fullmatch(inbound):
        return inbound
    return uuid.uuid4().hex


def _log(scope: Scope, status: int, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in _QUIET and 0 < status < _ERROR else logging.INFO
    facts = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
    }
    logger.log(level, "request", extra=facts)
