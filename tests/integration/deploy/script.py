"""What a platform in a test is to do: what becomes of a deployment, and what the public URL answers."""

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

PROJECT, ENVIRONMENT, SERVICE, WORKER = "project-1", "environment-1", "service-web", "service-worker"
#: How many requests a service gets in each interval of its metrics.
REQUESTS = 1000


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class Served:
    """What the public URL answers: a digest, whether it is well, and the share of its requests that fail.

    `status` is what every path answers, `paths` those of single ones; `flaps` fails every so many rounds.
    `beside` is a digest that every second question for the version is answered with.
    """

    digest: str | None
    healthy: bool = True
    status: int = 200
    paths: Mapping[str, int] = field(default_factory=dict)
    flaps: int = 0
    beside: str | None = None
    errors: float = 0.0
    p95: float = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the next deployment: its statuses, what it serves at SUCCESS, and what becomes of it later.

    `then` follows `later` seconds after SUCCESS. `overtaken` says when somebody else's deployment takes its place: "at
    once", or "once asked" over its public URL. `hold` is a status that it stays at until `RailwayDouble.go_on`.
    `events` are pairs of a step and its error, `logs` what it prints.
    """

    statuses: tuple[str, ...] = ("INITIALIZING", "BUILDING", "DEPLOYING", "SUCCESS")
    serves: Callable[[Served], Served] = lambda served: served
    hold: str = ""
    then: str = ""
    overtaken: str = ""
    later: float = 0.0
    events: tuple[tuple[str, str | None], ...] = ()
    build_logs: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    diagnosis: str | None = None


@dataclass(slots=True)
class Record:
    """A deployment as the double keeps it."""

    id: str
    service: str
    message: str
    plan: Plan
    serves: Served
    reason: str = "deploy"
    status: str = "INITIALIZING"
    served: bool = False
    kept: bool = True
    cancelled: bool = False
    created: str = field(default_factory=now)

    def node(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "createdAt": self.created,
            "statusUpdatedAt": now(),
            "url": None,
            "staticUrl": None,
            "deploymentStopped": self.status not in {"SUCCESS", "REMOVING"},
            "canRollback": self.kept and self.served and self.status in {"SUCCESS", "REMOVED", "CRASHED", "SLEEPING"},
            "diagnosis": self.plan.diagnosis if self.status == self.plan.statuses[-1] else None,
            "meta": {"reason": self.reason, "cliMessage": self.message},
            "projectId": PROJECT,
            "environmentId": ENVIRONMENT,
            "serviceId": self.service,
        }


@dataclass(slots=True)
class Timeline:
    """What the public URL served since when, and the metrics that follow from it."""

    moments: list[float] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)

    def add(self, moment: float, served: Served) -> None:
        self.moments.append(moment)
        self.served.append(served)

    def by_status(self, **period: Any) -> list[dict[str, Any]]:
        groups: dict[int, list[dict[str, Any]]] = {200: [], 500: []}
        for ts, served in self._intervals(**period):
            errors = 1.0 if served.digest is None else served.errors
            groups[200].append({"ts": ts, "value": REQUESTS * (1 - errors)})
            groups[500].append({"ts": ts, "value": REQUESTS * errors})
        return [{"statusCode": status, "samples": samples} for status, samples in groups.items()]

    def durations(self, **period: Any) -> dict[str, Any]:
        share = {"p50": 0.5, "p90": 0.9, "p95": 1.0, "p99": 1.2}
        intervals = self._intervals(**period)
        samples = [{"ts": ts, **{name: one.p95 * part for name, part in share.items()}} for ts, one in intervals]
        return {"samples": samples}

    def _intervals(self, **period: Any) -> list[tuple[int, Served]]:
        first, last = (datetime.fromisoformat(period[name]).timestamp() for name in ("startDate", "endDate"))
        step = period.get("stepSeconds") or 60
        moments = range(int(first) // step * step, int(last), step)
        return [(ts, self.served[max(bisect.bisect(self.moments, ts + step) - 1, 0)]) for ts in moments]
