import asyncio
import contextlib
import time
import uuid

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.application import create_app
from app.security import Identity
from app.services.health import find_expected
from app.settings import ROOT

pytestmark = pytest.mark.anyio

#: Far above any deadline under test, far below the connection's own time-outs.
GENEROUS = 15


class Link:
    """A connection to a server on loopback that can be cut, frozen and mended."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.port = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.writers = set()
        self.tasks = set()
        self.server = None

    async def mend(self):
        self.flowing.set()
        if self.server is None:
            self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]

    async def cut(self):
        self.server.close()
        self.server = None
        self.flowing.set()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.writers.clear()

    def freeze(self):
        self.flowing.clear()

    async def _accept(self, reader, writer):
        self.writers.add(writer)
        out_reader, out_writer = await asyncio.open_connection(*self.target)
        self.writers.add(out_writer)
        for source, sink in ((reader, out_writer), (out_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self.flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
async def link(database_url):
    url = make_url(database_url)
    link = Link(url.host, url.port or 5432)
    await link.mend()
    yield link
    if link.server is not None:
        await link.cut()


@contextlib.asynccontextmanager
async def client_of(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
        try:
            yield client
        finally:
            await app.state.parts.database.close()


def through(database_url, port):
    return make_url(database_url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@pytest.mark.parametrize("path", ["/api/health", "/api/v1/health"])
async def test_a_migrated_database_passes(client, path):
    response = await client.get(path)

    assert response.status_code == 200
    checks = response.json()["checks"]
    assert {name: (check["status"], check.get("output")) for name, check in checks.items()} == {
        "database": ("pass", None),
        "schema": ("pass", None),
        **dict.fromkeys(["stripe", "twilio", "anthropic", "google", "redis"], ("pass", "not configured")),
    }


async def run_sql(url, *statements):
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement)


NEWEST = max(find_expected([file.name for file in (ROOT / "migrations").iterdir()]), key=int)


@pytest.mark.parametrize(
    ("statement", "status", "words"),
    [
        ("DELETE FROM schema_migrations WHERE version::int = {newest}", 503, "migrations pending: {newest}"),
        ("UPDATE schema_migrations SET state = 'running' WHERE version::int = {newest}", 503, "migrations pending"),
        ("INSERT INTO schema_migrations (version) VALUES ('999')", 200, ""),
        ("DROP TABLE schema_migrations", 200, "not on record"),
        ("ALTER TABLE schema_migrations DROP COLUMN state", 200, ""),
    ],
    ids=["behind", "interrupted", "ahead", "no-record", "the-record-of-another-tool"],
)
async def test_the_schema_must_be_the_one_of_this_release_or_newer(
    migrated_database_url, make_settings, statement, status, words
):
    await run_sql(migrated_database_url, statement.format(newest=NEWEST))

    async with client_of(create_app(make_settings(database_url=migrated_database_url))) as client:
        response = await client.get("/api/health")

    assert response.status_code == status
    assert words.format(newest=NEWEST) in response.json()["checks"]["schema"].get("output", "")


async def test_a_database_without_tables_fails(postgres_server, make_settings):
    name = f"empty_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    try:
        async with client_of(create_app(make_settings(database_url=postgres_server.url(name)))) as client:
            response = await client.get("/api/health")
    finally:
        postgres_server.drop_database(name)

    assert response.status_code == 503
    assert response.json()["checks"]["schema"]["status"] == "fail"
    assert "migrations" in response.json()["checks"]["schema"]["output"]


async def test_health_and_requests_follow_the_database_down_and_up_again(link, database_url, make_settings):
    app = create_app(make_settings(database_url=through(database_url, link.port), health_cache_seconds=0))
    token = app.state.parts.authenticator.tokens.issue(Identity(uuid.uuid4(), uuid.uuid4()))
    headers = {"Authorization": f"Bearer {token}"}
    async with client_of(app) as client:
        assert (await client.get("/api/health")).status_code == 200
        assert (await client.get("/api/business/me", headers=headers)).status_code == 401

        await link.cut()
        down = await client.get("/api/health")
        assert (down.status_code, down.json()["status"]) == (503, "fail")
        assert str(link.port) not in down.text
        refused = await client.get("/api/business/me", headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.get("/api/live")).status_code == 200

        await link.mend()
        assert (await client.get("/api/health")).status_code == 200
        assert (await client.get("/api/business/me", headers=headers)).status_code == 401


async def test_health_keeps_its_deadline_when_a_connected_database_stops_answering(link, database_url, make_settings):
    app = create_app(
        make_settings(database_url=through(database_url, link.port), health_timeout=0.5, health_cache_seconds=0)
    )
    async with client_of(app) as client:
        # On a busy machine connecting takes longer than the deadline; the next request finds the connection made.
        assert [(await client.get("/api/health")).status_code for _ in range(10)][-1] == 200

        link.freeze()
        started = time.monotonic()
        hanging = await asyncio.gather(*(client.get("/api/health") for _ in range(20)))
        assert time.monotonic() - started < GENEROUS
        assert {response.status_code for response in hanging} == {503}
        assert "no answer within 0.5 s" in hanging[0].text

        await link.mend()
        # The query that hung may need a moment to end; each request waits for it up to the health's own deadline.
        statuses = [(await client.get("/api/health")).status_code for _ in range(10)]
        assert statuses[-1] == 200


async def test_health_keeps_its_deadline_when_the_database_accepts_and_never_answers(database_url, make_settings):
    silent = []

    async def accept(_reader, writer):
        silent.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = through(database_url, server.sockets[0].getsockname()[1])
    app = create_app(make_settings(database_url=url, health_timeout=0.5, database_connect_timeout=60))
    async with client_of(app) as client:
        started = time.monotonic()
        response = await client.get("/api/health")
        assert time.monotonic() - started < GENEROUS
    server.close()
    for writer in silent:
        writer.close()

    assert silent
    assert response.status_code == 503
    assert response.json()["checks"]["database"]["output"] == "no answer within 0.5 s"


async def wait_until_connected(reads):
    """Make the connection of `reads`, which may take longer than they are told to wait."""
    for _ in range(GENEROUS * 20):
        with contextlib.suppress(psycopg.OperationalError):
            await reads.fetch_row("SELECT 1", ())
            return
    raise AssertionError("there is no connection")


async def test_a_pool_in_use_to_the_last_connection_asks_to_try_again(database_url, make_settings):
    app = create_app(
        make_settings(
            database_url=database_url, database_pool_size=1, database_max_overflow=0, database_pool_timeout=0.05
        )
    )
    token = app.state.parts.authenticator.tokens.issue(Identity(uuid.uuid4(), uuid.uuid4()))
    async with client_of(app) as client, app.state.parts.database.session() as session:
        await session.connection()
        reads = app.state.parts.database.reads
        await wait_until_connected(reads)
        reading = asyncio.create_task(reads.fetch_row("SELECT pg_sleep(%s)", (GENEROUS,)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert reads.in_use == 1
        response = await client.get("/api/business/me", headers={"Authorization": f"Bearer {token}"})
        health = await client.get("/api/health")
        reading.cancel()

    assert (response.status_code, response.json()["error"]) == (503, "database_unavailable")
    assert health.status_code == 503


async def test_a_statement_that_takes_too_long_is_ended_by_the_database(database_url, make_settings):
    app = create_app(make_settings(database_url=database_url, database_statement_timeout=0.05))

    @app.get("/slow")
    async def slow():
        async with app.state.parts.database.session() as session:
            await session.execute(text("SELECT pg_sleep(60)"))

    async with client_of(app) as client:
        assert (await client.get("/slow")).status_code == 503
