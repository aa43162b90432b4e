import dataclasses
import json

import httpx
import pytest

from app.application import create_app
from app.db import Schema

pytestmark = pytest.mark.anyio


EVERYTHING = Schema(has_tables=True, applied=frozenset(str(number) for number in range(1, 1000)))


class Probed:
    def __init__(self, outcome):
        self.outcome = outcome

    async def probe(self, *, within):
        assert within > 0
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def get(app, path, **kwargs):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
        return await client.get(path, **kwargs)


@pytest.fixture
def make_app(make_settings):
    def make(outcome=EVERYTHING, **values):
        app = create_app(make_settings(**values))
        app.state.parts = dataclasses.replace(app.state.parts, database=Probed(outcome))
        return app

    return make


@pytest.mark.parametrize("path", ["/api/health", "/api/v1/health"])
@pytest.mark.parametrize(
    ("outcome", "status", "word"),
    [(EVERYTHING, 200, "pass"), (Schema(has_tables=False), 503, "fail"), (TimeoutError(), 503, "fail")],
)
async def test_health_names_each_check(make_app, path, outcome, status, word):
    response = await get(make_app(outcome), path)

    assert response.status_code == status
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["status"] == word
    assert body["version"] == "unknown"
    assert "duration_ms" in body["checks"]["database"]


async def test_liveness_asks_nothing(make_app):
    response = await get(make_app(TimeoutError()), "/api/live")

    assert (response.status_code, response.json()) == (200, {"status": "pass"})


async def test_version_answers_from_the_build_information(make_app, tmp_path):
    path = tmp_path / "build-info.json"
    digest = "sha256:" + "ab" * 32
    path.write_text(json.dumps({"name": "maya-backend", "version": "2.0.1", "digest": digest, "build_number": "7"}))

    response = await get(make_app(build_info=path), "/api/v1/version")

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "name": "maya-backend",
        "version": "2.0.1",
        "revision": None,
        "digest": digest,
        "branch": None,
        "build_number": "7",
        "build_time": None,
    }


async def test_version_is_read_once(make_app, tmp_path):
    path = tmp_path / "build-info.json"
    path.write_text('{"version": "1"}')
    app = make_app(build_info=path)
    path.write_text('{"version": "2"}')

    assert (await get(app, "/api/v1/version")).json()["version"] == "1"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_the_documentation_is_served_in_development_only(make_app, path):
    production = make_app(
        environment="production",
        database_url="postgresql://u:Zq81-x@h/db",
        jwt_secret_key="Zk3v9QpL1xT7mB5sR2wY8nC4hJ6gD0fA",  # pragma: allowlist secret - of this test alone
        encryption_key="d1uXhZ0mG4sQy7RkVb9TjE2oNcL5aWfP8iKzMtU3xHg=",
    )

    assert (await get(make_app(), path)).status_code == 200
    response = await get(production, path)
    assert response.status_code == 404
    assert "max-age" in response.headers["strict-transport-security"]
