"""Owns what a client may send before its request is understood, and for how long: `uvicorn --http app.server:Protocol`.

The parser keeps what it has read of a head, or of the fields behind a body, until they are complete, however long that
gets and takes; the limits of the application come after. The time that a body may take is the application's to limit.
"""

import asyncio
import logging
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.errors import ApiError, problem
from app.logs import request_id
from app.middleware import HEADERS_STATE, make_headers
from app.services.rates import name_address

logger = logging.getLogger("app.request")

#: Bytes of a head, or of anything else that is not part of a body.
_LONGEST_HEAD: Final = 64 * 1024
_TOO_LARGE: Final = ApiError(
    431, "headers_too_large", "The request's headers are too large.", action="Send fewer headers."
)
_TOO_SLOW: Final = ApiError(
    408, "request_timeout", "The request did not arrive in time.", action="Send the whole request at once."
)
_MALFORMED: Final = ApiError(
    400, "malformed_request", "The request is not valid HTTP.", action="Send a well-formed HTTP/1.1 request."
)


class Protocol(HttpToolsProtocol):
    """Speaks HTTP as uvicorn does, to clients that send complete requests within limits of size and time."""

    #: Seconds in which a head must arrive, from the connection or from its first byte on.
    head_within = 15.0
    #: Seconds for which a connection that waits is kept open once the server stops: its next request may be on its way.
    last_request_within = 0.5

    _arrived = 0
    _in_head = False
    _in_body = False
    _stopping = False
    _running: RequestResponseCycle | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_within, self._end_wait)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered; uvicorn tells only the last one that arrived."""
        self._stop_clock()
        super().connection_lost(exc)
        self._abandon()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._arrived += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not (self._in_head or self._in_body) and self._is_answering():
            # A whole request: what follows is up to us.
            self._stop_clock()
        elif self._arrived > _LONGEST_HEAD:
            self._refuse(_TOO_LARGE)
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_within, self._end_wait)

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head = True
        self._arrived = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those behind a body must not pass for such."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer; to a server that stops, this was the client's last request."""
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        if self._stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Begin to count anew: the application limits bodies."""
        self._arrived = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop counting."""
        self._in_body = False
        self._arrived = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (as uvicorn calls it)
        """Refuse what is no HTTP."""
        self._refuse(_MALFORMED)

    def shutdown(self) -> None:
        """Prepare for the server's end: answer what was taken, and a request that is on its way."""
        self._stopping = True
        if self._is_answering():
            super().shutdown()
        else:
            self._stop_clock()
            self._deadline = self.loop.call_later(self.last_request_within, self._end_wait)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _end_wait(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._is_answering():
            # The answer to what came before goes first, and the application waits for the body itself.
            self._deadline = self.loop.call_later(self.head_within, self._end_wait)
        elif self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ApiError) -> None:
        """Answer with `error`, unless another answer is due on this connection, and close it."""
        running = self._running
        its_own = self._in_body and running is not None and running is self.cycle and not running.response_started
        if its_own or not (self._in_body or self._is_answering()):
            headers = self.app_state.get(HEADERS_STATE) or make_headers(strict_transport=False)
            self.transport.write(_render(error, self.client, headers))
        if its_own:
            self._abandon()
        self.transport.close()

    def _abandon(self) -> None:
        """Tell the request in hand that nobody waits for its answer."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()


def _render(error: ApiError, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a whole answer with `headers` as it travels, and log it as the application logs its own."""
    token = request_id.set(uuid.uuid4().hex)
    try:
        answer = problem(error, instance="/")
        facts: dict[str, Any] = {"status": error.status, "error": error.code}
        if client is not None:
            facts["client"] = name_address(client[0])
        logger.info("a request was refused before it was complete", extra=facts)
        own = {b"x-request-id": (request_id.get() or "").encode(), b"connection": b"close"}
        sent = dict(headers) | dict(answer.raw_headers) | own
    finally:
        request_id.reset(token)
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in sent.items()]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
