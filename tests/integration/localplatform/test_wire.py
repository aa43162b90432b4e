"""What the proxy makes of unusual requests and answers, down to the byte, over both of the server's parsers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fairlead.localplatform.routing import Target
from tests.integration.localplatform.wire import Handler, Stage, say, serve_proxy, serve_release

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b"Connection: close\r\n\r\n"

both_parsers = pytest.mark.parametrize("http", ["h11", "httptools"])


def play(act: Callable[[Stage, Target], Awaitable[None]], handler: Handler, *, http: str = "h11") -> None:
    """Run `act` with a proxy in front of a release; nothing may be left in hand afterwards."""

    async def main() -> None:
        async with serve_proxy(http=http) as stage, serve_release(handler) as target:
            stage.router.point(target)
            await act(stage, target)
            assert await target.wait_until_idle(within=10)

    asyncio.run(main())


def exchange(request: bytes, answer: bytes, *, http: str = "h11") -> tuple[bytes, bytes, dict[int, int]]:
    """Return what the release heard, what the client was answered, and what was counted."""
    heard: list[bytes] = []
    answers: list[bytes] = []
    counted: dict[int, int] = {}

    async def act(stage: Stage, _target: Target) -> None:
        answers.append(await stage.ask(request))
        counted.update(stage.statuses("one"))

    play(act, say(answer, heard=heard), http=http)
    return b"".join(heard), answers[0], counted


@both_parsers
@pytest.mark.parametrize(
    ("method", "answer", "status", "body"),
    [
        (b"GET", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n", 304, b""),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, b""),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b""),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"d\r\nuntil the end\r\n0\r\n\r\n"),
        (b"GET", b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"d\r\nuntil the end\r\n0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 400, b""),
        (b"GET", b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", 299, b""),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\nok", 200, b"ok"),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
            b"2\r\nok\r\n0\r\n\r\n",
        ),
    ],
    ids=[
        "204",
        "304 with a length",
        "HEAD",
        "chunked HEAD",
        "hints first",
        "until close",
        "HTTP/1.0",
        "400",
        "odd status",
        "large head",
        "two lengths",
    ],
)
def test_answer_of_every_shape_arrives_whole(http: str, method: bytes, answer: bytes, status: int, body: bytes) -> None:
    _, got, counted = exchange(method + b" / HTTP/1.1\r\nHost: here\r\n" + CLOSE, answer, http=http)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert got.partition(b"\r\n\r\n")[2] == body
    assert counted == {status: 1}


@both_parsers
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["none", "cut", "nonsense", "two lengths", "return in a value", "zero in a value", "space in a name", "101"],
)
def test_answer_that_is_none_becomes_502_and_counts_for_the_release(http: str, answer: bytes) -> None:
    _, got, counted = exchange(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE, answer, http=http)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"set-cookie" not in got.lower()
    assert counted == {502: 1}


@both_parsers
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["with length", "chunked"],
)
def test_answer_that_breaks_off_is_seen_to_be_broken_and_counts_as_502(http: str, answer: bytes) -> None:
    _, got, counted = exchange(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE, answer, http=http)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"half" in got
    assert not got.endswith(b"0\r\n\r\n")
    assert counted == {502: 1}


@pytest.mark.parametrize(
    ("head", "line", "host"),
    [
        (b"GET /a?b=%2F HTTP/1.1\r\nHost: here\r\n", b"GET /a?b=%2F HTTP/1.1", b"here"),
        (b"GET http://there:81/a?b HTTP/1.1\r\nHost: here\r\n", b"GET /a?b HTTP/1.1", b"there:81"),
        (b"GET HTTP://there HTTP/1.1\r\nHost: here\r\n", b"GET / HTTP/1.1", b"there"),
        (b"GET http://there/ HTTP/1.1\r\nHost: here\r\n", b"GET / HTTP/1.1", b"there"),
        (b"GET //there/a HTTP/1.1\r\nHost: here\r\n", b"GET //there/a HTTP/1.1", b"here"),
        (b"DELETE /a;b/../c HTTP/1.1\r\nHost: here\r\n", b"DELETE /a;b/../c HTTP/1.1", b"here"),
    ],
    ids=["path", "absolute", "absolute without a path", "absolute root", "two slashes", "untidy"],
)
def test_target_is_passed_on_as_a_path_and_its_host(head: bytes, line: bytes, host: bytes) -> None:
    heard, got, _ = exchange(head + CLOSE, OK)
    assert got.startswith(b"HTTP/1.1 200 ")
    lines = heard.split(b"\r\n")
    assert lines[0] == line
    assert [each for each in lines if each.lower().startswith(b"host:")] == [b"host: " + host]
    assert b"x-forwarded-host: " + host in lines


@both_parsers
def test_request_of_http_1_0_without_a_host_is_served(http: str) -> None:
    heard, got, _ = exchange(b"GET / HTTP/1.0\r\n\r\n", OK, http=http)
    assert b" 200 OK\r\n" in got
    assert got.endswith(b"ok")
    assert b"\r\nhost: 127.0.0.1:" in heard


@both_parsers
@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT there:443 HTTP/1.1\r\nHost: there:443\r\n",
        b"CONNECT /a HTTP/1.1\r\nHost: here\r\n",
        b"GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n",
        b"GET here HTTP/1.1\r\nHost: here\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nX A: b\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nX-A: b\rc\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip\r\n",
    ],
    ids=[
        "CONNECT",
        "CONNECT to a path",
        "two hosts",
        "no path",
        "space in a name",
        "return in a value",
        "two lengths",
        "coding",
    ],
)
def test_request_at_fault_is_refused_and_no_release_is_blamed(http: str, request_: bytes) -> None:
    heard, got, counted = exchange(request_ + CLOSE, OK, http=http)
    assert got[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 501"}
    assert heard == b""
    assert counted == {}


@both_parsers
def test_of_two_statements_about_the_length_at_most_one_is_passed_on(http: str) -> None:
    request = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
    heard, got, _ = exchange(request + CLOSE + b"1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", OK, http=http)
    assert b"content-length" not in heard.lower()
    assert b"smuggled" not in heard
    assert got[9:12] == (b"200" if heard else b"400")


@both_parsers
def test_headers_that_are_given_twice_arrive_twice(http: str) -> None:
    request = b"GET / HTTP/1.1\r\nHost: here\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n"
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nContent-Length: 2\r\n\r\nok"
    heard, got, _ = exchange(request + CLOSE, answer, http=http)
    assert [line for line in heard.split(b"\r\n") if line.startswith(b"x-")][:3] == [b"x-a: 1", b"x-b: 2", b"x-a: 3"]
    cookies = [line for line in got.split(b"\r\n") if line.lower().startswith(b"set-cookie:")]
    assert [line[12:] for line in cookies] == [b"a=1", b"b=2; Path=/"]


@both_parsers
def test_client_that_expects_100_is_told_to_continue_and_the_release_is_not_asked(http: str) -> None:
    heard: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend([await reader.readuntil(b"\r\n\r\n"), await reader.readexactly(4)])
        writer.write(OK)

    async def act(stage: Stage, _target: Target) -> None:
        async with stage.connect() as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nExpect: 100-continue\r\n" + CLOSE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"body")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")

    play(act, take, http=http)
    assert b"expect" not in heard[0].lower()
    assert heard[1] == b"body"


def test_events_arrive_one_by_one() -> None:
    async def main() -> None:
        next_one = asyncio.Event()

        async def send_events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(3):
                writer.write(b"data: %d\n\n" % number)
                await next_one.wait()
                next_one.clear()

        async with serve_proxy() as stage, serve_release(send_events) as target, stage.connect() as (reader, writer):
            stage.router.point(target)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE)
            for number in range(3):
                await reader.readuntil(b"data: %d\n\n" % number)
                assert target.in_flight == 1
                next_one.set()
            assert (await reader.read()).endswith(b"0\r\n\r\n")

    asyncio.run(main())


def test_large_upload_is_held_back_while_the_release_does_not_read() -> None:
    size = 200_000_000

    async def main() -> None:
        sent = 0
        reading = asyncio.Event()

        async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await reading.wait()
            left = size
            while left:
                left -= len(await reader.read(min(left, 1_000_000)))
            writer.write(OK)

        async def upload(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n" % size + CLOSE)
            while sent < size:
                writer.write(bytes(1_000_000))
                sent += 1_000_000
                await writer.drain()

        async with serve_proxy() as stage, serve_release(read_late) as target, stage.connect() as (reader, writer):
            stage.router.point(target)
            uploading = asyncio.create_task(upload(writer))
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < size / 4
            reading.set()
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            await uploading

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "body", "connections"),
    [(b"GET", b"", 1), (b"HEAD", b"", 1), (b"GET", b"xy", 3), (b"POST", b"xy", 3), (b"POST", b"", 3), (b"PUT", b"", 3)],
    ids=["GET", "HEAD", "GET with a body", "POST", "POST without a body", "PUT"],
)
def test_only_what_can_be_repeated_goes_over_a_connection_used_before(
    method: bytes, body: bytes, connections: int
) -> None:
    opened = 0

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(len(body))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def act(stage: Stage, _target: Target) -> None:
        request = method + b" / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n" % len(body) + CLOSE + body
        for _ in range(3):
            assert (await stage.ask(request)).startswith(b"HTTP/1.1 204 ")

    play(act, keep)
    assert opened == connections


def test_request_is_repeated_when_its_kept_connection_was_just_closed() -> None:
    heard: list[int] = []

    async def close_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(heard)
        heard.append(0)
        while heard[number] < 1:
            await reader.readuntil(b"\r\n\r\n")
            heard[number] += 1
            writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        heard[number] += 1

    async def act(stage: Stage, _target: Target) -> None:
        for _ in range(2):
            assert (await stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE)).endswith(b"ok")
        assert stage.statuses("one") == {200: 2}

    play(act, close_at_the_second)
    assert heard == [2, 1]


@pytest.mark.parametrize(
    "spoil", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n"]
)
@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
def test_answer_that_nobody_asked_for_is_never_given_to_the_next_request(spoil: bytes, *, at_once: bool) -> None:
    opened = 0

    async def main() -> None:
        go = asyncio.Event()

        async def say_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK + (spoil if at_once else b""))
            await go.wait()
            writer.write(b"" if at_once else spoil)
            await reader.read()

        async with serve_proxy() as stage, serve_release(say_more) as target:
            stage.router.point(target)
            for _ in range(2):
                assert (await stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE)).endswith(b"\r\n\r\nok")
                go.set()
                for _ in range(20):  # all of them share this loop, so that it has arrived by then
                    await asyncio.sleep(0)
            assert stage.statuses() == {200: 2}

    asyncio.run(main())
    assert opened == 2


def test_release_may_refuse_a_body_without_reading_it_and_is_let_go() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"

    async def main() -> None:
        ended = asyncio.Event()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await say(refusal)(reader, writer)
            try:
                await reader.read()
            finally:
                ended.set()

        async with serve_proxy() as stage, serve_release(refuse) as target, stage.connect() as (reader, writer):
            stage.router.point(target)
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413 ")
            assert await reader.readexactly(3) == b"big"
            await ended.wait()
            assert await target.wait_until_idle(within=10)
            assert stage.statuses("one") == {413: 1}

    asyncio.run(main())


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], ids=["no head", "no body"])
def test_release_that_stays_silent_gives_504(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.localplatform.upstream._SILENCE", 0.1)

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await reader.read()

    async def act(stage: Stage, _target: Target) -> None:
        answer = await stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE)
        assert answer.startswith(b"HTTP/1.1 200 " if head else b"HTTP/1.1 504 ")
        assert stage.statuses("one") == {504: 1}

    play(act, fall_silent)


def test_client_that_breaks_off_its_body_is_not_counted_and_the_release_is_let_go() -> None:
    async def main() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"half")
            begun.set()
            try:
                await reader.read()
            finally:
                ended.set()

        async with serve_proxy() as stage, serve_release(wait_for_end) as target, stage.connect() as (_, writer):
            stage.router.point(target)
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf")
            await begun.wait()
            writer.close()
            await ended.wait()
            assert await target.wait_until_idle(within=10)
            assert stage.statuses() == {}

    asyncio.run(main())


def test_request_is_not_repeated_when_its_new_connection_is_broken_off() -> None:
    heard, got, counted = exchange(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE, b"")
    assert heard.count(b"GET / ") == 1
    assert got.startswith(b"HTTP/1.1 502 ")
    assert counted == {502: 1}


@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
def test_client_that_goes_away_is_not_counted_and_the_release_is_let_go(*, half: bool) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            began.set()
            await reader.read()
            ended.set()

        began = asyncio.Event()
        async with serve_proxy() as stage, serve_release(wait_for_end) as target, stage.connect() as (_, writer):
            stage.router.point(target)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            await began.wait()
            if half:
                writer.write_eof()
            else:
                writer.close()
            await ended.wait()
            assert await target.wait_until_idle(within=10)
            assert stage.statuses() == {}

    asyncio.run(main())


def test_canary_gets_its_share_and_its_failures_are_shown() -> None:
    async def main() -> None:
        async with serve_proxy() as stage, serve_release(say(OK), deployment_id="one") as target:
            async with serve_release(say(b""), deployment_id="two") as canary:
                stage.router.point(target)
            stage.router.weigh(canary, 20)
            answers = [await stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE) for _ in range(50)]
            assert sum(each.startswith(b"HTTP/1.1 502 ") for each in answers) == 10
            assert stage.statuses("one") == {200: 40}
            assert stage.statuses("two") == {502: 10}
            assert stage.router.weigh(None) is canary
            assert (await stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n" + CLOSE)).endswith(b"ok")

    asyncio.run(main())


def test_request_for_a_deployment_goes_to_its_release_alone() -> None:
    async def main() -> None:
        async with (
            serve_proxy() as stage,
            serve_release(say(OK), deployment_id="one") as target,
            serve_release(say(OK.replace(b"ok", b"ab")), deployment_id="two") as warm,
        ):
            request = b"GET / HTTP/1.1\r\nHost: here\r\nX-Fairlead-Deployment: two\r\n" + CLOSE
            stage.router.point(target)
            stage.router.keep(warm)
            assert (await stage.ask(request)).endswith(b"ab")
            stage.router.forget(warm)
            refused = await stage.ask(request)
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"application/problem+json" in refused
            assert stage.statuses() == {200: 1}

    asyncio.run(main())


def test_request_that_comes_while_none_serves_is_counted_for_none() -> None:
    async def main() -> None:
        async with serve_proxy() as stage:
            answer = await stage.ask(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n" + CLOSE + b"x")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in answer
            assert stage.statuses() == stage.statuses("") == {503: 1}

    asyncio.run(main())
