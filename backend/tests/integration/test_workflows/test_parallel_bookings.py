import asyncio
import collections

import httpx
import pytest
from sqlalchemy import text

from app.application import create_app
from backend.tests.integration.quick import open_account

pytestmark = pytest.mark.anyio

_KEY = "for-the-parallel-bookings-0f3c9a71d2"
_CALLS = 100
_POOL = {"DATABASE_POOL_SIZE": "5", "DATABASE_MAX_OVERFLOW": "5"}


@pytest.fixture
async def app(database_url, make_settings):
    """The application in this process, which signs tokens that the served one accepts."""
    app = create_app(make_settings(database_url=database_url, jwt_secret_key=_KEY))
    yield app
    await app.state.parts.database.close()


async def book_at_once(url: str, headers: dict[str, str], requests: list[dict]) -> list[httpx.Response]:
    """Send every request over a connection of its own, at the same time."""
    limits = httpx.Limits(max_connections=len(requests))
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60, trust_env=False) as client:
        return await asyncio.gather(*(client.post("/api/bookings", json=request) for request in requests))


def request(minute: int, duration: int) -> dict:
    return {
        "customer_name": "Ada",
        "starts_at": f"2030-01-31T{9 + minute // 60:02}:{minute % 60:02}:00Z",
        "duration_minutes": duration,
    }


REQUESTS = {
    "the same slot": [request(0, 30)] * _CALLS,
    "slots that overlap": [request(number % 50, 60) for number in range(_CALLS)],
}


async def test_of_many_parallel_bookings_of_a_slot_exactly_one_is_made(app, database_url, serve):
    server = serve(DATABASE_URL=database_url, JWT_SECRET_KEY=_KEY, RATE_LIMIT="off", **_POOL)
    for case, requests in REQUESTS.items():
        tenant_id, headers = await open_account(app)

        answers = await book_at_once(server.url, headers, requests)

        outcomes = collections.Counter((answer.status_code, answer.json().get("error")) for answer in answers)
        assert outcomes == {(201, None): 1, (409, "slot_taken"): _CALLS - 1}, case
        async with app.state.parts.database.session() as session:
            made = text("SELECT count(*) FROM bookings WHERE tenant_id = :tenant_id")
            assert await session.scalar(made, {"tenant_id": tenant_id}) == 1, case
    server.stop()
    assert not [entry for entry in server.entries if entry["level"] in {"warning", "error", "critical"}]
