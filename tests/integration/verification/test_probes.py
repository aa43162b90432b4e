"""Probes against real servers on loopback: good, ill, slow, hanging, lying and absent."""

import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from fairlead._http import make_client
from fairlead.verification import Answer, Probe, Report, Verdict, ask, wait_for_release
from tests.integration.verification import hostile
from tests.integration.verification.hostile import GENEROUS

HEALTH, VERSION = Probe("health", "/api/health"), Probe("version", "/api/v1/version")
RIGHT, WRONG = "sha256:right", "sha256:wrong"

Reply = Callable[[socket.socket, str], None]


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Serve on a free port of loopback; `reply` is given each connection and the path that was asked for."""
    with hostile.serving(lambda connection: reply(connection, hostile.read_request(connection))) as url:
        yield url


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def saying(status: int, body: object, *headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda connection, path: connection.sendall(response(status, content, *headers))


def dripping(head: bytes, drop: bytes) -> Reply:
    """Send `head`, then `drop` again and again until the client goes away."""

    def reply(connection: socket.socket, path: str) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.05)

    return reply


def hanging(head: bytes = b"") -> Reply:
    """Send `head`, then nothing until the client goes away."""

    def reply(connection: socket.socket, path: str) -> None:
        connection.sendall(head)
        connection.recv(1)

    return reply


def ask_once(url: str, *, timeout: float = GENEROUS, probe: Probe = HEALTH) -> Answer:
    with make_client(url) as client:
        return ask(client, probe, timeout=timeout)


# --- one answer ---


def test_good_answer_is_read_with_its_body_and_digest() -> None:
    with serving(saying(200, {"status": "pass", "digest": RIGHT})) as url:
        answer = ask_once(url)
    assert (answer.reached, answer.status, answer.problem, answer.digest) == (True, 200, None, RIGHT)
    assert answer.body == {"status": "pass", "digest": RIGHT}
    assert 0 < answer.seconds < GENEROUS


def test_probe_asks_for_its_path_past_every_cache_and_on_a_new_connection() -> None:
    requests: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={})

    with make_client("http://service/base", transport=httpx.MockTransport(note)) as client:
        ask(client, VERSION, timeout=1)
    assert requests[0].url == "http://service/base/api/v1/version"
    assert requests[0].headers["cache-control"] == "no-cache"
    assert requests[0].headers["connection"] == "close"


@pytest.mark.parametrize(
    ("reply", "status", "problem"),
    [
        (
            saying(503, {"status": "fail", "checks": {"database": {"status": "fail"}}}),
            503,
            "status 503 (database fails)",
        ),
        (saying(503, b"<html>"), 503, "status 503"),
        (saying(503, {"checks": ["odd"]}), 503, "status 503"),
        (saying(500, b""), 500, "status 500"),
        (saying(404, {"status": "pass"}), 404, "status 404"),
        (saying(204, b""), 204, "status 204"),
        (saying(302, b"", "Location: /elsewhere"), 302, "status 302"),
        (saying(200, b"<html>up</html>"), 200, "its answer is not a JSON object"),
        (saying(200, b""), 200, "its answer is not a JSON object"),
        (saying(200, b"\xff\xfe\x00"), 200, "its answer is not a JSON object"),
        (saying(200, [1, 2]), 200, "its answer is not a JSON object"),
        (saying(200, "pass"), 200, "its answer is not a JSON object"),
        (saying(200, b"[" * 500_000), 200, "its answer is not a JSON object"),
        (saying(200, {"status": "fail", "checks": {"db": {"status": "fail"}}}), 200, "says it fails (db fails)"),
        (saying(200, b'{"a": "' + b"x" * 1_100_000 + b'"}'), 200, "its answer is larger than a probe's can be"),
        (
            saying(200, gzip.compress(b" " * 30_000_000), "Content-Encoding: gzip"),
            200,
            "its answer is larger than a probe's can be",
        ),
        (saying(200, b"not gzip", "Content-Encoding: gzip"), 200, "its answer cannot be read"),
        (
            lambda connection, path: connection.sendall(response(200, b"{}").replace(b"Length: 2", b"Length: 9")),
            200,
            "its answer cannot be read",
        ),
    ],
)
def test_wrong_answer_is_reached_and_named(reply: Reply, status: int, problem: str) -> None:
    with serving(reply) as url:
        answer = ask_once(url)
    assert (answer.reached, answer.status) == (True, status)
    assert (answer.problem or "").startswith(problem)


@pytest.mark.parametrize("body", [{"status": "pass"}, {"status": "warn"}, {}, {"status": "ok", "checks": None}])
def test_answer_that_claims_no_failure_is_taken(body: dict[str, object]) -> None:
    with serving(saying(200, body)) as url:
        assert ask_once(url).problem is None


@pytest.mark.parametrize(
    ("reply", "reached", "problem"),
    [
        (hanging(), False, "no answer within 0.4 s"),
        (hanging(b"HTTP/1.1 200 OK\r\n"), False, "no answer within 0.4 s"),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"), False, "no answer within 0.4 s"),
        (hanging(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), True, "its answer was not complete within 0.4 s"),
        (
            dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" "),
            True,
            "its answer was not complete within 0.4 s",
        ),
        (
            dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            True,
            "its answer was not complete within 0.4 s",
        ),
        (
            dripping(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999\r\n\r\n\x1f\x8b\x08\x10"
                + bytes(6),
                b"x",
            ),
            True,
            "its answer was not complete within 0.4 s",
        ),
    ],
    ids=["silence", "half a head", "dripping head", "half a body", "dripping body", "dripping chunks", "dripping gzip"],
)
def test_slow_answer_ends_at_the_deadline_however_it_is_slow(reply: Reply, reached: bool, problem: str) -> None:
    with serving(reply) as url:
        started = time.monotonic()
        answer = ask_once(url, timeout=0.4)
        assert time.monotonic() - started < GENEROUS
    assert (answer.reached, answer.problem) == (reached, problem)


def test_connection_closed_without_a_word_is_no_answer() -> None:
    with serving(lambda connection, path: None) as url:
        answer = ask_once(url)
    assert answer.reached is False
    assert (answer.problem or "").startswith("no answer (")


def test_refused_connection_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = ask_once(f"http://127.0.0.1:{port}")
    assert (answer.reached, answer.status, answer.problem) == (False, None, "no answer (connection refused)")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://" + "a" * 100 + ".invalid", "no-address"])
def test_address_that_cannot_be_asked_is_no_answer(url: str) -> None:
    answer = ask_once(url)
    assert answer.reached is False
    assert (answer.problem or "").startswith("no answer (")


# --- until it is confirmed ---


class Script:
    """Replies to each request for the version with the next of the given replies, the last one from then on."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = itertools.chain(replies, itertools.repeat(replies[-1]))
        self._lock = threading.Lock()
        self.asked = 0

    def __call__(self, connection: socket.socket, path: str) -> None:
        with self._lock:
            reply = next(self._replies)
            self.asked += 1
        reply(connection, path)


GOOD, OLD, ILL = saying(200, {"digest": RIGHT}), saying(200, {"digest": WRONG}), saying(503, {})


def wait(url: str, *, timeout: float = GENEROUS, patience: float = GENEROUS, confirmations: int = 3) -> Report:
    return wait_for_release(
        url, [VERSION], digest=RIGHT, confirmations=confirmations, timeout=timeout, patience=patience
    )


@pytest.mark.parametrize("confirmations", [1, 3])
def test_healthy_needs_as_many_good_answers_as_asked_for(confirmations: int) -> None:
    script = Script(GOOD)
    with serving(script) as url:
        assert wait(url, confirmations=confirmations).verdict is Verdict.HEALTHY
    assert script.asked == confirmations


@pytest.mark.parametrize("bad", [OLD, ILL, lambda connection, path: None], ids=["old release", "503", "closed"])
def test_flapping_service_is_asked_until_the_good_answers_come_in_a_row(bad: Reply) -> None:
    script = Script(GOOD, GOOD, bad, GOOD, bad, GOOD)
    with serving(script) as url:
        report = wait(url)
    assert (report.verdict, report.digest) == (Verdict.HEALTHY, RIGHT)
    assert script.asked == 8


def test_old_release_is_waited_out_with_patience() -> None:
    with serving(Script(OLD, OLD, GOOD)) as url:
        assert wait(url).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("reply", "verdict", "reason"),
    [
        (OLD, Verdict.UNHEALTHY, f"it serves {WRONG}, not {RIGHT}"),
        (saying(200, {}), Verdict.UNHEALTHY, "it serves no digest"),
        (ILL, Verdict.UNHEALTHY, "/api/v1/version: status 503"),
        (lambda connection, path: None, Verdict.INCONCLUSIVE, "/api/v1/version: no answer"),
    ],
    ids=["old release", "no digest", "503", "closed"],
)
def test_bad_answer_is_final_at_once_without_patience(reply: Reply, verdict: Verdict, reason: str) -> None:
    script = Script(reply)
    with serving(script) as url:
        report = wait(url, patience=0.0)
    assert report.verdict is verdict
    assert report.reason.startswith(reason)
    assert script.asked == 1


def test_bad_answer_is_final_when_patience_ends() -> None:
    script = Script(OLD)
    with serving(script) as url:
        started = time.monotonic()
        report = wait(url, patience=0.4)
        assert 0.4 <= time.monotonic() - started < GENEROUS
    assert report.verdict is Verdict.UNHEALTHY
    assert script.asked > 1


def test_patience_begins_anew_when_the_service_was_well_in_between() -> None:
    # Long enough for the one bad answer to come within it, however busy the machine is.
    patience = 1.5

    def well_after_that(connection: socket.socket, path: str) -> None:
        time.sleep(patience + 0.1)
        GOOD(connection, path)

    with serving(Script(well_after_that, ILL, GOOD)) as url:
        assert wait(url, patience=patience).verdict is Verdict.HEALTHY


def test_service_that_never_becomes_well_is_unhealthy_at_the_deadline() -> None:
    with serving(Script(ILL)) as url:
        report = wait(url, timeout=0.5)
    assert (report.verdict, report.reason) == (Verdict.UNHEALTHY, "/api/v1/version: status 503")


def test_deadline_before_enough_good_answers_is_never_healthy() -> None:
    with serving(Script(GOOD)) as url:
        report = wait(url, timeout=0.5, confirmations=1000)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "too few good answers in a row" in report.reason


def test_hanging_service_is_inconclusive_within_the_deadline_of_the_whole_wait() -> None:
    probes = [Probe(str(number), f"/{number}") for number in range(40)]
    with serving(hanging()) as url:
        started = time.monotonic()
        report = wait_for_release(url, probes, digest=None, confirmations=1, timeout=1.0, patience=GENEROUS)
        assert time.monotonic() - started < GENEROUS
    assert report.verdict is Verdict.INCONCLUSIVE
    assert len(report.answers) == len(probes)


def test_wait_without_probes_is_never_healthy() -> None:
    report = wait_for_release("http://127.0.0.1:1", [], digest=None, confirmations=1, timeout=0.2)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "nothing was asked")


def test_every_round_is_reported_as_it_ends() -> None:
    seen: list[Verdict] = []
    with serving(Script(ILL, GOOD)) as url:
        wait_for_release(
            url,
            [VERSION],
            digest=RIGHT,
            confirmations=2,
            timeout=GENEROUS,
            patience=GENEROUS,
            on_report=lambda report: seen.append(report.verdict),
        )
    assert seen == [Verdict.UNHEALTHY, Verdict.HEALTHY, Verdict.HEALTHY]
