"""Attacks that once succeeded: each holds on to something that belongs to everybody, or hides who asks."""

import contextlib
import io
import json
import logging
import socket
import uuid
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from app.application import create_app
from app.logs import JsonFormatter
from backend.tests.integration.quick import open_account
from backend.tests.integration.surface import is_problem, list_operations

pytestmark = pytest.mark.anyio

KEY = "attacks-" + uuid.uuid4().hex
PATIENCE = 30
#: Far more than a head may have, and little for a test.
MUCH = 2 * 1024 * 1024
BOOKING = {"customer_name": "Ada", "starts_at": "2031-01-31T09:00:00Z", "duration_minutes": 30, "amount": "100.00"}


@pytest.fixture
def log():
    """What the service logs, as it writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    requests = logging.getLogger("app.request")
    level = requests.level
    requests.addHandler(handler)
    requests.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    requests.removeHandler(handler)
    requests.setLevel(level)


async def test_no_connection_waits_for_a_client_to_take_its_answer(app):
    """Clients may read as slowly as they like: a few of them must not use up what all businesses share."""
    database = app.state.parts.database
    held = []

    async def watched(scope, receive, send):
        async def watching(message):
            if message["type"] == "http.response.body" and (database.sessions_in_use or database.reads.in_use):
                held.append((scope["method"], scope["path"]))
            await send(message)

        await app(scope, receive, watching)

    _, headers = await open_account(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://maya.test") as client:
        made = await client.post("/api/bookings", headers=headers, json=BOOKING)
        assert made.status_code == 201
        for operation in list_operations(app):
            for identity in (made.json()["id"], str(uuid.uuid4())):
                await client.request(operation.method, operation.at(identity), headers=headers)

    assert held == []


async def test_a_database_that_only_reads_is_a_503(make_settings, migrated_database_url):
    """What a database is for a moment when another takes its place."""
    with psycopg.connect(migrated_database_url, autocommit=True) as connection:
        name = sql.Identifier(make_url(migrated_database_url).database)
        app = create_app(make_settings(database_url=migrated_database_url))
        _, headers = await open_account(app)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        await app.state.parts.database.close()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
                response = await client.post("/api/bookings", headers=headers, json=BOOKING)
        finally:
            await app.state.parts.database.close()

    assert response.status_code == 503
    assert response.json()["error"] == "database_unavailable"
    assert "retry-after" in response.headers


@pytest.mark.parametrize("amount", ["0.49999999999999999999", "100.0000000000000000001", "99999999.9900000000001"])
async def test_an_amount_is_judged_by_what_was_sent_and_not_by_the_nearest_float(app, client, amount):
    _, headers = await open_account(app)
    body = (
        f'{{"customer_name": "Ada", "starts_at": "2031-01-31T09:00:00Z", "duration_minutes": 30, "amount": {amount}}}'
    )

    response = await client.post("/api/bookings", headers=headers | {"Content-Type": "application/json"}, content=body)

    assert response.status_code == 422, response.text
    assert is_problem(response)


async def test_failures_of_one_network_are_counted_together(make_settings, database_url):
    """Whoever has one address of IPv6 has 2^64."""
    app = create_app(make_settings(database_url=database_url, login_failure_limit=1))
    credentials = {"email": f"{uuid.uuid4().hex}@maya.test", "password": "wrong"}
    statuses = []
    for address in ("2001:db8:0:7::1", "2001:db8:0:7:ffff::2"):
        transport = httpx.ASGITransport(app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://maya.test") as client:
            statuses.append((await client.post("/api/auth/login", json=credentials)).status_code)
    await app.state.parts.database.close()

    assert statuses == [401, 429]


async def test_nobody_is_sent_where_the_host_header_says(client):
    response = await client.get("/api/bookings/", headers={"Host": "evil.example"})

    assert response.status_code == 404
    assert is_problem(response)
    assert "evil.example" not in str(response.headers) + response.text


async def test_of_two_tokens_the_one_that_is_served_is_logged(app, client, log):
    (served, first), (_, second) = await open_account(app), await open_account(app)

    response = await client.get("/api/business/me", headers=[*first.items(), *second.items()])

    assert response.status_code == 200
    assert response.json()["id"] == str(served)
    assert [entry["tenant_id"] for entry in log()] == [str(served)]


def test_trailers_that_do_not_end_are_refused_while_they_arrive(serve, migrated_database_url):
    server = serve(DATABASE_URL=migrated_database_url, JWT_SECRET_KEY=KEY)
    address = urlsplit(server.url)
    head = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: maya.test\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    )
    fields = b"".join(b"x-%d: %b\r\n" % (number, b"v" * 1000) for number in range(100))
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
        client.sendall(head)
        refused = False
        with contextlib.suppress(ConnectionError):
            for _ in range(MUCH // len(fields)):
                client.sendall(fields)
            client.settimeout(2)
            # Only the end of the connection ends this; a server that goes on listening lets the time pass.
            with contextlib.suppress(TimeoutError):
                while client.recv(65_536):
                    pass
                refused = True
            assert refused, "the server takes trailers without end"
