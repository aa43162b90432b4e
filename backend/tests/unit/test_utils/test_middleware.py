import asyncio
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.middleware import BodyLimitMiddleware, LimitsMiddleware, RequestContextMiddleware, StartupErrorMiddleware
from app.services.counting import Counts
from app.services.rates import RateLimit

pytestmark = pytest.mark.anyio


async def echo(request: Request):
    return PlainTextResponse(str(len(await request.body())))


async def break_off(request: Request):
    async def content():
        yield b"half"
        raise RuntimeError("broken")

    return StreamingResponse(content())


def client_of(app, **kwargs):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **kwargs), base_url="http://maya.test")


@pytest.fixture
def inner():
    return Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/broken", break_off)])


@pytest.mark.parametrize("inbound", ["abc-123", "A.b_c-9", "x" * 128])
async def test_a_sane_inbound_request_id_is_kept(inner, inbound):
    async with client_of(RequestContextMiddleware(inner)) as client:
        response = await client.post("/echo", headers={"X-Request-ID": inbound})

    assert response.headers["x-request-id"] == inbound


@pytest.mark.parametrize("inbound", ["", "x" * 129, "a b", 'a"b', "a\tb", "<script>", "é".encode()])
async def test_any_other_request_id_is_replaced(inner, inbound):
    async with client_of(RequestContextMiddleware(inner)) as client:
        response = await client.post("/echo", headers={"X-Request-ID": inbound})

    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["x-request-id"] != inbound


async def test_each_request_gets_an_id_of_its_own(inner):
    async with client_of(RequestContextMiddleware(inner)) as client:
        ids = {(await client.post("/echo")).headers["x-request-id"] for _ in range(5)}

    assert len(ids) == 5


async def test_half_an_answer_is_left_to_the_server(inner, caplog):
    async with client_of(RequestContextMiddleware(inner)) as client:
        with pytest.raises(RuntimeError, match="broken"):
            await client.get("/broken")

    assert "a request failed unexpectedly" in caplog.messages


async def test_probes_that_pass_are_logged_quietly(caplog):
    caplog.set_level(logging.DEBUG, logger="app.request")
    app = RequestContextMiddleware(PlainTextResponse("ok"))
    async with client_of(app) as client:
        await client.get("/api/health")
        await client.get("/other?token=secret")

    assert [(record.levelname, record.path) for record in caplog.records if record.name == "app.request"] == [
        ("DEBUG", "/api/health"),
        ("INFO", "/other"),
    ]


async def pieces(*sizes):
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x" * 10, 200), (b"x" * 11, 413), (pieces(5, 5), 200), (pieces(5, 5, 1), 413)],
    ids=["announced-fits", "announced-too-long", "pieces-fit", "pieces-too-long"],
)
async def test_a_body_beyond_the_limit_is_refused(inner, body, status):
    inner.add_middleware(BodyLimitMiddleware, limit=10)
    async with client_of(inner) as client:
        response = await client.post("/echo", content=body)

    assert response.status_code == status


async def test_a_body_that_does_not_arrive_is_not_waited_for(inner):
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/echo", "headers": [], "query_string": b""}
    await BodyLimitMiddleware(inner, limit=10, within=0.01)(scope, messages.get, send)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_waiting_for_the_end_of_a_connection_has_no_limit():
    reached = asyncio.Event()

    async def wait(_scope, receive, _send):
        await receive()
        reached.set()
        assert (await receive())["type"] == "http.disconnect"

    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    limited = BodyLimitMiddleware(wait, limit=10, within=0.01)
    task = asyncio.create_task(limited({"type": "http", "headers": []}, messages.get, None))
    await reached.wait()
    await asyncio.sleep(0.05)
    messages.put_nowait({"type": "http.disconnect"})
    await task


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer b")], ["a"]),
        ([("Authorization", "Basic a"), ("Authorization", "Bearer b")], []),
        ([("Authorization", "bearer a")], ["a"]),
        ([], []),
    ],
)
async def test_the_first_authorization_is_the_one_that_counts(inner, headers, expected):
    asked = []
    async with client_of(RequestContextMiddleware(inner, recognise=asked.append)) as client:
        await client.post("/echo", headers=headers)

    assert asked == expected


@pytest.mark.parametrize("path", ["/api/live", "/other"])
async def test_a_head_that_is_too_large_is_refused_on_every_path(path):
    counts = Counts()
    limits = [RateLimit(counts, "off", policy=policy) for policy in ("requests", "logins")]
    app = LimitsMiddleware(PlainTextResponse("ok"), general=limits[0], login=limits[1])
    async with client_of(app) as client:
        many = await client.get(path, headers=[("x-many", "1")] * 101)
        long = await client.get(path, headers={"x-long": "x" * 40_000})
        far = await client.get(f"{path}?{'x' * 9000}")

    assert [many.status_code, long.status_code, far.status_code] == [431, 431, 414]


async def test_an_address_is_not_repeated_at_length():
    counts = Counts()
    limits = [RateLimit(counts, "off", policy=policy) for policy in ("requests", "logins")]
    app = LimitsMiddleware(PlainTextResponse("ok"), general=limits[0], login=limits[1])
    async with client_of(app) as client:
        response = await client.get("/" + "x" * 20_000)

    assert response.status_code == 414
    assert len(response.content) < 2000


async def test_who_asks_too_often_is_named_in_the_log(caplog):
    caplog.set_level(logging.INFO, logger="app.request")
    counts = Counts()
    general, login = (RateLimit(counts, "1/hour", policy=policy) for policy in ("requests", "logins"))
    app = RequestContextMiddleware(LimitsMiddleware(PlainTextResponse("ok"), general=general, login=login))
    async with client_of(app, client=("2001:db8::7", 1)) as client:
        for _ in range(3):
            await client.get("/other")

    lines = [(record.status, getattr(record, "client", None)) for record in caplog.records if hasattr(record, "status")]
    assert lines[-1] == (429, "2001:db8::/64")
    assert (200, None) in lines


class ExpectedError(Exception):
    """What StartupErrorMiddleware is told to expect."""


def failing(error):
    async def app(scope, receive, send):
        await receive()
        if isinstance(error, BaseException):
            await send({"type": "lifespan.startup.failed", "message": "Traceback …"})
            raise error
        await send({"type": "lifespan.startup.complete"})

    return app


async def start(app):
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    await StartupErrorMiddleware(app, expected=ExpectedError)({"type": "lifespan"}, receive, send)
    return sent


async def test_an_expected_failure_to_start_is_told_by_its_message_alone():
    sent = await start(failing(ExpectedError("no database")))

    assert sent == [{"type": "lifespan.startup.failed", "message": "no database"}]


async def test_an_unexpected_failure_to_start_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="bug"):
        await start(failing(RuntimeError("bug")))


async def test_a_start_passes_through():
    assert await start(failing(None)) == [{"type": "lifespan.startup.complete"}]
