import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.models.messages import Check
from app.services.health import check_health, worst

pytestmark = pytest.mark.anyio


class Database:
    def __init__(self, outcome):
        self.outcome = outcome
        self.within = None

    async def probe(self, *, within):
        self.within = within
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def ticking(*times):
    remaining = iter(times)
    return lambda: next(remaining)


@pytest.mark.parametrize(
    ("outcome", "seconds", "status", "checks"),
    [
        (True, 0.1, "pass", {"database": "pass", "schema": "pass"}),
        (True, 1.6, "warn", {"database": "warn", "schema": "pass"}),
        (False, 0.1, "fail", {"database": "pass", "schema": "fail"}),
        (TimeoutError(), 3.0, "fail", {"database": "fail"}),
        (PoolTimeoutError(), 3.0, "fail", {"database": "fail"}),
        (
            OperationalError("SELECT", {}, Exception("connection to 10.0.0.7 refused")),
            0.1,
            "fail",
            {"database": "fail"},
        ),
    ],
)
async def test_the_outcome_of_the_probe_decides(outcome, seconds, status, checks):
    database = Database(outcome)

    health = await check_health(database, version="1.2.3", within=3.0, clock=ticking(10.0, 10.0 + seconds))

    assert health.status == status
    assert {name: check.status for name, check in health.checks.items()} == checks
    assert health.checks["database"].duration_ms == pytest.approx(seconds * 1000)
    assert health.version == "1.2.3"
    assert database.within == 3.0


async def test_where_the_database_is_stays_in_the_log(caplog):
    refused = OperationalError("SELECT", {}, Exception("connection to 10.0.0.7 refused"))

    health = await check_health(Database(refused), version="1", within=3.0)

    assert health.checks["database"].output == "cannot be reached"
    assert caplog.records[0].reason == "connection to 10.0.0.7 refused"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(["pass"], "pass"), (["pass", "warn"], "warn"), (["warn", "fail", "pass"], "fail"), ([], "pass")],
)
async def test_the_worst_check_decides(statuses, expected):
    checks = {str(number): Check(status=status, duration_ms=0) for number, status in enumerate(statuses)}

    assert worst(checks) == expected
