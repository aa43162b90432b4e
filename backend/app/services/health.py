"""Owns the answer to "can this backend serve?": the checks, within one deadline."""

import logging
import time
from collections.abc import Callable
from typing import Literal, Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.db import UNAVAILABLE, explain
from app.models.messages import Check, Health

logger = logging.getLogger(__name__)

_UNMIGRATED = "the tables are missing: apply the migrations"


class Probed(Protocol):
    """What a health check needs of a database."""

    async def probe(self, *, within: float) -> bool:
        """Query the database and return whether its tables are there."""


async def check_health(
    database: Probed, *, version: str, within: float, clock: Callable[[], float] = time.perf_counter
) -> Health:
    """Check everything that serving needs, within `within` seconds in all.

    A database that takes more than half of that still passes traffic, with a warning.
    """
    started = clock()
    migrated = False
    status: Literal["pass", "warn", "fail"] = "fail"
    output: str | None = None
    try:
        migrated = await database.probe(within=within)
    except TimeoutError:
        output = f"no answer within {within:g} s"
    except (*UNAVAILABLE, SQLAlchemyError) as error:
        # The address stays in the log: anyone may ask for the health.
        output = "cannot be reached"
        logger.warning("the database failed a health check", extra={"reason": explain(error)})
    else:
        status = "pass"
    seconds = clock() - started
    if status == "pass" and seconds > within / 2:
        status, output = "warn", f"slow: {seconds:.1f} s"
    checks = {"database": Check(status=status, duration_ms=round(seconds * 1000, 1), output=output)}
    if status != "fail":
        checks["schema"] = Check(
            status="pass" if migrated else "fail", duration_ms=0.0, output=None if migrated else _UNMIGRATED
        )
    return Health(status=worst(checks), checks=checks, version=version)


def worst(checks: dict[str, Check]) -> Literal["pass", "warn", "fail"]:
    """Return the worst status among `checks`."""
    statuses = {check.status for check in checks.values()}
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "pass"
