import asyncio
import json

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.middleware import HEADERS_STATE, make_headers
from app.server import Protocol

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 80)})
        self.written = b""
        self.closed = False
        self.ended = asyncio.Event()

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True
        self.ended.set()

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def answer(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Hasty(Protocol):
    """The same, with less time than a test has."""

    head_within = 0.05
    last_request_within = 0.05


def connect(app, kind=Protocol, app_state=None):
    config = Config(app, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    protocol = kind(config, state, app_state or {})
    transport = Transport()
    protocol.connection_made(transport)
    return protocol, transport, state


@pytest.fixture
async def connection():
    protocol, transport, state = connect(answer)

    async def send(*pieces):
        for piece in pieces:
            if not transport.closed:
                protocol.data_received(piece)
        await asyncio.gather(*state.tasks)
        return transport

    yield send
    protocol.connection_lost(None)


HEAD = b"POST / HTTP/1.1\r\nHost: maya.test\r\n"


async def test_a_head_that_ends_in_time_is_answered(connection):
    transport = await connection(HEAD, b"X-Large: " + b"x" * 60_000, b"\r\n\r\n")

    assert transport.written.startswith(b"HTTP/1.1 200 ")
    assert not transport.closed


@pytest.mark.parametrize(
    "pieces",
    [[b"X-Endless: "] + [b"x" * 1000] * 100, [b"X-Many: 1\r\n" * 100] * 100],
    ids=["one-header", "many-headers"],
)
async def test_a_head_that_does_not_end_is_refused(connection, pieces):
    transport = await connection(HEAD, *pieces)

    assert transport.written.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in transport.written
    assert transport.written.count(b"HTTP/1.1") == 1
    assert transport.closed


async def test_each_head_counts_for_itself_and_bodies_do_not(connection):
    request = HEAD + b"Content-Length: 50000\r\nX-Large: " + b"x" * 40_000 + b"\r\n\r\n"

    transport = await connection(*[request, b"y" * 50_000] * 3)

    assert transport.written.count(b"HTTP/1.1 200 ") == 3
    assert not transport.closed


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("trailer", [b"x" * 1000, b"X-Many: 1\r\n" * 100], ids=["one-field", "many-fields"])
async def test_trailers_that_do_not_end_are_refused(connection, trailer):
    transport = await connection(CHUNKED, b"2\r\nok\r\n0\r\nX-Endless: ", *[trailer] * 100)

    assert transport.closed


async def test_a_field_behind_the_body_is_no_header():
    seen = []

    async def tell(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        seen.append(dict(scope["headers"]))
        await answer(scope, receive, send)

    protocol, _, state = connect(tell)
    protocol.data_received(CHUNKED + b"2\r\nok\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
    await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)

    assert [b"authorization" in headers for headers in seen] == [False]


async def test_small_chunks_are_no_trailers(connection):
    transport = await connection(CHUNKED, *[b"1\r\nx\r\n"] * 20_000, b"0\r\n\r\n")

    assert transport.written.startswith(b"HTTP/1.1 200 ")
    assert not transport.closed


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(b"", b""), (b"\r\n", b""), (HEAD, b"HTTP/1.1 408 "), (b"GET / HT", b"HTTP/1.1 408 ")],
    ids=["nothing", "an-empty-line", "half-a-head", "half-a-line"],
)
async def test_what_does_not_arrive_is_not_waited_for(sent, answered):
    protocol, transport, _ = connect(answer, Hasty)
    if sent:
        protocol.data_received(sent)

    await asyncio.wait_for(transport.ended.wait(), timeout=30)
    protocol.connection_lost(None)

    assert transport.written.startswith(answered)
    assert bool(transport.written) == bool(answered)


async def test_half_a_head_behind_a_request_waits_for_its_answer():
    going = asyncio.Event()

    async def slowly(scope, receive, send):
        await going.wait()
        await answer(scope, receive, send)

    protocol, transport, state = connect(slowly, Hasty)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: maya.test\r\n\r\n" + HEAD)
    # Longer than a head may take.
    await asyncio.sleep(Hasty.head_within * 4)
    assert (transport.closed, transport.written) == (False, b"")
    going.set()
    await asyncio.gather(*state.tasks)
    await asyncio.wait_for(transport.ended.wait(), timeout=30)
    protocol.connection_lost(None)

    first, _, second = transport.written.partition(b"ok")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED + b"z\r\n",
    ],
    ids=["nonsense", "two-framings", "two-lengths", "no-chunk"],
)
async def test_what_is_no_http_gets_a_problem_with_the_security_headers(connection, sent):
    transport = await connection(sent)

    head, _, body = transport.written.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 400 Bad Request"
    assert b"content-security-policy: default-src 'none'" in head
    problem = json.loads(body)
    assert problem["error"] == "malformed_request"
    assert f"x-request-id: {problem['request_id']}".encode() in lines
    assert f"content-length: {len(body)}".encode() in lines
    assert transport.closed


async def test_a_server_that_stops_answers_the_request_that_is_on_its_way():
    protocol, transport, state = connect(answer)
    request = b"GET / HTTP/1.1\r\nHost: maya.test\r\n\r\n"
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    protocol.shutdown()
    assert not transport.closed
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)

    first, second = transport.written.split(b"ok")[:2]
    assert b"connection: close" not in first
    assert b"connection: close" in second
    assert transport.closed


async def test_a_server_that_stops_does_not_wait_long_for_another_request():
    protocol, transport, _ = connect(answer, Hasty)
    protocol.shutdown()

    await asyncio.wait_for(transport.ended.wait(), timeout=30)
    protocol.connection_lost(None)

    assert transport.written == b""


async def test_the_request_in_hand_hears_that_its_client_has_gone():
    """And not only the last one of those that wait behind it, which would leave it to write to nobody."""
    going, sent = asyncio.Event(), []

    async def slowly(scope, receive, send):
        await going.wait()
        await answer(scope, receive, send)
        sent.append(await receive())

    protocol, transport, state = connect(slowly)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: maya.test\r\n\r\n" * 3)
    protocol.connection_lost(ConnectionResetError())
    going.set()
    await asyncio.gather(*state.tasks)

    assert transport.written == b""
    assert sent == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("strict", [True, False])
async def test_a_refusal_has_the_headers_of_the_application(strict):
    protocol, transport, _ = connect(answer, app_state={HEADERS_STATE: make_headers(strict_transport=strict)})

    protocol.data_received(b"not HTTP at all\r\n\r\n")

    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert (b"\r\nstrict-transport-security: max-age=31536000" in transport.written) is strict
    assert b"\r\nx-content-type-options: nosniff\r\n" in transport.written
    protocol.connection_lost(None)
