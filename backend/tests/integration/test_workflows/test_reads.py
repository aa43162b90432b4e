"""Single reads on connections of their own, on a real PostgreSQL that ends them at will."""

import asyncio
import contextlib

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from app.reads import Reads

pytestmark = pytest.mark.anyio

PATIENCE = 30


@pytest.fixture
async def make_reads(database_url):
    made = []

    def make(*, size=3, patience=PATIENCE, url=database_url):
        arguments = conninfo_to_dict(url) | {"application_name": "reads-under-test"}
        made.append(Reads(arguments, size=size, patience=patience))
        return made[-1]

    yield make
    for reads in made:
        await reads.close()


@pytest.fixture
async def other(database_url):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


async def wait_until(holds):
    for _ in range(PATIENCE * 50):
        if await holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


async def succeeds(reads):
    # Making the connection may take longer than the reads are told to wait.
    with contextlib.suppress(psycopg.OperationalError):
        return await reads.fetch_row("SELECT 1", ()) == (1,)


async def test_the_first_row_is_returned_or_none(make_reads):
    reads = make_reads()

    assert await reads.fetch_row("SELECT %s::int, 'x'", (7,)) == (7, "x")
    assert await reads.fetch_row("SELECT 1 WHERE %s", (False,)) is None
    assert (reads.in_use, reads.idle) == (0, 1)


async def test_a_statement_that_fails_leaves_its_connection_of_use(make_reads):
    reads = make_reads(size=1)
    (process,) = await reads.fetch_row("SELECT pg_backend_pid()", ())

    with pytest.raises(psycopg.errors.DivisionByZero):
        await reads.fetch_row("SELECT 1 / %s::int", (0,))

    assert await reads.fetch_row("SELECT pg_backend_pid()", ()) == (process,)


async def test_connections_that_died_meanwhile_are_replaced_unnoticed(make_reads, other):
    reads = make_reads()
    await asyncio.gather(*(reads.fetch_row("SELECT pg_sleep(0.05)", ()) for _ in range(9)))
    assert reads.idle > 1

    await other.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'reads-under-test'"
        " AND datname = current_database()"
    )

    answers = await asyncio.gather(*(reads.fetch_row("SELECT %s::int", (number,)) for number in range(9)))
    assert answers == [(number,) for number in range(9)]


async def test_whoever_waits_too_long_for_a_connection_is_told(make_reads):
    reads = make_reads(size=1, patience=0.05)
    await wait_until(lambda: succeeds(reads))
    holding = asyncio.create_task(reads.fetch_row("SELECT pg_sleep(60)", ()))
    await asyncio.sleep(0)

    with pytest.raises(psycopg.OperationalError):
        await reads.fetch_row("SELECT 1", ())

    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


async def test_a_server_that_is_not_there_is_told_soon_and_asked_again_next_time(make_reads, database_url):
    reads = make_reads(url="postgresql://maya:pw@127.0.0.1:1/maya")

    refused = await asyncio.gather(*(reads.fetch_row("SELECT 1", ()) for _ in range(6)), return_exceptions=True)
    assert {isinstance(error, psycopg.OperationalError) for error in refused} == {True}
    # That a pool is closed is no reason that anybody outside could do something about.
    assert not [error for error in refused if "closed" in str(error)]
    assert (reads.in_use, reads.idle) == (0, 0)
    reads._arguments |= conninfo_to_dict(database_url)

    assert await reads.fetch_row("SELECT 1", ()) == (1,)


async def test_a_connection_that_cannot_be_made_leaves_the_others_alone(make_reads, other):
    reads = make_reads(size=2)
    await other.execute("SELECT pg_advisory_lock(4711)")
    holding = asyncio.create_task(reads.fetch_row("SELECT pg_advisory_lock_shared(4711), 'held'", ()))
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"

    async def holds():
        return (await (await other.execute(waiting)).fetchone())[0] == 1

    async def refused():
        return reads._pool.get_stats().get("connections_errors", 0) >= 2

    await wait_until(holds)
    reads._pool.kwargs = reads._arguments | {"host": "127.0.0.1", "port": 1}

    second = asyncio.create_task(reads.fetch_row("SELECT 'waited'", ()))
    await wait_until(refused)
    await other.execute("SELECT pg_advisory_unlock(4711)")

    assert (await holding)[1] == "held"
    assert await second == ("waited",)
