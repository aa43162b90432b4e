import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.middleware import BodyLimitMiddleware, RequestContextMiddleware, StartupErrorMiddleware

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
