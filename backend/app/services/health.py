"""Owns the answer to "can this backend serve?": the checks, within one deadline, and for how long an answer holds."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.db import UNAVAILABLE, Schema, explain
from app.models.health import Check, Health
from app.observation.vendors import VendorCalls
from app.services.counting import Counts
from app.settings import Settings

logger = logging.getLogger(__name__)

#: An answer that fails holds for this part of the time of one that passes, so that recovery shows soon.
_FAILING_PART: Final = 0.25

_NO_TABLES: Final = "the tables are missing: apply the migrations"
_READ_ONLY: Final = "nothing can be changed: it takes reads alone"
_NO_RECORD: Final = "which migrations were applied is not on record"


class Probed(Protocol):
    """What a health check needs of a database."""

    async def probe(self, *, within: float) -> Schema:
        """Query the database and return what it holds."""


@dataclass(frozen=True, slots=True)
class Report:
    """An answer, ready to be sent."""

    healthy: bool
    body: bytes


class HealthMonitor:
    """Answers probes: asks at most once at a time, and holds each answer for `cache` seconds."""

    def __init__(
        self,
        *,
        expected: frozenset[str],
        version: str,
        within: float,
        cache: float,
        check_integrations: Callable[[], dict[str, Check]] = dict,
        count_reminders: Callable[[], Awaitable[Mapping[str, int]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Expect the migrations `expected` to be applied; answer within `within` seconds.

        Where messages are sent at all, `count_reminders` says which are late.
        """
        self._expected = expected
        self._version = version
        self._within = within
        self._cache = cache
        self._check_integrations = check_integrations
        self._count_reminders = count_reminders
        self._clock = clock
        self._report: Report | None = None
        self._holds_until = 0.0
        self._asking: asyncio.Task[Report] | None = None

    async def report(self, database: Probed) -> Report:
        """Return the answer that still holds, or ask everything that serving needs for a new one."""
        if self._report is not None and self._clock() < self._holds_until:
            return self._report
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(database))
        # A probe that gives up must not take the answer from the others that wait for it.
        return await asyncio.shield(self._asking)

    async def _ask(self, database: Probed) -> Report:
        asked = self._clock()
        checks = await check_database(database, expected=self._expected, within=self._within)
        checks |= self._check_integrations()
        if self._count_reminders is not None:
            left = 0.0 if checks["database"].status == "fail" else self._within - (self._clock() - asked)
            checks["twilio"] = await check_reminders(self._count_reminders, within=left)
        health = Health(status=worst(checks), checks=checks, version=self._version)
        healthy = health.status != "fail"
        body = health.model_dump_json(exclude_none=True).encode()
        self._report = Report(healthy, body)
        self._holds_until = asked + self._cache * (1 if healthy else _FAILING_PART)
        return self._report


async def check_database(
    database: Probed, *, expected: frozenset[str], within: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Check]:
    """Check the database and its schema, within `within` seconds in all.

    A database that takes more than half of that still passes traffic, with a warning.
    """
    started = clock()
    schema: Schema | None = None
    status: Literal["pass", "warn", "fail"] = "fail"
    output: str | None = None
    try:
        schema = await database.probe(within=within)
    except TimeoutError:
        output = f"no answer within {within:g} s"
    except (*UNAVAILABLE, SQLAlchemyError) as error:
        # The address stays in the log: anyone may ask for the health.
        output = "cannot be reached"
        logger.warning("the database failed a health check", extra={"reason": explain(error)})
    else:
        status, output = ("fail", _READ_ONLY) if schema.read_only else ("pass", None)
    seconds = clock() - started
    if status == "pass" and seconds > within / 2:
        status, output = "warn", f"slow: {seconds:.1f} s"
    checks = {"database": Check(status=status, duration_ms=round(seconds * 1000, 1), output=output)}
    if schema is not None:
        checks["schema"] = check_schema(schema, expected)
    return checks


def check_schema(schema: Schema, expected: frozenset[str]) -> Check:
    """Compare what was applied with what this release carries.

    A database that is ahead passes: so it is for the release that still serves while the next one is deployed, and for
    one that was rolled back to.
    """
    if not schema.has_tables:
        return Check(status="fail", duration_ms=0.0, output=_NO_TABLES)
    if schema.applied is None:
        return Check(status="warn", duration_ms=0.0, output=_NO_RECORD)
    pending = sorted(expected - schema.applied, key=int)
    if pending:
        return Check(status="fail", duration_ms=0.0, output=f"migrations pending: {', '.join(pending)}")
    return Check(status="pass", duration_ms=0.0)


def check_integrations(settings: Settings, calls: VendorCalls, counts: Counts) -> dict[str, Check]:
    """Say of each integration whether it is configured and how its last call ended. None of them is asked.

    None of them can make the whole fail: without it the rest still serves.
    """
    configured = {
        "stripe": settings.stripe_api_key,
        "twilio": settings.twilio_auth_token,
        "anthropic": settings.anthropic_api_key,
        "google": settings.google_client_id,
    }
    checks = {}
    for name, secret in configured.items():
        output = calls.find_failure(name) if secret.get_secret_value() else "not configured"
        warns = bool(secret.get_secret_value()) and output is not None
        told = f"the last call failed: {output}" if warns else output
        checks[name] = Check(status="warn" if warns else "pass", duration_ms=0.0, output=told)
    checks["redis"] = _check_counts(counts)
    return checks


async def check_reminders(count: Callable[[], Awaitable[Mapping[str, int]]], *, within: float) -> Check:
    """Say whether messages go out, by the reminders that are late: the worker calls Twilio, and this process never."""
    counts: Mapping[str, int] = {}
    if within > 0:
        task = asyncio.ensure_future(count())
        # Not cancelled when time is up: that could wait on the very server that does not answer.
        done, _ = await asyncio.wait({task}, timeout=within)
        counts = task.result() if done else counts
    if not counts:
        return Check(status="warn", duration_ms=0.0, output="not known: the database does not say what is late")
    if counts["overdue"] or counts["doubtful"]:
        # How many they are is for those who may see the figures.
        return Check(status="warn", duration_ms=0.0, output="reminders are late by more than ten minutes")
    return Check(status="pass", duration_ms=0.0)


def _check_counts(counts: Counts) -> Check:
    if not counts.is_shared:
        return Check(status="pass", duration_ms=0.0, output="not configured")
    if counts.is_failing:
        return Check(status="warn", duration_ms=0.0, output="does not answer: each process counts for itself")
    return Check(status="pass", duration_ms=0.0)


def find_expected(names: Sequence[str]) -> frozenset[str]:
    """Return the versions of the migrations among the names of files: 015_new_feature.sql is 15."""
    ups = (name for name in names if name.endswith(".sql") and not name.endswith(".down.sql"))
    versions = (name.partition("_")[0] for name in ups)
    return frozenset(str(int(version)) for version in versions if version.isascii() and version.isdigit())


def worst(checks: dict[str, Check]) -> Literal["pass", "warn", "fail"]:
    """Return the worst status among `checks`."""
    statuses = {check.status for check in checks.values()}
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "pass"
