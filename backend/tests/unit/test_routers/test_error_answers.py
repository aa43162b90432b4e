import json
import uuid

import httpx
import jwt
import pytest
from sqlalchemy.exc import OperationalError

from app.application import create_app
from app.db import DatabaseUnavailableError
from app.errors import ApiError, problem
from app.security import Identity

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.maya.test"
KEY = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def app(make_settings):
    app = create_app(make_settings(cors_origins=ORIGIN, jwt_secret_key=KEY))

    @app.get("/bug")
    async def bug():
        raise RuntimeError("postgresql://u:hunter22@h/db")

    @app.get("/outage")
    async def outage():
        raise OperationalError("SELECT 1", {}, Exception("connection to 10.0.0.7 refused"))

    @app.get("/number")
    async def number(value: int):
        return value

    return app


@pytest.fixture
async def client(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
        yield client


def assert_problem(response, status, code):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"].endswith(code.replace("_", "-"))
    assert body["error"] == code
    assert body["detail"] == body["message"]
    assert body["title"]
    assert body["action"]
    assert body["instance"] == response.request.url.path
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def test_an_unknown_address_is_a_problem(client):
    assert_problem(await client.get("/api/nothing?x=1"), 404, "not_found")


async def test_a_wrong_method_names_the_right_ones(client):
    response = await client.delete("/api/business/me")

    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, PUT"


async def test_a_bug_shows_its_id_and_nothing_of_the_inside(client, caplog):
    response = await client.get("/bug", headers={"X-Request-ID": "trace-1", "Origin": ORIGIN})

    body = assert_problem(response, 500, "internal_error")
    assert "trace-1" in body["action"]
    assert "RuntimeError" not in response.text
    assert "hunter22" not in response.text
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


async def test_an_outage_of_the_database_asks_to_try_again(client):
    response = await client.get("/outage")

    assert_problem(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert "10.0.0.7" not in response.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"email":', 400, "malformed_json"),
        (b'{"email":"\xff"}', 400, "malformed_json"),
        (b'{"email":' + b"9" * 5000 + b"}", 400, "malformed_json"),
        (b"[" * 30_000, 400, "malformed_json"),
        (b"x" * 70_000, 413, "content_too_large"),
        (b"", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (b"{}", 422, "validation_failed"),
        (b'{"email":"a@maya.test","password":7}', 422, "validation_failed"),
        (b'{"email":"not-an-address","password":"hunter22"}', 422, "validation_failed"),
        (b'{"email":"a@maya.test\\u0000","password":"hunter22"}', 422, "validation_failed"),
        (b'{"email":"a@maya.test","password":"hunter22\\u0000"}', 422, "validation_failed"),
        (b'{"email":"a@maya.test","password":"\\ud800"}', 422, "validation_failed"),
        (b'{"email":"a@maya.test","password":"hunter22","admin":true}', 422, "validation_failed"),
        (b'{"\\ud800":1}', 422, "validation_failed"),
        (b'{"email":"a@maya.test","password":NaN}', 422, "validation_failed"),
    ],
)
async def test_bad_input_is_a_problem_and_is_not_repeated(client, body, status, code):
    response = await client.post("/api/auth/login", content=body, headers={"Content-Type": "application/json"})

    assert_problem(response, status, code)
    assert "hunter22" not in response.text


@pytest.mark.parametrize("template", [b"%s", b'{"email":%s}', b'{"extra":%s}'])
async def test_deep_nesting_is_refused(client, template):
    body = template % (b"[" * 30_000 + b"]" * 30_000)

    response = await client.post("/api/auth/login", content=body, headers={"Content-Type": "application/json"})

    # Whether this much nesting is still JSON depends on the version of Python.
    assert response.status_code in {400, 422}
    assert response.json()["error"] in {"malformed_json", "validation_failed"}


async def test_each_field_at_fault_is_listed(client):
    response = await client.post("/api/auth/login", json={"email": "x", "extra": 1})

    errors = assert_problem(response, 422, "validation_failed")["errors"]
    assert [error["location"] for error in errors] == ["body.email", "body.password", "body.extra"]
    assert all(error["message"] and error["code"] for error in errors)


@pytest.mark.parametrize("value", ["x", "1" * 5000, "1.5", ""])
async def test_a_bad_query_is_a_problem(client, value):
    assert_problem(await client.get("/number", params={"value": value}), 422, "validation_failed")


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x.y.z",
        "Basic dTpw",
        "Bearer " + jwt.encode({"sub": "x"}, None, algorithm="none"),
        b"Bearer \xff\xfe",
    ],
)
async def test_without_a_valid_token_nothing_is_shown(client, method, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await client.request(method, "/api/business/me", headers=headers, json={} if method == "PUT" else None)

    assert_problem(response, 401, "not_authenticated")
    assert response.headers["www-authenticate"].startswith("Bearer ")


async def test_a_valid_token_without_a_database_is_an_outage(app, client):
    token = app.state.parts.authenticator.tokens.issue(Identity(uuid.uuid4(), uuid.uuid4()))

    response = await client.get("/api/business/me", headers={"Authorization": f"Bearer {token}"})

    assert_problem(response, 503, "database_unavailable")
    await app.state.parts.database.close()


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/live"), ("GET", "/nope"), ("GET", "/bug")])
async def test_every_answer_carries_the_security_headers(client, method, path):
    response = await client.request(method, path)

    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://evil.test", None)])
async def test_only_configured_origins_may_call(client, origin, allowed):
    preflight = await client.options(
        "/api/business/me", headers={"Origin": origin, "Access-Control-Request-Method": "PUT"}
    )

    assert preflight.headers.get("access-control-allow-origin") == allowed
    assert preflight.headers["x-request-id"]


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": "https://evil.test", "Access-Control-Request-Method": "PUT"},
        {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"},
        {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "X-Other"},
    ],
    ids=["origin", "method", "headers"],
)
async def test_a_page_that_may_not_ask_is_told_so_as_a_problem(client, asked):
    response = await client.options("/api/business/me", headers=asked)

    assert_problem(response, 400, "cross_origin_refused")
    assert response.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
    assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize(
    ("status", "title"), [(404, "Not Found"), (413, "Content Too Large"), (414, "URI Too Long"), (431, None)]
)
def test_titles_are_those_of_rfc_9110(status, title):
    answer = problem(ApiError(status, "code", "What.", action="How."), instance="/")

    assert json.loads(answer.body)["title"] == (title or "Request Header Fields Too Large")


async def test_a_server_without_its_database_says_so_and_stops(make_settings):
    app = create_app(make_settings(database_startup_timeout=0))
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    assert sent[0]["type"] == "lifespan.startup.failed"
    assert sent[0]["message"].startswith("The backend cannot start: the database at maya@127.0.0.1:1/maya")
    assert "Traceback" not in sent[0]["message"]
    assert DatabaseUnavailableError.__name__ not in sent[0]["message"]


async def test_an_address_with_a_slash_too_many_is_not_found_and_leads_nowhere(client):
    response = await client.get("/api/business/me/", headers={"Host": "evil.example"})

    assert_problem(response, 404, "not_found")
    assert "location" not in response.headers
