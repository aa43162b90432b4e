"""Limits that processes count together, in a real Redis, and what happens when it does not answer."""

import asyncio
import shutil
import socket
import subprocess
import time

import pytest
from pydantic import SecretStr

from app.services.counting import make_counts
from app.services.throttle import FailureThrottle

pytestmark = pytest.mark.anyio


def listens(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def redis_url():
    """A Redis of this test's own, where one is installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 30
    while not listens(port):
        assert time.monotonic() < deadline, "redis-server did not start in time"
        assert process.poll() is None, "redis-server ended"
        time.sleep(0.02)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(timeout=30)


async def test_processes_count_together_in_redis(redis_url):
    url = SecretStr(redis_url)
    first, second = make_counts(url), make_counts(url)
    throttles = [FailureThrottle(counts, limit=3, window=60) for counts in (first, second)]

    counts = [await one.add("requests:a:1", expiry=60) for one in (first, second, first)]
    waits = [await throttles[number % 2].count("Owner@maya.test") for number in range(4)]
    await throttles[0].forget("Owner@maya.test")
    afresh = await throttles[1].count("Owner@maya.test")
    failing = first.is_failing
    await first.close()
    await second.close()

    assert counts == [1, 2, 3]
    assert waits[:3] == [0, 0, 0]
    assert 0 < waits[3] <= 60
    assert (afresh, failing) == (0, False)


async def test_more_requests_than_connections_are_counted_together(redis_url):
    counts = make_counts(SecretStr(redis_url))
    # Opening the connections may take a busy machine longer than a request would wait.
    counts._patience = 30

    numbers = await asyncio.gather(*(counts.add("a", expiry=60) for _ in range(200)))
    failing = counts.is_failing
    await counts.close()

    assert sorted(numbers) == list(range(1, 201))
    assert not failing


@pytest.fixture
async def mute():
    """The address of a Redis that accepts and never answers."""
    writers = []

    async def accept(_reader, writer):
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"redis://:hunter22@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()
    for writer in writers:
        writer.close()


async def test_without_an_answer_of_redis_this_process_counts_for_itself(mute, caplog):
    counts = make_counts(SecretStr(mute))

    assert [await counts.add("a", expiry=60) for _ in range(20)] == list(range(1, 21))

    assert counts.is_shared
    assert counts.is_failing
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "hunter22" not in caplog.text
    await counts.close()
