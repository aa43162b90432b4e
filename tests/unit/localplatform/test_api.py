import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from fairlead.exceptions import PlatformError
from fairlead.localplatform.api import make_api
from fairlead.localplatform.records import LogLine, Step
from fairlead.localplatform.traffic import Traffic
from tests.platform_double import ENVIRONMENT, PROJECT, SERVICE, TOKEN, PlatformDouble, deployment

UP = f"/project/{PROJECT}/environment/{ENVIRONMENT}/up"
GZIP = b"\x1f\x8b" + b"archive" * 100
AUTHORIZED = {"Project-Access-Token": TOKEN}


@pytest.fixture
def platform(tmp_path: Path) -> PlatformDouble:
    return PlatformDouble(
        tmp_path / "incoming",
        deployment(1, "REMOVED", message="first"),
        deployment(2, "FAILED"),
        deployment(3, "SUCCESS", message="third"),
    )


def ask(
    platform: PlatformDouble,
    method: str,
    path: str,
    *,
    host: str = "127.0.0.1:4321",
    limits: dict[str, Any] | None = None,
    **request: Any,
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(make_api(platform, **(limits or {})), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=AUTHORIZED) as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def query(platform: PlatformDouble, document: str, **variables: Any) -> dict[str, Any]:
    answer = ask(platform, "POST", "/graphql/v2", json={"query": document, "variables": variables})
    assert answer.status_code == 200
    parsed: dict[str, Any] = answer.json()
    return parsed


def upload(platform: PlatformDouble, content: Any = GZIP, **request: Any) -> httpx.Response:
    request = {"params": {"serviceId": SERVICE, "message": "m"}, **request}
    return ask(platform, "POST", request.pop("path", UP), content=content, **request)


def kept(platform: PlatformDouble) -> list[Path]:
    return list(platform.incoming.iterdir()) if platform.incoming.exists() else []


async def chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_health_needs_no_token(platform: PlatformDouble) -> None:
    answer = ask(platform, "GET", "/health", headers={"Project-Access-Token": ""})
    assert (answer.status_code, answer.json()) == (200, {"status": "pass"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:4321", "[::1]:4321", "LOCALHOST"])
def test_loopback_hosts_are_served(platform: PlatformDouble, host: str) -> None:
    assert ask(platform, "GET", "/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "192.0.2.1"])
@pytest.mark.parametrize("path", ["/health", "/graphql/v2", UP])
def test_other_hosts_are_refused(platform: PlatformDouble, host: str, path: str) -> None:
    answer = ask(platform, "POST", path, headers={"Host": host}, content=GZIP)
    assert answer.status_code == 400
    assert platform.received == []


def test_unknown_path_and_method_answer_in_json(platform: PlatformDouble) -> None:
    assert ask(platform, "GET", "/nowhere").json() == {"message": "Not Found"}
    assert ask(platform, "GET", "/graphql/v2").json() == {"message": "Method Not Allowed"}


def test_project_token_tells_where_it_belongs(platform: PlatformDouble) -> None:
    document = """{ projectToken { projectId environmentId environment { name }
                    project { name services(first: 5) { edges { node { id name } } } } } }"""
    assert query(platform, document) == {
        "data": {
            "projectToken": {
                "projectId": PROJECT,
                "environmentId": ENVIRONMENT,
                "environment": {"name": "local"},
                "project": {"name": "maya", "services": {"edges": [{"node": {"id": SERVICE, "name": "maya-backend"}}]}},
            }
        }
    }


LIST = """query list($input: DeploymentListInput!, $first: Int, $after: String, $last: Int, $before: String) {
  deployments(input: $input, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@pytest.mark.parametrize(
    ("variables", "numbers"),
    [
        ({"input": {}}, [3, 2, 1]),
        ({"input": {"projectId": PROJECT, "environmentId": ENVIRONMENT, "serviceId": SERVICE}}, [3, 2, 1]),
        ({"input": {"serviceId": None}}, [3, 2, 1]),
        ({"input": {"status": {"in": ["SUCCESS", "REMOVED"]}}}, [3, 1]),
        ({"input": {"status": {"notIn": ["FAILED"]}}}, [3, 1]),
        ({"input": {"status": {"in": []}}}, []),
        ({"input": {}, "first": 2}, [3, 2]),
        ({"input": {}, "first": 0}, []),
        ({"input": {}, "first": 1, "after": "deployment-3"}, [2]),
        ({"input": {}, "last": 1}, [1]),
        ({"input": {}, "before": "deployment-1", "last": 1}, [2]),
    ],
)
def test_deployments_are_filtered_and_paged(
    platform: PlatformDouble, variables: dict[str, Any], numbers: list[int]
) -> None:
    found = query(platform, LIST, **variables)["data"]["deployments"]
    assert [edge["node"]["id"] for edge in found["edges"]] == [f"deployment-{number}" for number in numbers]


def test_page_tells_of_its_neighbours(platform: PlatformDouble) -> None:
    page = query(platform, LIST, input={}, first=1, after="deployment-3")["data"]["deployments"]["pageInfo"]
    cursor = "deployment-2"
    assert page == {"hasNextPage": True, "hasPreviousPage": True, "startCursor": cursor, "endCursor": cursor}


def test_deployment_carries_its_facts_and_message(platform: PlatformDouble) -> None:
    document = """query($id: String!) { deployment(id: $id) {
      id status meta diagnosis createdAt deploymentStopped canRollback url service { name } serviceId } }"""
    assert query(platform, document, id="deployment-3")["data"]["deployment"] == {
        "id": "deployment-3",
        "status": "SUCCESS",
        "meta": {"reason": "deploy", "cliMessage": "third"},
        "diagnosis": None,
        "createdAt": "2026-01-01T00:00:03.000000Z",
        "deploymentStopped": False,
        "canRollback": False,
        "url": "http://127.0.0.1:8000",
        "service": {"name": "maya-backend"},
        "serviceId": SERVICE,
    }


LOGS = """query($limit: Int, $startDate: DateTime, $endDate: DateTime, $filter: String) {
  deploymentLogs(deploymentId: "deployment-3", limit: $limit, startDate: $startDate, endDate: $endDate, filter: $filter)
  { message severity tags { deploymentId } } }"""


@pytest.mark.parametrize(
    ("variables", "messages"),
    [
        ({}, ["zero", "one", "two"]),
        ({"limit": 2}, ["one", "two"]),
        ({"startDate": "2026-01-01T00:00:00Z"}, ["one", "two"]),
        ({"startDate": "2026-01-01T01:00:00+01:00"}, ["one", "two"]),
        ({"endDate": "2026-01-01T00:00:01Z"}, ["zero", "one"]),
        ({"filter": "o", "limit": 1}, ["two"]),
        ({"filter": "zero", "limit": 1}, ["zero"]),
        ({"filter": ""}, ["zero", "one", "two"]),
    ],
)
def test_logs_are_cut_to_what_is_asked(
    platform: PlatformDouble, variables: dict[str, Any], messages: list[str]
) -> None:
    platform.lines = [
        LogLine(f"2026-01-01T00:00:0{index}.000000Z", text, "info", "deploy")
        for index, text in enumerate(("zero", "one", "two"))
    ]
    platform.lines.append(LogLine("2026-01-01T00:00:09.000000Z", "built", "info", "build"))
    assert [line["message"] for line in query(platform, LOGS, **variables)["data"]["deploymentLogs"]] == messages
    built = query(platform, '{ buildLogs(deploymentId: "deployment-3") { message } }')
    assert built == {"data": {"buildLogs": [{"message": "built"}]}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{ projectToken { ", "Syntax Error"),
        ("{ nonsense }", "Cannot query field 'nonsense'"),
        ('{ deployment(id: "none") { id } }', "Deployment not found"),
        ('{ deploymentLogs(deploymentId: "none") { message } }', "Deployment not found"),
        ('{ deployments(input: {projectId: "other"}) { edges { cursor } } }', "Project not found"),
        ('{ deployments(input: {environmentId: "other"}) { edges { cursor } } }', "Environment not found"),
        ('{ deployments(input: {serviceId: "other"}) { edges { cursor } } }', "Service not found"),
        ("{ deployments(input: {}, first: -1) { edges { cursor } } }", "must not be negative"),
        ("{ deployments(input: {status: {in: [WRONG]}}) { edges { cursor } } }", "WRONG"),
        ('{ buildLogs(deploymentId: "deployment-1", limit: 0) { message } }', "between 1 and 5000"),
        ('{ buildLogs(deploymentId: "deployment-1", limit: 5001) { message } }', "between 1 and 5000"),
        ('{ buildLogs(deploymentId: "deployment-1", startDate: "yesterday") { message } }', "date-time"),
        ('{ buildLogs(deploymentId: "deployment-1", startDate: "2026-01-01T00:00:00") { message } }', "date-time"),
        ("query a { projectToken { id } } query b { projectToken { id } }", "operation name"),
        ("{ a: " * 3000, ""),
    ],
)
def test_wrong_documents_are_answered_with_errors(platform: PlatformDouble, document: str, said: str) -> None:
    answer = query(platform, document)
    assert answer["data"] is None
    assert said in answer["errors"][0]["message"]


def test_operation_is_chosen_by_name(platform: PlatformDouble) -> None:
    document = "query a { projectToken { projectId } } query b { projectToken { environmentId } }"
    answer = ask(platform, "POST", "/graphql/v2", json={"query": document, "operationName": "b"})
    assert answer.json() == {"data": {"projectToken": {"environmentId": ENVIRONMENT}}}


def test_introspection_works(platform: PlatformDouble) -> None:
    assert query(platform, "{ __schema { queryType { name } } }") == {
        "data": {"__schema": {"queryType": {"name": "Query"}}}
    }


def test_a_fault_of_the_platform_is_logged_and_not_shown(
    platform: PlatformDouble, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*, limit: int, service_id: str | None = None) -> list[Any]:
        raise RuntimeError(f"secret detail {limit}")

    platform.deployments = fail  # type: ignore[method-assign]  # the fault of this test
    answer = query(platform, LIST, input={})
    assert answer["errors"][0]["message"] == "Problem processing request"
    assert "secret detail" not in json.dumps(answer)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"query": 1}', b"[" * 100_000])
def test_malformed_requests_are_refused(platform: PlatformDouble, body: bytes) -> None:
    answer = ask(platform, "POST", "/graphql/v2", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith("the request")


@pytest.mark.parametrize("wrong", [{"variables": []}, {"operationName": 1}])
def test_malformed_members_are_refused(platform: PlatformDouble, wrong: dict[str, Any]) -> None:
    assert ask(platform, "POST", "/graphql/v2", json={"query": "{ __typename }", **wrong}).status_code == 400


def test_oversized_query_is_refused(platform: PlatformDouble) -> None:
    answer = ask(platform, "POST", "/graphql/v2", json={"query": " " * 300_000})
    assert answer.status_code == 413


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "tökén"])
def test_wrong_token_is_refused_everywhere(platform: PlatformDouble, token: str) -> None:
    headers = {"Project-Access-Token": token.encode()}
    answer = ask(platform, "POST", "/graphql/v2", json={"query": "{ __typename }"}, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"data": None, "errors": [{"message": "Not Authorized"}]})
    assert upload(platform, headers=headers).status_code == 401
    assert platform.received == []
    place = f"/project/{PROJECT}/environment/{ENVIRONMENT}/deployment/deployment-1/logs"
    assert ask(platform, "GET", place, headers=headers).status_code == 401


def test_upload_is_handed_over_and_answered(platform: PlatformDouble) -> None:
    answer = upload(platform, params={"serviceId": SERVICE, "message": "digest & more ✓"})
    assert answer.status_code == 200
    assert answer.json() == {
        "deploymentId": "deployment-4",
        "url": "http://127.0.0.1:8000",
        "logsUrl": f"http://127.0.0.1:4321{UP.removesuffix('/up')}/deployment/deployment-4/logs",
        "deploymentDomain": "127.0.0.1:8000",
    }
    assert platform.received == [(GZIP, "digest & more ✓")]
    assert kept(platform) == []


def test_upload_without_service_and_message_goes_to_the_only_service(platform: PlatformDouble) -> None:
    assert upload(platform, params={}).status_code == 200
    assert platform.received == [(GZIP, None)]


def test_upload_in_single_bytes_arrives_whole(platform: PlatformDouble) -> None:
    assert upload(platform, chunks(bytes([byte]) for byte in GZIP)).status_code == 200
    assert platform.received[0][0] == GZIP


def test_logs_url_serves_the_log(platform: PlatformDouble) -> None:
    platform.lines = [LogLine("2026-01-01T00:00:00Z", "hello", "info", "build")]
    place = httpx.URL(upload(platform).json()["logsUrl"]).path
    assert ask(platform, "GET", place).text == "2026-01-01T00:00:00Z build  hello\n"
    assert ask(platform, "GET", place.replace("deployment-4", "none")).status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"path": UP.replace(PROJECT, "other")}, 404, "no such project"),
        ({"path": UP.replace(ENVIRONMENT, "other")}, 404, "no such environment"),
        ({"params": {"serviceId": "other"}}, 404, "no such service"),
        ({"params": {"message": "x" * 5000}}, 400, "longer than 4096"),
        ({"content": b""}, 400, "no gzip archive"),
        ({"content": b"\x1f"}, 400, "no gzip archive"),
        ({"content": b"PK\x03\x04" + b"zip" * 5000}, 400, "no gzip archive"),
        ({"content": GZIP, "limits": {"largest_upload": 100}}, 413, "larger than"),
    ],
)
def test_refused_uploads_say_why_and_leave_nothing(
    platform: PlatformDouble, change: dict[str, Any], status: int, said: str
) -> None:
    answer = upload(platform, **change)
    assert answer.status_code == status
    assert said in answer.json()["message"]
    assert (platform.received, kept(platform)) == ([], [])


def test_upload_of_undeclared_size_is_bounded(platform: PlatformDouble) -> None:
    answer = upload(platform, chunks([GZIP] * 10), limits={"largest_upload": len(GZIP) * 9})
    assert (answer.status_code, kept(platform)) == (413, [])


class RefusingFile:
    """A file on a disk that takes nothing."""

    def __init__(self, number: int) -> None:
        self._error = OSError(number, "the disk says no")

    def write(self, _data: bytes) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def close(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(errno.ENOSPC, 507, "is full"), (errno.EDQUOT, 507, "is full"), (errno.EIO, 500, "cannot be kept")],
)
def test_disk_faults_while_receiving_are_told(
    platform: PlatformDouble, monkeypatch: pytest.MonkeyPatch, number: int, status: int, said: str
) -> None:
    def open_refusing(descriptor: int, _mode: str) -> IO[bytes] | RefusingFile:
        os.close(descriptor)
        return RefusingFile(number)

    monkeypatch.setattr(os, "fdopen", open_refusing)
    answer = upload(platform)
    assert answer.status_code == status
    assert said in answer.json()["message"]
    assert kept(platform) == []


def test_incoming_folder_that_cannot_be_made_is_told(platform: PlatformDouble, tmp_path: Path) -> None:
    platform.incoming = tmp_path / "file" / "incoming"
    platform.incoming.parent.write_text("in the way")
    answer = upload(platform)
    assert answer.status_code == 500
    assert "cannot be kept in" in answer.json()["message"]


def test_platform_that_refuses_an_archive_is_quoted(platform: PlatformDouble) -> None:
    platform.refuse = PlatformError("the state cannot be written", hint="make room")
    answer = upload(platform)
    assert (answer.status_code, answer.json()) == (500, {"message": "the state cannot be written; make room"})
    assert kept(platform) == []


def test_fault_while_taking_an_archive_shows_no_internals(platform: PlatformDouble) -> None:
    platform.refuse = RuntimeError("secret detail")
    answer = upload(platform)
    assert answer.status_code == 500
    assert "invoke platform.logs" in answer.json()["message"]
    assert "secret detail" not in answer.text
    assert kept(platform) == []


async def call_raw(platform: PlatformDouble, events: list[dict[str, Any]], **limits: Any) -> list[dict[str, Any]]:
    """Send ASGI events of our own making; after the last one nothing comes any more."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if events:
            return events.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "scheme": "http",
        "path": UP,
        "raw_path": UP.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"project-access-token", TOKEN.encode())],
        "server": ("127.0.0.1", 80),
    }
    await make_api(platform, **limits)(scope, receive, send)
    return sent


def test_client_that_goes_away_leaves_nothing_behind(platform: PlatformDouble) -> None:
    begun = {"type": "http.request", "body": GZIP, "more_body": True}
    sent = asyncio.run(call_raw(platform, [begun, begun, {"type": "http.disconnect"}]))
    assert sent[0]["status"] == 400
    assert (platform.received, kept(platform)) == ([], [])


def test_client_that_falls_silent_is_given_up(platform: PlatformDouble) -> None:
    sent = asyncio.run(call_raw(platform, [{"type": "http.request", "body": GZIP, "more_body": True}], silence=0.01))
    assert sent[0]["status"] == 408
    assert (platform.received, kept(platform)) == ([], [])


@pytest.mark.parametrize("steps", range(12))
def test_cancelled_upload_leaves_nothing_behind(platform: PlatformDouble, steps: int) -> None:
    async def cancel() -> None:
        begun = {"type": "http.request", "body": GZIP, "more_body": True}
        task = asyncio.create_task(call_raw(platform, [begun]))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert (platform.received, kept(platform)) == ([], [])


def test_cancelled_upload_removes_what_it_began(platform: PlatformDouble) -> None:
    seen: list[Path] = []

    async def cancel() -> None:
        waiting = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield GZIP
            waiting.set()
            await asyncio.Event().wait()

        transport = httpx.ASGITransport(make_api(platform))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=AUTHORIZED) as client:
            task = asyncio.create_task(client.post(UP, content=endless()))
            await waiting.wait()
            seen.extend(kept(platform))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert len(seen) == 1
    assert kept(platform) == []


# --- what is asked of deployments besides their status ---

CHANGES = {"cancel": "deploymentCancel", "roll back": "deploymentRollback"}


@pytest.mark.parametrize("field", CHANGES.values(), ids=CHANGES)
def test_change_of_an_unknown_deployment_is_refused(platform: PlatformDouble, field: str) -> None:
    answer = query(platform, f"mutation($id: String!) {{ {field}(id: $id) }}", id="deployment-9")
    assert [error["message"] for error in answer["errors"]] == ["Deployment not found"]


def test_rollback_and_cancel_reach_the_platform(platform: PlatformDouble) -> None:
    assert query(platform, 'mutation { deploymentRollback(id: "deployment-1") }')["data"]["deploymentRollback"]
    assert platform.rolled_back == ["deployment-1"]
    assert query(platform, 'mutation { deploymentCancel(id: "deployment-3") }')["data"]["deploymentCancel"]
    assert query(platform, '{ deployment(id: "deployment-3") { status } }')["data"]["deployment"]["status"] == "REMOVED"
    platform.refuse = PlatformError("deployment deployment-1 cannot be rolled back to")
    refused = query(platform, 'mutation { deploymentRollback(id: "deployment-1") }')
    assert [error["message"] for error in refused["errors"]] == ["deployment deployment-1 cannot be rolled back to"]


def test_steps_are_told_with_their_errors(platform: PlatformDouble) -> None:
    platform.events = [
        Step("1", "BUILD_IMAGE", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"),
        Step("2", "HEALTHCHECK", "2026-01-01T00:00:02Z", None, "it said nothing"),
    ]
    document = '{ deploymentEvents(id: "deployment-3") { edges { node { step completedAt payload { error } } } } }'
    edges = query(platform, document)["data"]["deploymentEvents"]["edges"]
    assert [(edge["node"]["step"], edge["node"]["payload"]["error"]) for edge in edges] == [
        ("BUILD_IMAGE", None),
        ("HEALTHCHECK", "it said nothing"),
    ]


PLACE = f'projectId: "{PROJECT}", environmentId: "{ENVIRONMENT}", serviceId: "{SERVICE}"'


def test_variables_are_told_by_name_and_never_by_value(platform: PlatformDouble) -> None:
    answer = query(platform, f"{{ variables({PLACE}) }}")["data"]["variables"]
    assert sorted(answer) == ["DATABASE_URL", "PORT"]
    assert len(set(answer.values())) == 1


def test_settings_are_told_and_not_changed(platform: PlatformDouble) -> None:
    platform.instance = {"healthcheckPath": "/api/health", "restartPolicyMaxRetries": 3}
    place = f'environmentId: "{ENVIRONMENT}", serviceId: "{SERVICE}"'
    document = f"{{ serviceInstance({place}) {{ healthcheckPath overlapSeconds restartPolicyMaxRetries }} }}"
    assert query(platform, document)["data"]["serviceInstance"] == {
        "healthcheckPath": "/api/health",
        "overlapSeconds": None,
        "restartPolicyMaxRetries": 3,
    }
    refused = query(platform, f"mutation {{ serviceInstanceUpdate({place}, input: {{overlapSeconds: 5}}) }}")
    assert "railway.json in its bundle" in refused["errors"][0]["message"]


def test_a_project_tells_its_environments_and_services(platform: PlatformDouble) -> None:
    document = """query($id: String!) { project(id: $id) { name
      environments { edges { node { id name } } } services { edges { node { id name } } } } }"""
    project = query(platform, document, id=PROJECT)["data"]["project"]
    assert project["environments"]["edges"] == [{"node": {"id": ENVIRONMENT, "name": "local"}}]
    assert project["services"]["edges"] == [{"node": {"id": SERVICE, "name": "maya-backend"}}]
    assert query(platform, document, id="another")["errors"][0]["message"] == "Project not found"


TRAFFIC = f"""query($since: DateTime!, $until: DateTime!, $step: Int) {{
  httpMetricsGroupedByStatus(
    environmentId: "{ENVIRONMENT}", serviceId: "{SERVICE}", startDate: $since, endDate: $until, stepSeconds: $step
  ) {{ statusCode samples {{ ts value }} }}
  httpDurationMetrics(
    environmentId: "{ENVIRONMENT}", serviceId: "{SERVICE}", startDate: $since, endDate: $until, stepSeconds: $step
  ) {{ samples {{ ts p95 }} }}
}}"""


def test_traffic_is_told_by_status_and_with_its_durations(platform: PlatformDouble) -> None:
    platform.traffic = Traffic(clock=lambda: 1_000_000.0)
    for status in (200, 200, 500):
        platform.traffic.record("deployment-3", status, 0.1)
    moment = {"since": "1970-01-12T13:46:00Z", "until": "1970-01-12T13:47:00Z"}
    found = query(platform, TRAFFIC, **moment, step=60)["data"]
    counts = {group["statusCode"]: group["samples"][0]["value"] for group in found["httpMetricsGroupedByStatus"]}
    assert counts == {200: 2, 500: 1}
    assert found["httpDurationMetrics"]["samples"][0]["p95"] == pytest.approx(100, rel=0.05)
    assert "at least 1" in query(platform, TRAFFIC, **moment, step=0)["errors"][0]["message"]


def test_traffic_of_one_release_is_told_in_the_same_shape(platform: PlatformDouble) -> None:
    platform.traffic = Traffic(clock=lambda: 1_000_000.0)
    platform.traffic.record("deployment-3", 200, 0.1)
    platform.traffic.record("deployment-1", 500, 0.1)
    place = f"/project/{PROJECT}/environment/{ENVIRONMENT}/deployment"
    period = {"since": "999999", "until": "1000001", "step": "1"}
    answer = ask(platform, "POST", f"{place}/deployment-3/traffic", params=period)
    assert [group["statusCode"] for group in answer.json()["httpMetricsGroupedByStatus"]] == [200]
    assert ask(platform, "POST", f"{place}/deployment-3/traffic", params={"since": "now"}).status_code == 400
    assert ask(platform, "POST", f"{place}/deployment-9/traffic", params=period).status_code == 404


def test_a_canary_is_settled_by_those_who_may(platform: PlatformDouble) -> None:
    place = f"/project/{PROJECT}/environment/{ENVIRONMENT}/deployment/deployment-3/canary"
    assert ask(platform, "POST", place, params={"take-over": "true"}).status_code == 200
    assert ask(platform, "POST", place).status_code == 200
    assert platform.settled == [("deployment-3", True), ("deployment-3", False)]
    stranger = ask(platform, "POST", place, headers={"Project-Access-Token": "another"})
    assert (stranger.status_code, len(platform.settled)) == (401, 2)


@pytest.mark.parametrize("share", ["0", "100", "-5", "ten", "1e1", ""])
def test_a_share_that_is_none_is_refused(platform: PlatformDouble, share: str) -> None:
    answer = upload(platform, params={"serviceId": SERVICE, "canary": share})
    assert (answer.status_code, "percentage from 1 to 99" in answer.text) == (400, True)
    assert platform.received == []
