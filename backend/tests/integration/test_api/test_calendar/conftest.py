"""An application with a Google of its own on loopback, and the way through it that a browser takes."""

import base64
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from backend.tests.integration.conftest import Account
from backend.tests.integration.quick import authorize, make_quick_app
from backend.tests.vendors.google_server import GoogleServer

PUBLIC_URL = "http://maya.test"
START = "/oauth/google/start"
JSON = {"Accept": "application/json"}
KEY = "k1" * 32
ENCRYPTION_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with GoogleServer() as google:
        google.account = f"owner-{uuid.uuid4().hex}@calendar.test"
        yield google


@pytest.fixture
async def make_app(database_url: str, make_settings, google: GoogleServer) -> AsyncIterator[Callable[..., FastAPI]]:
    """Makes applications that share the database and Google, as the processes of one service do."""
    made = []

    def make(**values) -> FastAPI:
        settings = {
            "database_url": database_url,
            "public_url": PUBLIC_URL,
            "jwt_secret_key": KEY,
            "encryption_key": ENCRYPTION_KEY,
            **google.settings,
            **values,
        }
        made.append(make_quick_app(make_settings(**settings)))
        return made[-1]

    yield make
    for app in made:
        await app.state.parts.calendars.close()
        await app.state.parts.database.close()


@pytest.fixture
def app(make_app) -> FastAPI:
    return make_app()


@pytest.fixture
def log_in(app: FastAPI) -> Callable:
    """Returns the headers of an account's owner, for all applications."""

    async def log_in(account: Account) -> dict[str, str]:
        return await authorize(app, account.email)

    return log_in


@pytest.fixture
async def browse() -> AsyncIterator[Callable[[FastAPI], httpx.AsyncClient]]:
    """Opens a browser of its own: one that has no cookie yet."""
    opened = []

    def browse(app: FastAPI) -> httpx.AsyncClient:
        opened.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL))
        return opened[-1]

    yield browse
    for client in opened:
        await client.aclose()


@pytest.fixture
def start(client: httpx.AsyncClient) -> Callable:
    """Starts in a browser, and returns what Google is asked."""

    async def start(account, headers, browser: httpx.AsyncClient | None = None) -> dict[str, str]:
        params = {"business_id": str(account.tenant_id)}
        response = await (browser or client).get(START, params=params, headers=headers | JSON)
        assert response.status_code == 200, response.text
        return dict(parse_qsl(urlsplit(response.json()["authorization_url"]).query))

    return start


@pytest.fixture
def connect(client: httpx.AsyncClient, google: GoogleServer, start: Callable) -> Callable:
    """Goes the whole way."""

    async def connect(account, headers) -> None:
        asked = await start(account, headers)
        params = {"state": asked["state"], "code": google.agree(asked)}
        response = await client.get("/oauth/google/callback", params=params)
        assert response.status_code == 200, response.text
        google.clear()

    return connect


@pytest.fixture
async def connected(account, authorized, connect) -> dict[str, str]:
    """Gives the headers of the owner of a business that has connected its calendar."""
    await connect(account, authorized)
    return authorized


@pytest.fixture
def month() -> dict[str, str]:
    """A range of time to ask for."""
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    return {"from": begin.isoformat(), "to": (begin + timedelta(days=31)).isoformat()}


@pytest.fixture
def change(app: FastAPI) -> Callable:
    """Executes a statement in the database, and commits."""

    async def change(statement) -> None:
        async with app.state.parts.database.session() as session:
            await session.execute(statement)
            await session.commit()

    return change


@pytest.fixture
def read(app: FastAPI) -> Callable:
    """Returns the rows that a query finds."""

    async def read(query) -> list:
        async with app.state.parts.database.session() as session:
            return list((await session.execute(query)).all())

    return read
