"""Owns what surrounds every request: its id, its log line, security headers, its limits, a failed start."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ApiError, problem
from app.logs import caller, request_id
from app.observation.metrics import METRICS
from app.security import Identity
from app.services.rates import RateLimit, Standing, name_address

logger = logging.getLogger("app.request")

_INBOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
#: Asked every few seconds by platforms and never limited; their successes would drown the log.
_PROBES = frozenset({"/api/live", "/api/health", "/api/v1/health", "/metrics"})
#: Asked by whoever verifies a release, in the middle of whatever load there is.
_UNLIMITED = _PROBES | {"/api/v1/version"}
_LOGIN = "/api/auth/login"
_ERROR = 400
_MOST_HEADERS = 100
_LONGEST_HEADERS = 32 * 1024
_LONGEST_ADDRESS = 8 * 1024
_LONGEST_LOGGED = 1024
#: Seconds; less than a server that stops waits for its requests, and enough for 64 KiB on the slowest of networks.
_BODY_WITHIN = 20.0
_TOO_MANY = 429

SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
}
#: What the application tells its server by the state of its lifespan: the headers of answers that are the server's own.
HEADERS_STATE: Final = "security_headers"
#: What a page with scripts from elsewhere cannot work with.
_NOT_ON_PAGES = frozenset({b"content-security-policy", b"cross-origin-embedder-policy"})


def make_headers(*, strict_transport: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of every answer; with `strict_transport` browsers are to come by TLS alone."""
    headers = dict(SECURITY_HEADERS)
    if strict_transport:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class RequestContextMiddleware:
    """Gives each request an id and a log line, each response its headers, and each bug one log entry."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        strict_transport: bool = False,
        pages: frozenset[str] = frozenset(),
        recognise: Callable[[str], Identity | None] = lambda _: None,
    ) -> None:
        """Wrap `app`.

        `pages` are paths that serve HTML with scripts, and so go without the policies for JSON. `recognise` tells
        whom an access token belongs to, or None when it is not valid.
        """
        self._app = app
        self._recognise = recognise
        self._pages = pages
        self._headers = make_headers(strict_transport=strict_transport)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inbound, bearer = _read_headers(scope)
        tokens = (
            request_id.set(_choose_id(inbound)),
            caller.set(self._recognise(bearer) if bearer is not None else None),
        )
        METRICS.in_flight += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            METRICS.in_flight -= 1
            caller.reset(tokens[1])
            request_id.reset(tokens[0])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 0
        complete = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._add_headers(message.get("headers", ()), scope["path"])
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
            seconds = time.perf_counter() - started
            METRICS.count_request(scope, status, seconds)
            _log(scope, status, seconds)

    def _add_headers(self, headers: Iterable[tuple[bytes, bytes]], path: str) -> list[tuple[bytes, bytes]]:
        given = list(headers)
        kept = {name for name, _ in given} | (_NOT_ON_PAGES if path in self._pages else frozenset())
        added = [header for header in self._headers if header[0] not in kept]
        return [*given, (b"x-request-id", (request_id.get() or "").encode()), *added]


class LimitsMiddleware:
    """Refuses requests whose head is too large, and clients that ask too often."""

    def __init__(self, app: ASGIApp, *, general: RateLimit, login: RateLimit) -> None:
        """Wrap `app`. `general` counts by user, or by address without a token; `login` counts logins by address."""
        self._app = app
        self._general = general
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it is too large or one too many."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _check_head(scope)
        standing = None if refusal or scope["path"] in _UNLIMITED else await self._count(scope)
        if standing is not None and standing.exceeded:
            METRICS.limited.labels(standing.policy).inc()
            refusal = _too_many(standing)

        async def send_with_standing(message: Message) -> None:
            if standing is not None and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *standing.headers]
            await send(message)

        if refusal is not None:
            await problem(refusal, instance=scope["path"])(scope, receive, send_with_standing)
            return
        await self._app(scope, receive, send_with_standing if standing is not None else send)

    async def _count(self, scope: Scope) -> Standing | None:
        # The server says who the client is, and whether a proxy may say so: X-Forwarded-For alone proves nothing.
        address = name_address(scope["client"][0]) if scope.get("client") else "unknown"
        if scope["path"] == _LOGIN:
            return await self._login.count(address)
        identity = caller.get()
        return await self._general.count(str(identity.user_id) if identity is not None else address)


class BodyLimitMiddleware:
    """Refuses a body beyond `limit` bytes, announced or in pieces, and one that takes longer than `within` seconds."""

    def __init__(self, app: ASGIApp, *, limit: int, within: float = _BODY_WITHIN) -> None:
        self._app = app
        self._limit = limit
        self._within = within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        too_long = announced.isascii() and announced.isdigit() and int(announced[-20:]) > self._limit
        arrived = 0
        deadline: float | None = None
        complete = False

        async def receive_within_limit() -> Message:
            nonlocal arrived, complete, deadline
            if too_long:
                raise HTTPException(413)
            if complete:
                # What comes now is the end of the connection, which may take its time.
                return await receive()
            deadline = deadline or asyncio.get_running_loop().time() + self._within
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            arrived += len(message.get("body", b""))
            if arrived > self._limit:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)


class CrossOriginMiddleware(CORSMiddleware):
    """Lets the pages of some origins ask; a browser that may not ask is told so as everybody is told of an error."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a browser that asks whether it may ask."""
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code < _ERROR else _CrossOriginRefusal(headers=dict(answer.headers))


class _CrossOriginRefusal(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = {name: value for name, value in self.headers.items() if not name.startswith("content-")}
        refusal = ApiError(
            400,
            "cross_origin_refused",
            "A page of this origin may not ask this, or not with this method or these headers.",
            action="Ask from an origin of CORS_ORIGINS, with the methods and headers that this answer allows.",
            headers=kept,
        )
        await problem(refusal, instance=scope["path"])(scope, receive, send)


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


def _read_headers(scope: Scope) -> tuple[str | None, str | None]:
    """Return the request's id as the client chose it, and its bearer token."""
    inbound = authorization = None
    for name, value in scope["headers"]:
        # The first, as the routes do: whom a request is logged and counted for is whom it is answered for.
        if name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"x-request-id":
            inbound = value.decode("latin-1")
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return inbound, None
    return inbound, authorization[7:].strip().decode("latin-1")


def _choose_id(inbound: str | None) -> str:
    if inbound is not None and _INBOUND_ID.fullmatch(inbound):
        return inbound
    return secrets.token_hex(16)


def _check_head(scope: Scope) -> ApiError | None:
    """Return why the address or the headers of a request are too large, or None."""
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > _LONGEST_ADDRESS:
        return ApiError(414, "address_too_long", "The address is too long.", action="Send a shorter address.")
    headers = scope["headers"]
    if len(headers) > _MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > _LONGEST_HEADERS:
        return ApiError(
            431, "headers_too_large", "The request's headers are too many or too large.", action="Send fewer headers."
        )
    return None


def _too_many(standing: Standing) -> ApiError:
    return ApiError(
        429,
        "too_many_requests",
        f"There were more than {standing.limit} requests within {standing.period} seconds.",
        action=f"Wait {standing.reset} seconds, then try again.",
        headers={"Retry-After": str(standing.reset)},
    )


def _log(scope: Scope, status: int, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in _PROBES and 0 < status < _ERROR else logging.INFO
    if not logger.isEnabledFor(level):
        return
    # The query stays out: it may hold the codes and states of others.
    facts: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["path"][:_LONGEST_LOGGED],
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
    }
    if status == _TOO_MANY and scope.get("client"):
        facts["client"] = name_address(scope["client"][0])
    # By itself: finding out where in the source this stands would cost as much as the line, which does not tell.
    logger.handle(logger.makeRecord(logger.name, level, __name__, 0, "request", (), None, extra=facts))
