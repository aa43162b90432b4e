"""WebSockets through the public port: byte by byte, and ended between two frames when their release is replaced."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fairlead.localplatform.routing import Target
from tests.integration.localplatform.wire import Handler, Stage, say, serve_proxy, serve_release

ASK = (
    b"GET /live?room=%2F1 HTTP/1.1\r\nHost: here\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: chat, other\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\n"
)
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
GOING_AWAY = b"\x88\x02\x03\xe9"
GOING_AWAY_MASKED = b"\x88\x82\x00\x00\x00\x00\x03\xe9"


def play(act: Callable[[Stage, Target], Awaitable[None]], handler: Handler, *, http: str = "h11") -> None:
    """Run `act` with a proxy in front of a release."""

    async def main() -> None:
        async with serve_proxy(http=http) as stage, serve_release(handler) as target:
            stage.router.point(target)
            await act(stage, target)
            assert await target.wait_until_idle(within=10)

    asyncio.run(main())


def accept(then: Handler, *, heard: list[bytes] | None = None, first: bytes = b"") -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        writer.write(ACCEPT + first)
        await then(reader, writer)

    return handle


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_bytes_pass_unchanged_both_ways(http: str) -> None:
    heard: list[bytes] = []
    # A ping, a compressed text in two frames, and a binary of the longest kind of header: nothing is interpreted.
    frames = b"\x89\x80abcd" + b"\x41\x81abcd\x00\x80\x82abcdzz" + b"\x82\xff" + (200_000).to_bytes(8) + b"mask"
    frames += bytes(200_000)

    async def act(stage: Stage, _target: Target) -> None:
        async with stage.connect() as (reader, writer):
            writer.write(ASK + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"sec-websocket-protocol: chat\r\n" in head.lower()
            assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
            assert await reader.readexactly(7) == b"\x81\x05hello"
            writer.write(frames)
            assert await reader.readexactly(len(frames)) == frames
        assert stage.statuses("one") == {101: 1}

    play(act, accept(echo, heard=heard, first=b"\x81\x05hello"), http=http)
    lines = heard[0].lower().split(b"\r\n")
    assert lines[0] == b"get /live?room=%2f1 http/1.1"
    assert {b"connection: upgrade", b"upgrade: websocket", b"cookie: a=b", b"x-forwarded-for: 127.0.0.1"} <= set(lines)
    assert b"sec-websocket-protocol: chat, other" in lines


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_refusal_of_the_release_is_the_clients_and_ends_the_connection(http: str) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\nX-Why: none\r\nConnection: keep-alive\r\n\r\nmembers"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await say(refusal)(reader, writer)
        await reader.read()

    async def act(stage: Stage, _target: Target) -> None:
        answer = await stage.ask(ASK + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"x-why: none\r\n" in answer.lower()
        assert b"connection: close\r\n" in answer.lower()
        assert answer.endswith(b"\r\n\r\nmembers")
        assert stage.statuses("one") == {403: 1}

    play(act, refuse, http=http)


@pytest.mark.parametrize(
    ("extra", "status", "counted"),
    [(b"", 502, {502: 1}), (b"X-Fairlead-Deployment: another\r\n", 503, {})],
    ids=["broken off", "unknown deployment"],
)
def test_websocket_that_nobody_takes_is_answered_with_a_problem(
    extra: bytes, status: int, counted: dict[int, int]
) -> None:
    async def act(stage: Stage, _target: Target) -> None:
        answer = await stage.ask(ASK + extra + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"application/problem+json" in answer
        assert stage.statuses() == counted

    play(act, say(b""))


def test_release_that_cannot_be_connected_to_gives_502() -> None:
    async def main() -> None:
        async with serve_proxy() as stage:
            async with serve_release(say(b"")) as target:
                stage.router.point(Target(target.port, deployment_id="gone"))
            assert (await stage.ask(ASK + b"\r\n")).startswith(b"HTTP/1.1 502 ")
            assert stage.statuses("gone") == {502: 1}

    asyncio.run(main())


def test_end_of_either_side_ends_the_other() -> None:
    ended = asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"x":
            return
        ended.set()

    async def act(stage: Stage, _target: Target) -> None:
        async with stage.connect() as (reader, writer):
            writer.write(ASK + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
        await ended.wait()
        async with stage.connect() as (reader, writer):
            writer.write(ASK + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"x")
            assert await reader.read() == b""

    play(act, accept(wait_for_end))


def test_websocket_of_a_replaced_release_goes_on_until_the_grace_ends_and_is_closed_with_1001() -> None:
    heard = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            heard.extend(data)
            writer.write(b"\x81\x02ok")

    async def act(stage: Stage, target: Target) -> None:
        async with stage.connect() as (reader, writer), serve_release(say(b""), deployment_id="two") as after:
            writer.write(ASK + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            stage.router.point(after)
            writer.write(b"\x81\x80abcd")
            assert await reader.readexactly(4) == b"\x81\x02ok"
            assert not await target.wait_until_idle(within=0)
            assert await reader.read() == GOING_AWAY
            writer.close()
            assert await target.wait_until_idle(within=10)

    play(act, accept(answer))
    assert bytes(heard) == b"\x81\x80abcd" + GOING_AWAY_MASKED


def test_frame_that_has_begun_is_finished_before_the_end() -> None:
    async def send_in_parts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x82\x7e\x01")
        await reader.readexactly(len(GOING_AWAY_MASKED))
        writer.write(b"\x00" + bytes(256) + b"\x81\x05never")
        await reader.read()

    async def act(stage: Stage, target: Target) -> None:
        async with stage.connect() as (reader, writer):
            writer.write(ASK + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3) == b"\x82\x7e\x01"
            await target.close()
            assert await reader.read() == b"\x00" + bytes(256) + GOING_AWAY

    play(act, accept(send_in_parts))


def test_slow_client_holds_the_release_back() -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        frame = b"\x82\x7f" + (65536).to_bytes(8) + bytes(65536)
        while sent < 2000 * len(frame):
            writer.write(frame)
            await writer.drain()
            sent += len(frame)

    async def act(stage: Stage, _target: Target) -> None:
        async with stage.connect() as (reader, writer):
            writer.write(ASK + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.2)
            # What the buffers of four sockets hold, which is far less than what it would send.
            assert sent < 64_000_000

    play(act, accept(flood))
