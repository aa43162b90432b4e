import asyncio
import dataclasses

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.db import Schema
from app.models.health import Check
from app.observation.vendors import VendorCalls
from app.services.counting import Counts
from app.services.health import (
    HealthMonitor,
    check_database,
    check_integrations,
    check_reminders,
    check_schema,
    find_expected,
    worst,
)

pytestmark = pytest.mark.anyio

MIGRATED = Schema(has_tables=True, applied=frozenset({"1", "2"}))
EXPECTED = frozenset({"1", "2"})
REFUSED = OperationalError("SELECT", {}, Exception("connection to 10.0.0.7 refused"))


class Database:
    def __init__(self, outcome=MIGRATED):
        self.outcome = outcome
        self.within = None
        self.asked = 0

    async def probe(self, *, within):
        self.within = within
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def ticking(*times):
    remaining = iter(times)
    return lambda: next(remaining)


@pytest.mark.parametrize(
    ("outcome", "seconds", "checks"),
    [
        (MIGRATED, 0.1, {"database": "pass", "schema": "pass"}),
        (MIGRATED, 1.6, {"database": "warn", "schema": "pass"}),
        (dataclasses.replace(MIGRATED, read_only=True), 0.1, {"database": "fail", "schema": "pass"}),
        (Schema(has_tables=False), 0.1, {"database": "pass", "schema": "fail"}),
        (TimeoutError(), 3.0, {"database": "fail"}),
        (PoolTimeoutError(), 3.0, {"database": "fail"}),
        (REFUSED, 0.1, {"database": "fail"}),
    ],
)
async def test_the_outcome_of_the_probe_decides(outcome, seconds, checks):
    database = Database(outcome)

    found = await check_database(database, expected=EXPECTED, within=3.0, clock=ticking(10.0, 10.0 + seconds))

    assert {name: check.status for name, check in found.items()} == checks
    assert found["database"].duration_ms == pytest.approx(seconds * 1000)
    assert database.within == 3.0


async def test_where_the_database_is_stays_in_the_log(caplog):
    found = await check_database(Database(REFUSED), expected=EXPECTED, within=3.0)

    assert found["database"].output == "cannot be reached"
    assert caplog.records[0].reason == "connection to 10.0.0.7 refused"


@pytest.mark.parametrize(
    ("schema", "status", "output"),
    [
        (Schema(has_tables=True, applied=frozenset({"1", "2"})), "pass", None),
        (Schema(has_tables=True, applied=frozenset({"1", "2", "3"})), "pass", None),
        (Schema(has_tables=True, applied=frozenset({"1"})), "fail", "migrations pending: 2"),
        (Schema(has_tables=True, applied=frozenset()), "fail", "migrations pending: 1, 2"),
        (Schema(has_tables=True, applied=None), "warn", "which migrations were applied is not on record"),
        (Schema(has_tables=False, applied=None), "fail", "the tables are missing: apply the migrations"),
    ],
)
async def test_a_schema_must_not_be_behind(schema, status, output):
    check = check_schema(schema, EXPECTED)

    assert (check.status, check.output) == (status, output)


async def test_the_expected_versions_are_those_of_the_files_that_go_up():
    names = ["001_a.sql", "001_a.down.sql", "010_b.sql", "README.md", "notes.sql", "012_c.down.sql"]

    assert find_expected(names) == {"1", "10"}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(["pass"], "pass"), (["pass", "warn"], "warn"), (["warn", "fail", "pass"], "fail"), ([], "pass")],
)
async def test_the_worst_check_decides(statuses, expected):
    checks = {str(number): Check(status=status, duration_ms=0) for number, status in enumerate(statuses)}

    assert worst(checks) == expected


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monitor(clock):
    return HealthMonitor(expected=EXPECTED, version="1.2.3", within=3.0, cache=4.0, clock=clock)


async def test_probes_at_the_same_time_share_one_question(monitor):
    database = Database()

    reports = await asyncio.gather(*(monitor.report(database) for _ in range(50)))

    assert database.asked == 1
    assert {report.healthy for report in reports} == {True}
    assert b'"version":"1.2.3"' in reports[0].body


async def test_an_answer_holds_until_its_time_is_over(monitor, clock):
    database = Database()
    await monitor.report(database)
    database.outcome = REFUSED

    clock.now += 3.9
    assert (await monitor.report(database)).healthy
    clock.now += 0.2
    assert not (await monitor.report(database)).healthy
    assert database.asked == 2


async def test_a_failing_answer_holds_for_a_shorter_time(monitor, clock):
    database = Database(REFUSED)
    assert not (await monitor.report(database)).healthy
    database.outcome = MIGRATED

    clock.now += 0.9
    assert not (await monitor.report(database)).healthy
    clock.now += 0.2
    assert (await monitor.report(database)).healthy


async def test_a_probe_that_gives_up_leaves_the_answer_to_the_others(monitor):
    database = Database()
    first = asyncio.create_task(monitor.report(database))
    second = asyncio.create_task(monitor.report(database))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).healthy
    assert database.asked == 1


async def test_integrations_that_are_not_configured_pass(make_settings):
    checks = check_integrations(make_settings(), VendorCalls(), Counts())

    assert {(check.status, check.output) for check in checks.values()} == {("pass", "not configured")}


async def test_the_last_call_of_a_vendor_is_told_for_a_while(make_settings, clock):
    calls = VendorCalls(clock)
    settings = make_settings(anthropic_api_key=SecretStr("sk-ant-1"))

    def told():
        check = check_integrations(settings, calls, Counts())["anthropic"]
        return check.status, check.output

    assert told() == ("pass", None)
    calls.record("anthropic", "failed", 1.5, reason="timeout")
    assert told() == ("warn", "the last call failed: timeout")
    calls.record("anthropic", "ok", 0.2)
    assert told() == ("pass", None)
    calls.record("anthropic", "refused", 0.2)
    assert told() == ("pass", None)
    calls.record("anthropic", "failed")
    clock.now += 301
    assert told() == ("pass", None)


NONE_LATE = {"overdue": 0, "doubtful": 0, "failed": 3, "unknown": 1}


@pytest.mark.parametrize(
    ("counts", "within", "expected"),
    [
        (NONE_LATE, 3.0, ("pass", None)),
        (NONE_LATE | {"overdue": 2, "doubtful": 1}, 3.0, ("warn", "reminders are late by more than ten minutes")),
        (NONE_LATE | {"doubtful": 1}, 3.0, ("warn", "reminders are late by more than ten minutes")),
        ({}, 3.0, ("warn", "not known: the database does not say what is late")),
        (NONE_LATE, 0.0, ("warn", "not known: the database does not say what is late")),
    ],
)
async def test_twilio_is_judged_by_the_reminders_that_are_late(counts, within, expected):
    async def count():
        return counts

    check = await check_reminders(count, within=within)

    assert (check.status, check.output) == expected


async def test_a_count_that_hangs_costs_no_more_than_the_time_that_is_left(clock):
    released = asyncio.Event()

    async def count():
        await released.wait()
        return NONE_LATE

    monitor = HealthMonitor(expected=EXPECTED, version="1", within=0.05, cache=4.0, count_reminders=count, clock=clock)
    report = await monitor.report(Database())
    released.set()

    assert report.healthy
    assert b"not known" in report.body
