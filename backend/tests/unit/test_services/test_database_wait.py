import asyncio

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from app.connections import describe
from app.db import Database, DatabaseUnavailableError, explain

pytestmark = pytest.mark.anyio

REFUSED = OperationalError("SELECT", {}, Exception("connection refused\nIs the server running?"))


class Scripted(Database):
    """A database whose probe follows a script; the last step repeats."""

    def __init__(self, settings, *outcomes):
        super().__init__(settings)
        self.outcomes = list(outcomes)
        self.asked = 0

    async def probe(self, *, within):
        assert within > 0
        self.asked += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Time:
    def __init__(self):
        self.now = 0.0
        self.slept = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


async def wait(database, within):
    time = Time()
    try:
        await database.wait_until_ready(within=within, sleep=time.sleep, clock=time.clock)
    finally:
        await database.close()
    return time


async def test_a_database_that_answers_is_not_waited_for(make_settings):
    time = await wait(Scripted(make_settings(), True), 30)

    assert time.slept == []


async def test_a_database_that_comes_late_is_waited_for_with_growing_pauses(make_settings, caplog):
    database = Scripted(make_settings(), REFUSED, TimeoutError(), REFUSED, REFUSED, True)

    time = await wait(database, 30)

    assert database.asked == 5
    assert time.slept == sorted(time.slept)
    assert time.slept[-1] > 4 * time.slept[0]
    assert [record.reason for record in caplog.records][:2] == ["connection refused", "no answer in time"]


async def test_a_database_that_never_comes_is_given_up_before_the_deadline(make_settings):
    database = Scripted(make_settings(database_url="postgresql://maya:hunter22@db:5432/maya"), REFUSED)

    with pytest.raises(DatabaseUnavailableError) as caught:
        await wait(database, 30)

    message = str(caught.value)
    assert "the database at maya@db:5432/maya did not answer within 30 s (connection refused)" in message
    assert "DATABASE_URL" in message
    assert "hunter22" not in message
    assert database.asked > 5


async def test_pauses_are_bounded(make_settings):
    database = Scripted(make_settings(), *[REFUSED] * 40, True)

    time = await wait(database, 600)

    assert max(time.slept) <= 6.0


async def test_without_patience_the_database_is_asked_once(make_settings):
    database = Scripted(make_settings(), REFUSED)

    with pytest.raises(DatabaseUnavailableError):
        await wait(database, 0)

    assert database.asked == 1


class Hanging(Database):
    """A database whose query never ends."""

    queries = 0

    async def _query(self):
        self.queries += 1
        await asyncio.Event().wait()


async def test_probes_of_a_database_that_hangs_share_one_query(make_settings):
    database = Hanging(make_settings())

    outcomes = await asyncio.gather(*(database.probe(within=0.01) for _ in range(5)), return_exceptions=True)
    outcomes.append(await asyncio.gather(database.probe(within=0.01), return_exceptions=True))
    await database.close()

    assert database.queries == 1
    assert all(isinstance(outcome, TimeoutError) for outcome in [*outcomes[:5], *outcomes[5]])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://u:p@h:5432/db", "u@h:5432/db"),
        ("postgresql+psycopg://h/db", "h/db"),
        ("postgresql+psycopg://u:p@/db?host=/run/pg", "u@/run/pg/db"),
        ("postgresql+psycopg:///db", "the local socket/db"),
    ],
)
async def test_an_address_is_described_without_its_password(url, expected):
    assert describe(make_url(url)) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [(REFUSED, "connection refused"), (TimeoutError(), "no answer in time"), (OSError(), "OSError")],
)
async def test_an_error_is_explained_in_one_line(error, expected):
    assert explain(error) == expected
