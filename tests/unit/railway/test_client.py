import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DeadlineError,
    PlatformError,
    RateLimitError,
    ResponseError,
)
from fairlead.railway import LogLine, RailwayClient, Scope, Service, Upload

TOKEN = "canary-0123456789abcdef"
Handler = Callable[[httpx.Request], httpx.Response]

NODE = {
    "id": "d1",
    "status": "BUILDING",
    "createdAt": "2026-01-01T10:00:00Z",
    "deploymentStopped": False,
    "canRollback": False,
}
PLACE: dict[str, Any] = {"project_id": "p", "environment_id": "e", "service_id": "s"}


class Time:
    """A clock that goes on only while something sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Script:
    """Answers requests from a list, the last one again and again; an exception in it is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(handler: Handler, *, time: Time | None = None, **settings: Any) -> RailwayClient:
    time = time or Time()
    return RailwayClient(TOKEN, transport=httpx.MockTransport(handler), clock=time.clock, sleep=time.sleep, **settings)


def ok(data: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": data})


def found() -> httpx.Response:
    return ok({"deployment": NODE})


def refused(*messages: str, data: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"data": data, "errors": [{"message": message} for message in messages]})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(200_000))
    return path


@pytest.mark.parametrize(
    ("account", "header", "value"),
    [(False, "Project-Access-Token", TOKEN), (True, "Authorization", f"Bearer {TOKEN}")],
)
def test_token_travels_in_the_header_of_its_kind(account: bool, header: str, value: str) -> None:
    script = Script(found())
    with client(script, account=account) as railway:
        railway.fetch_deployment("d1")
    request = script.requests[0]
    assert request.headers[header] == value
    assert ("Authorization" in request.headers) is account
    assert ("Project-Access-Token" in request.headers) is not account
    assert (request.method, str(request.url)) == ("POST", "https://backboard.railway.com/graphql/v2")


def test_project_token_is_read_with_its_services() -> None:
    answer = {
        "name": "ci",
        "projectId": "p",
        "environmentId": "e",
        "project": {"name": "maya", "services": {"edges": [{"node": {"id": "s", "name": "maya-backend"}}]}},
        "environment": {"name": "staging"},
    }
    with client(Script(ok({"projectToken": answer}))) as railway:
        assert railway.fetch_project_token() == Scope(
            project_id="p",
            project_name="maya",
            environment_id="e",
            environment_name="staging",
            services=(Service("s", "maya-backend"),),
        )


def test_deployments_come_newest_first() -> None:
    nodes = [
        {**NODE, "id": name, "createdAt": f"2026-01-01T1{hour}:00:00Z"} for name, hour in (("b", 2), ("c", 3), ("a", 1))
    ]
    script = Script(ok({"deployments": {"edges": [{"node": node} for node in nodes]}}))
    with client(script) as railway:
        assert [deployment.id for deployment in railway.fetch_deployments(**PLACE, limit=3)] == ["c", "b", "a"]
    variables = json.loads(script.requests[0].content)["variables"]
    assert variables == {"input": {"projectId": "p", "environmentId": "e", "serviceId": "s"}, "first": 3}


@pytest.mark.parametrize(
    ("method", "field"), [("fetch_deployment_logs", "deploymentLogs"), ("fetch_build_logs", "buildLogs")]
)
def test_logs_are_read_and_begin_after_since(method: str, field: str) -> None:
    lines = [
        {"timestamp": "2026-01-01T10:00:00.000000001Z", "message": "seen", "severity": None},
        {"timestamp": "2026-01-01T10:00:00.000000002Z", "message": "", "severity": "error"},
    ]
    script = Script(ok({field: lines}))
    with client(script) as railway:
        read = getattr(railway, method)("d1", limit=9000, since="2026-01-01T10:00:00.000000001Z")
    assert read == (LogLine("2026-01-01T10:00:00.000000002Z", "", "error"),)
    variables = json.loads(script.requests[0].content)["variables"]
    assert variables == {"deploymentId": "d1", "limit": 5000, "startDate": "2026-01-01T10:00:00.000000001Z"}


FAULTS: list[tuple[httpx.Response | Exception, type[PlatformError], str]] = [
    (httpx.Response(401), AuthenticationError, "RAILWAY_TOKEN"),
    (httpx.Response(403, text="<html>"), AuthenticationError, "RAILWAY_TOKEN"),
    (refused("Not Authorized"), AuthenticationError, "RAILWAY_TOKEN"),
    (refused("Not Authorized", data={"deployment": NODE}), AuthenticationError, "RAILWAY_TOKEN"),
    (httpx.Response(400, json={"errors": [{"message": "Unauthorized"}]}), AuthenticationError, "RAILWAY_TOKEN"),
    (httpx.Response(429), RateLimitError, "too often"),
    (refused("Service deployment rate limit exceeded"), RateLimitError, "too often"),
    (httpx.Response(500), ResponseError, "500 Internal Server Error"),
    (httpx.Response(500, json={"message": "the disk is full"}), ResponseError, "the disk is full"),
    (httpx.Response(502, text="<html>bad</html>"), ResponseError, "502 Bad Gateway"),
    (httpx.Response(599), ResponseError, "599"),
    (httpx.Response(404), ResponseError, "404 Not Found"),
    (httpx.Response(302, headers={"location": "https://elsewhere.example"}), ResponseError, "302 Found"),
    (httpx.Response(204), ResponseError, "204 No Content"),
    (httpx.Response(400, json={"errors": [{"message": "bad query"}]}), ResponseError, "refused: bad query"),
    (refused("Deployment not found"), ResponseError, "Deployment not found"),
    (refused("one", "two"), ResponseError, "one; two"),
    (refused("partial", data={"deployment": NODE}), ResponseError, "partial"),
    (refused("line\nbreak \x1b[31mred\x1b[0m"), ResponseError, "line break red"),
    (httpx.Response(200, json={"errors": "odd"}), ResponseError, "does not say why"),
    (httpx.Response(200, json={"errors": [None, {"message": 5}]}), ResponseError, "does not say why"),
    (httpx.Response(200), ResponseError, "not JSON"),
    (httpx.Response(200, text="<html>login</html>"), ResponseError, "not JSON"),
    (httpx.Response(200, content=b'{"data": '), ResponseError, "not JSON"),
    (httpx.Response(200, content=b"\xff\xfe\xfd"), ResponseError, "not JSON"),
    (httpx.Response(200, content=b"[" * 100_000), ResponseError, "not JSON"),
    (httpx.Response(200, json=[]), ResponseError, "answer should be an object and is a list"),
    (httpx.Response(200, json={}), ResponseError, "answer.data should be an object and is nothing"),
    (ok(None), ResponseError, "answer.data should be an object and is nothing"),
    (ok({"deployment": None}), ResponseError, "answer.data.deployment should be an object and is nothing"),
    (ok({"deployment": {**NODE, "status": 5}}), ResponseError, "answer.data.deployment.status"),
    (httpx.ConnectError("[Errno 111] Connection refused"), PlatformError, "cannot connect to backboard.railway.com"),
    (httpx.ConnectError("[Errno -2] Name or service not known"), PlatformError, "Name or service not known"),
    (httpx.ConnectTimeout("timed out"), DeadlineError, "does not take connections"),
    (httpx.ReadTimeout("timed out"), DeadlineError, "no complete answer within 15 s"),
    (httpx.ReadError("[Errno 104] Connection reset by peer"), PlatformError, "Connection reset by peer"),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), PlatformError, "disconnected"),
    (httpx.WriteError(""), PlatformError, "it was closed"),
]


@pytest.mark.parametrize(("fault", "kind", "said"), FAULTS)
def test_fault_becomes_one_clear_error(fault: httpx.Response | Exception, kind: type[PlatformError], said: str) -> None:
    with client(Script(fault)) as railway, pytest.raises(PlatformError) as caught:
        railway.fetch_deployment("d1")
    assert type(caught.value) is kind
    assert said in caught.value.message
    assert (
        caught.value.message.startswith("fetching deployment d1 failed: ") or "makes no sense" in caught.value.message
    )
    assert TOKEN not in f"{caught.value.message} {caught.value.hint}"


def test_error_that_repeats_the_token_is_masked() -> None:
    with client(Script(refused(f"token {TOKEN} is odd"))) as railway, pytest.raises(ResponseError) as caught:
        railway.fetch_deployment("d1")
    assert "is odd" in caught.value.message
    assert TOKEN not in caught.value.message


def test_long_error_is_cut() -> None:
    with client(Script(refused("x" * 10_000))) as railway, pytest.raises(ResponseError) as caught:
        railway.fetch_deployment("d1")
    assert len(caught.value.message) < 500


def test_account_token_is_asked_for_by_its_own_name() -> None:
    with client(Script(httpx.Response(401)), account=True) as railway, pytest.raises(AuthenticationError) as caught:
        railway.fetch_deployment("d1")
    assert "RAILWAY_API_TOKEN" in caught.value.message
    with (
        client(Script(httpx.Response(401)), token_env="STAGING_TOKEN") as railway,
        pytest.raises(AuthenticationError, match="STAGING_TOKEN"),
    ):
        railway.fetch_deployment("d1")


def test_repr_does_not_hold_the_token() -> None:
    with client(Script(found())) as railway:
        assert TOKEN not in repr(railway)


@pytest.mark.parametrize(
    "passing",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.Response(429),
        httpx.Response(502),
        httpx.Response(503),
        httpx.Response(504),
    ],
)
def test_read_is_repeated_with_growing_pauses(passing: httpx.Response | Exception) -> None:
    time = Time()
    with client(Script(passing, passing, passing, found()), time=time) as railway:
        assert railway.fetch_deployment("d1").id == "d1"
    assert time.slept == [0.2, 0.4, 0.8]


def test_repetitions_are_bounded() -> None:
    script = Script(httpx.Response(503))
    with client(script) as railway, pytest.raises(ResponseError):
        railway.fetch_deployment("d1")
    assert len(script.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 500, 501])
def test_what_will_not_pass_is_not_repeated(status: int) -> None:
    script = Script(httpx.Response(status))
    with client(script) as railway, pytest.raises(PlatformError):
        railway.fetch_deployment("d1")
    assert len(script.requests) == 1


def test_graphql_errors_are_not_repeated() -> None:
    script = Script(refused("Problem processing request"))
    with client(script) as railway, pytest.raises(ResponseError):
        railway.fetch_deployment("d1")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("header", "slept", "tried"),
    [
        ("0", [0.2], 2),
        ("3", [3.0], 2),
        ("10", [10.0], 2),
        ("11", [], 1),
        ("3600", [], 1),
        ("soon", [0.2], 2),
        ("-5", [0.2], 2),
        ("Thu, 01 Jan 1970 00:00:00 GMT", [0.2], 2),
    ],
)
def test_retry_after_is_honoured_up_to_a_bound(header: str, slept: list[float], tried: int) -> None:
    time, script = Time(), Script(httpx.Response(429, headers={"Retry-After": header}), found())
    with client(script, time=time) as railway:
        if tried == 1:
            with pytest.raises(RateLimitError) as caught:
                railway.fetch_deployment("d1")
            assert caught.value.retry_after == float(header)
            assert header in str(caught.value.hint)
        else:
            railway.fetch_deployment("d1")
    assert (time.slept, len(script.requests)) == (slept, tried)


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    script = Script(httpx.Response(429, headers={"Retry-After": later}))
    with client(script) as railway, pytest.raises(RateLimitError) as caught:
        railway.fetch_deployment("d1")
    assert caught.value.retry_after == pytest.approx(3600, abs=60)


def test_pause_never_runs_past_the_deadline() -> None:
    time, script = Time(), Script(httpx.Response(429, headers={"Retry-After": "5"}))
    with client(script, time=time, timeout=4.0) as railway, pytest.raises(RateLimitError):
        railway.fetch_deployment("d1")
    assert (time.slept, len(script.requests)) == ([], 1)


def test_dripping_answer_meets_the_deadline() -> None:
    time = Time()

    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while True:
                time.now += 1.0
                yield b" "

    script = Script(httpx.Response(200, stream=Drip()))
    with client(script, time=time, timeout=7.0) as railway, pytest.raises(DeadlineError, match="within 7 s"):
        railway.fetch_deployment("d1")
    assert time.now == pytest.approx(108.0)


def test_endless_answer_is_cut() -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while True:
                yield bytes(1024 * 1024)

    with (
        client(Script(httpx.Response(200, stream=Endless()))) as railway,
        pytest.raises(ResponseError, match="larger than any should be"),
    ):
        railway.fetch_deployment("d1")


def test_answer_that_cannot_be_decoded_is_told() -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            yield b"no gzip at all"

    broken = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Broken())
    with client(Script(broken)) as railway, pytest.raises(ResponseError, match="cannot be decoded"):
        railway.fetch_deployment("d1")


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "tökén", "nul\0"])
def test_impossible_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        RailwayClient(token)
    assert "RAILWAY_TOKEN" in caught.value.message
    assert not token.strip() or token not in f"{caught.value.message}{caught.value.hint}"


def test_line_break_after_a_token_is_forgiven() -> None:
    script = Script(found())
    with RailwayClient(TOKEN + "\n", transport=httpx.MockTransport(script)) as railway:
        railway.fetch_deployment("d1")
    assert script.requests[0].headers["Project-Access-Token"] == TOKEN


@pytest.mark.parametrize(
    "url", ["", "railway.com", "ftp://railway.com", "https://", "http://[::1", "http://127.0.0.1:99999999"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the address"):
        RailwayClient(TOKEN, url=url)


def test_token_is_never_sent_in_the_clear() -> None:
    with pytest.raises(ConfigurationError, match="unencrypted"):
        RailwayClient(TOKEN, url="http://railway.example")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001", "http://localhost:8001/", "http://[::1]:8001"])
def test_loopback_needs_no_encryption(url: str) -> None:
    script = Script(found())
    with client(script, url=url) as railway:
        railway.fetch_deployment("d1")
    assert str(script.requests[0].url) == f"{url.rstrip('/')}/graphql/v2"


def test_upload_sends_the_archive_and_tells_progress(archive: Path) -> None:
    answer = {"deploymentId": "d9", "url": "u", "logsUrl": "l", "deploymentDomain": None}
    script, seen = Script(httpx.Response(200, json=answer)), list[tuple[int, int]]()
    with client(script) as railway:
        taken = railway.upload(
            archive, **PLACE, message="digest & ✓", on_progress=lambda sent, size: seen.append((sent, size))
        )
    assert taken == Upload("d9", "u", "l", None)
    request = script.requests[0]
    assert request.url.path == "/project/p/environment/e/up"
    assert dict(request.url.params) == {"serviceId": "s", "message": "digest & ✓"}
    assert request.headers["Content-Type"] == "application/gzip"
    assert request.headers["Content-Length"] == "200002"
    assert "Transfer-Encoding" not in request.headers
    assert request.content == archive.read_bytes()
    assert [sent for sent, _ in seen] == [65536, 131072, 196608, 200002]
    assert {size for _, size in seen} == {200002}


def test_upload_without_message_sends_none(archive: Path) -> None:
    script = Script(httpx.Response(200, json={"deploymentId": "d9"}))
    with client(script) as railway:
        railway.upload(archive, **PLACE, message=None)
    assert dict(script.requests[0].url.params) == {"serviceId": "s"}


def test_ids_cannot_change_the_path(archive: Path) -> None:
    script = Script(httpx.Response(200, json={"deploymentId": "d9"}))
    with client(script) as railway:
        railway.upload(archive, project_id="a/b?c", environment_id="#", service_id="s&t", message=None)
    assert script.requests[0].url.raw_path == b"/project/a%2Fb%3Fc/environment/%23/up?serviceId=s%26t"


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (httpx.Response(400, json={"message": "no Dockerfile"}), ResponseError, "refused: no Dockerfile"),
        (httpx.Response(401, json={"message": "Not Authorized"}), AuthenticationError, "RAILWAY_TOKEN"),
        (httpx.Response(404, json={"message": "there is no such service"}), ResponseError, "no such service"),
        (httpx.Response(413), ResponseError, "larger than backboard.railway.com takes"),
        (httpx.Response(413, json={"message": "200 MB is the most"}), ResponseError, "200 MB is the most"),
        (httpx.Response(429, headers={"Retry-After": "1"}), RateLimitError, "too often"),
        (httpx.Response(503), ResponseError, "503 Service Unavailable"),
        (httpx.Response(507, json={"message": "the disk is full"}), ResponseError, "the disk is full"),
        (httpx.Response(200, text="fine"), ResponseError, "not JSON"),
        (httpx.Response(200, json={"url": "u"}), ResponseError, "answer.deploymentId"),
        (httpx.ConnectError("refused"), PlatformError, "cannot connect"),
        (httpx.WriteTimeout("timed out"), DeadlineError, "within 300 s"),
        (httpx.ReadError("reset"), PlatformError, "broke: reset"),
    ],
)
def test_upload_is_never_sent_twice(
    archive: Path, fault: httpx.Response | Exception, kind: type[PlatformError], said: str
) -> None:
    script = Script(fault)
    with client(script) as railway, pytest.raises(PlatformError) as caught:
        railway.upload(archive, **PLACE, message=None)
    assert type(caught.value) is kind
    assert said in caught.value.message
    assert len(script.requests) == 1


def test_broken_upload_says_that_it_may_have_arrived(archive: Path) -> None:
    with client(Script(httpx.ReadError("reset"))) as railway, pytest.raises(PlatformError) as caught:
        railway.upload(archive, **PLACE, message=None)
    assert "invoke releases" in str(caught.value.hint)


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with client(Script(found())) as railway, pytest.raises(PlatformError, match="cannot be read: No such file"):
        railway.upload(tmp_path / "absent.tar.gz", **PLACE, message=None)


def test_archive_that_shrinks_while_being_sent_is_told(archive: Path) -> None:
    def shrink(_sent: int, _size: int) -> None:
        archive.write_bytes(b"")

    with client(Script(found())) as railway, pytest.raises(PlatformError, match="became shorter"):
        railway.upload(archive, **PLACE, message=None, on_progress=shrink)


def test_upload_that_takes_too_long_is_given_up(archive: Path) -> None:
    time = Time()

    def slow(_sent: int, _size: int) -> None:
        time.now += 100.0

    with client(Script(found()), time=time) as railway, pytest.raises(DeadlineError, match="131072 of 200002 bytes"):
        railway.upload(archive, **PLACE, message=None, on_progress=slow, timeout=150.0)
