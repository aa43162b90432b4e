"""What every answer has in common: limits, headers, figures and logs, on the real application."""

import io
import json
import logging
import re
import secrets
import uuid

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from app.application import create_app
from app.logs import JsonFormatter
from app.middleware import HEADERS_STATE
from app.models.tables import User
from app.security import Identity, Passwords
from backend.tests.integration.quick import use_passwords

pytestmark = pytest.mark.anyio

STRICT = {
    "environment": "production",
    "jwt_secret_key": "Zk3v9QpL1xT7mB5sR2wY8nC4hJ6gD0fA",  # pragma: allowlist secret - of this test alone
    "encryption_key": "d1uXhZ0mG4sQy7RkVb9TjE2oNcL5aWfP8iKzMtU3xHg=",
    "public_url": "https://maya.example",
}
IDENTITY = Identity(uuid.uuid4(), uuid.uuid4())
NOWHERE = "postgresql://u:Zq81-x@127.0.0.1:1/db"


def client_of(app, **kwargs):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **kwargs), base_url="http://maya.test")


async def test_a_user_who_asks_too_often_is_told_when_to_come_back(database_url, make_settings, authorized):
    app = create_app(make_settings(database_url=database_url, rate_limit="3/day", health_cache_seconds=0))
    other = app.state.parts.authenticator.tokens
    async with client_of(app) as client:
        answers = [await client.get("/api/business/me") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        refused = answers[-1]
        assert refused.json()["error"] == "too_many_requests"
        assert refused.headers["content-type"] == "application/problem+json"
        assert 0 < int(refused.headers["retry-after"]) <= 86400
        assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=86400'
        assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert answers[0].headers["ratelimit"].startswith('"requests";r=2;t=')
        # A forged address or token is no new client; a user with a token of ours is one.
        for forged in ({"X-Forwarded-For": "198.51.100.7"}, {"Authorization": "Bearer made.up.token"}):
            assert (await client.get("/api/business/me", headers=forged)).status_code == 429
        user = {"Authorization": f"Bearer {other.issue(IDENTITY)}"}
        assert (await client.get("/api/business/me", headers=user)).status_code == 401
        for path in ("/api/live", "/api/health", "/metrics"):
            assert {(await client.get(path)).status_code for _ in range(5)} == {200}
    await app.state.parts.database.close()


async def test_attempts_to_log_in_are_limited_by_address(database_url, make_settings, account):
    app = create_app(make_settings(database_url=database_url, rate_limit="off", rate_limit_login="2/day"))

    async def attempt(address, email):
        async with client_of(app, client=(address, 1)) as client:
            return await client.post("/api/auth/login", json={"email": email, "password": "wrong-password"})

    answers = [await attempt("192.0.2.1", f"{number}@maya.test") for number in range(3)]
    elsewhere = await attempt("192.0.2.2", account.email)
    await app.state.parts.database.close()

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert answers[-1].headers["ratelimit-policy"].startswith('"logins";q=2;')
    assert elsewhere.status_code == 401


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/api/business/me?" + "x" * 8200, {}, 414, "address_too_long"),
        ("/api/business/me", {"X-Large": "x" * 33_000}, 431, "headers_too_large"),
        ("/api/business/me", {f"X-{number}": "1" for number in range(101)}, 431, "headers_too_large"),
    ],
    ids=["address", "large-header", "many-headers"],
)
async def test_a_head_that_is_too_large_is_refused(client, path, headers, status, code):
    response = await client.get(path, headers=headers)

    assert (response.status_code, response.json()["error"]) == (status, code)


@pytest.mark.parametrize("path", ["/api/live", "/api/business/me", "/nowhere", "/metrics"])
async def test_every_answer_has_the_headers_that_browsers_are_to_obey(make_settings, path):
    async with client_of(create_app(make_settings(**STRICT, database_url=NOWHERE))) as client:
        headers = (await client.get(path)).headers

    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert "geolocation=()" in headers["permissions-policy"]
    assert headers["x-request-id"]
    names = [name for name, _ in headers.multi_items()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("values", "authorization", "status"),
    [
        ({}, None, 200),
        ({"metrics_token": "5f1c93be07a24d8e"}, None, 401),
        ({"metrics_token": "5f1c93be07a24d8e"}, "Bearer 5f1c93be07a24d8E", 401),
        ({"metrics_token": "5f1c93be07a24d8e"}, "Bearer ü", 401),
        ({"metrics_token": "5f1c93be07a24d8e"}, "Bearer 5f1c93be07a24d8e", 200),
        ({**STRICT, "database_url": NOWHERE}, None, 404),
        ({**STRICT, "database_url": NOWHERE, "metrics_token": "5f1c93be07a24d8e"}, "Bearer 5f1c93be07a24d8e", 200),
    ],
)
async def test_figures_are_for_those_who_have_the_token(make_settings, values, authorization, status):
    headers = {"Authorization": authorization.encode()} if authorization else {}
    async with client_of(create_app(make_settings(**values))) as client:
        response = await client.get("/metrics", headers=headers)

    assert response.status_code == status
    assert ("maya_requests_in_flight" in response.text) is (status == 200)


def figure(text, name, **labels):
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name and wanted <= set((found[2] or "").split(",")):
            return float(found[3])
    return 0.0


async def test_requests_are_counted_by_route_and_never_by_path(client, authorized, account):
    before = (await client.get("/metrics")).text
    for number in range(3):
        await client.get("/api/business/me", headers=authorized)
        await client.get(f"/{account.tenant_id}/{number}")
        await client.request("BREW", "/api/live")
        await client.post("/api/auth/login", json={"email": account.email, "password": f"wrong-{number}"})
    after = (await client.get("/metrics")).text

    def more(name, **labels):
        return figure(after, name, **labels) - figure(before, name, **labels)

    assert more("maya_requests_total", method="GET", route="/api/business/me", status="2xx") == 3
    assert more("maya_requests_total", method="GET", route="none", status="4xx") == 3
    assert more("maya_requests_total", method="OTHER", route="/api/live", status="4xx") == 3
    assert more("maya_request_seconds_count", method="GET", route="/api/business/me") == 3
    assert more("maya_logins_total", outcome="refused") == 3
    assert figure(after, "maya_requests_in_flight") == 1
    assert figure(after, "maya_database_connections", pool="reads", state="idle") >= 1
    assert figure(after, "maya_build_info", version="unknown") == 1
    assert figure(after, "process_resident_memory_bytes") > 0
    assert str(account.tenant_id) not in after
    assert "BREW" not in after


async def test_a_password_is_hashed_again_when_its_parameters_are_of_yesterday(client, app, account):
    use_passwords(app, Passwords())
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(account.password)

    async def kept():
        async with app.state.parts.database.session() as session:
            return await session.scalar(select(User.password_hash).where(User.email == account.email))

    async with app.state.parts.database.session() as session:
        await session.execute(update(User).where(User.email == account.email).values(password_hash=old))
        await session.commit()

    async def log_in(password):
        return (await client.post("/api/auth/login", json={"email": account.email, "password": password})).status_code

    assert await log_in("wrong-password") == 401
    assert await kept() == old
    assert await log_in(account.password) == 200
    new = await kept()
    assert new.startswith("$argon2id$v=19$m=65536,")
    assert await log_in(account.password) == 200
    assert await kept() == new


async def test_a_user_who_is_disabled_is_refused_at_the_next_request(client, app, account, authorized):
    assert (await client.get("/api/business/me", headers=authorized)).status_code == 200
    async with app.state.parts.database.session() as session:
        await session.execute(update(User).where(User.email == account.email).values(is_active=False))
        await session.commit()

    for method in ("GET", "PUT"):
        assert (await client.request(method, "/api/business/me", headers=authorized, json={})).status_code == 401


@pytest.fixture
def log():
    """What the application logs meanwhile, as it is written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_endpoint_logs_what_it_was_given(client, app, authorized, account, log):
    canary = "canary" + secrets.token_hex(12)
    injected = f"{canary}%0d%0a%7b%22level%22"
    paths = sorted({route.path for route in app.state.routes})
    assert len(paths) > 5
    for path in paths:
        address = re.sub(r"\{\w+\}", str(account.tenant_id), path) + f"?code={canary}&state={injected}"
        for method in ("GET", "POST", "PUT", "DELETE"):
            for headers in (authorized, {"Authorization": f"Bearer {canary}", "Stripe-Signature": canary}):
                content = json.dumps({"email": f"{canary}@maya.test", "password": canary, "message": canary})
                given = {"Cookie": canary, "X-Request-ID": f"{canary}\n", "Content-Type": "application/json", **headers}
                await client.request(method, address, content=content, headers=given)
    await client.post("/api/auth/login", json={"email": account.email, "password": canary})

    written = log.getvalue()
    entries = [json.loads(line) for line in written.splitlines()]
    assert len([entry for entry in entries if entry["message"] == "request"]) > 4 * len(paths)
    assert canary not in written
    assert authorized["Authorization"].removeprefix("Bearer ") not in written
    known = [entry for entry in entries if entry.get("tenant_id") == str(account.tenant_id)]
    assert known
    assert all(entry["user_id"] for entry in known)


@pytest.mark.parametrize(("settings", "strict"), [(STRICT, True), ({}, False)], ids=["production", "development"])
async def test_the_server_learns_the_headers_of_its_own_answers(make_settings, monkeypatch, settings, strict):
    app = create_app(make_settings(**{**settings, "database_url": NOWHERE}))

    async def be_ready(**_):
        pass

    monkeypatch.setattr(app.state.parts.database, "wait_until_ready", be_ready)
    async with app.router.lifespan_context(app) as state:
        assert (b"strict-transport-security" in dict(state[HEADERS_STATE])) is strict
