"""What an answer is held to, over a transport that answers as it is told."""

import json
from typing import Any

import httpx
import pytest

from fairlead._output import redact
from fairlead.verification.api import AnswerError, Api, Reply

PROBLEM = {"type": "https://notes.test/gone", "status": 410, "error": "gone", "detail": "It is gone."}


def reply(status: int, body: Any, kind: str = "application/json") -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply("GET /x", status, {"content-type": kind}, content)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            reply(500, b"<html>Oops</html>", "text/html"),
            "500 without a structured body (text/html: '<html>Oops</html>')",
        ),
        (reply(500, b"", "text/plain"), "500 without a structured body (text/plain, empty)"),
        (reply(500, {"detail": "Internal Server Error"}), "500 without a structured body"),
        (reply(500, b"{", "application/problem+json"), "500 without a structured body"),
        (reply(500, ["no", "object"]), "500 without a structured body"),
        (reply(410, PROBLEM, "application/problem+json"), "it answers 410 and says gone: It is gone."),
        (reply(204, b""), "200 was expected; it answers 204"),
        (reply(200, b"\xff\xfe"), "the answer is not JSON"),
        (reply(200, b"[" * 100_000), "the answer is not JSON"),
        (reply(200, [1]), "the answer is not a JSON object"),
    ],
)
def test_what_is_no_object_is_said_in_a_sentence(given: Reply, says: str) -> None:
    with pytest.raises(AnswerError) as caught:
        given.object()
    assert says in str(caught.value)


def test_a_problem_is_taken_with_its_name() -> None:
    assert reply(410, PROBLEM, "application/problem+json").problem(410, code="gone") == PROBLEM


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (reply(410, PROBLEM | {"error": "away"}), "the error gone was expected, not 'away'"),
        (reply(410, PROBLEM | {"status": 200}), "it answers 410, and its body says 200"),
        (reply(410, {"error": "gone"}), "it answers 410 without a structured body"),
        (reply(404, PROBLEM), "410 was expected; it answers 404"),
        (reply(410, b"gone", "text/plain"), "not JSON"),
    ],
)
def test_what_is_no_problem_is_refused(given: Reply, says: str) -> None:
    with pytest.raises(AnswerError) as caught:
        given.problem(410, code="gone")
    assert says in str(caught.value)


def make_api(handler: Any, *, timeout: float = 5.0) -> Api:
    return Api("http://notes.test/", timeout=timeout, transport=httpx.MockTransport(handler))


def test_a_request_goes_as_the_account_and_takes_what_it_is_given() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": "a-token-of-the-unit-test"})

    with make_api(answer) as api, api.log_in("/login", email="e@notes.test", password="pass-of-the-unit-test") as mine:
        mine.get("/list", params={"from": "2031-01-01T00:00:00+00:00"}, accept="text/html")
        mine.delete("/one")
    assert json.loads(asked[0].content) == {"email": "e@notes.test", "password": "pass-of-the-unit-test"}
    assert "authorization" not in asked[0].headers
    assert asked[1].headers["authorization"] == "Bearer a-token-of-the-unit-test"
    assert asked[1].headers["accept"] == "text/html"
    assert asked[1].url.query == b"from=2031-01-01T00%3A00%3A00%2B00%3A00"
    assert asked[2].method == "DELETE"
    assert "a-token-of-the-unit-test" not in redact("a-token-of-the-unit-test pass-of-the-unit-test")


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": 7}])
def test_a_login_without_a_token_is_refused(body: dict[str, Any]) -> None:
    with (
        make_api(lambda _: httpx.Response(200, json=body)) as api,
        pytest.raises(AnswerError, match="gives no access_token"),
    ):
        api.log_in("/login", email="e", password="pass-of-the-unit-test")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, json={"access_token": "a-token-nobody-is-to-read"}),
        httpx.Response(200, json=["a-token-nobody-is-to-read"]),
        httpx.Response(200, text="access_token=a-token-nobody-is-to-read"),
    ],
)
def test_a_login_that_is_not_understood_does_not_show_its_token(answer: httpx.Response) -> None:
    with make_api(lambda _: answer) as api, pytest.raises(AnswerError) as caught:
        api.log_in("/login", email="e", password="pass-of-the-unit-test")
    assert "a-token" not in str(caught.value)
    assert "bytes that are not shown" in str(caught.value)


def test_no_answer_is_said_with_its_reason() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    with make_api(refuse) as api, pytest.raises(AnswerError, match=r"^GET /x: no answer \(connection refused\)$"):
        api.get("/x")


def test_an_answer_without_end_is_not_read() -> None:
    def flood(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=(b"x" * 1_000_000 for _ in range(10)))

    with make_api(flood) as api, pytest.raises(AnswerError, match="larger than"):
        api.get("/x")


def test_an_api_does_not_show_what_it_asks_with() -> None:
    with Api("http://notes.test", token="a-token-of-the-unit-test") as api:
        assert repr(api) == "<Api http://notes.test>"
