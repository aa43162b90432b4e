"""An application that asks the loopback Stripe, and accounts that cost nothing."""

import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI

from backend.tests.integration.quick import make_quick_app, open_account
from backend.tests.vendors.stripe_server import sign

BOOKINGS = "/api/bookings"


@pytest.fixture
async def app(database_url: str, make_settings: Callable, stripe_settings: dict) -> AsyncIterator[FastAPI]:
    app = make_quick_app(make_settings(database_url=database_url, **stripe_settings))
    yield app
    if app.state.parts.links is not None:
        await app.state.parts.links.close()
    await app.state.parts.database.close()


@dataclasses.dataclass(frozen=True)
class Business:
    """A tenant and the headers of its owner's requests."""

    tenant_id: uuid.UUID
    headers: dict[str, str]


@pytest.fixture
def open_business(app: FastAPI) -> Callable:
    async def open_business() -> Business:
        return Business(*await open_account(app))

    return open_business


@pytest.fixture
async def business(open_business: Callable) -> Business:
    return await open_business()


@pytest.fixture
def authorized(business: Business) -> dict[str, str]:
    return business.headers


@pytest.fixture
def tell(client: httpx.AsyncClient) -> Callable:
    """Sends an event as Stripe does."""

    async def tell(body: bytes, **how) -> httpx.Response:
        return await client.post("/api/webhooks/stripe", content=body, headers=sign(body, **how))

    return tell
