"""The facts that the local platform keeps: deployments and their steps, log lines and the processes it owns."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fairlead._procfile import WEB

INITIALIZING: Final = "INITIALIZING"
BUILDING: Final = "BUILDING"
DEPLOYING: Final = "DEPLOYING"
SUCCESS: Final = "SUCCESS"
FAILED: Final = "FAILED"
CRASHED: Final = "CRASHED"
REMOVING: Final = "REMOVING"
REMOVED: Final = "REMOVED"

SNAPSHOT_CODE: Final = "SNAPSHOT_CODE"
BUILD_IMAGE: Final = "BUILD_IMAGE"
PRE_DEPLOY_COMMAND: Final = "PRE_DEPLOY_COMMAND"
CREATE_CONTAINER: Final = "CREATE_CONTAINER"
HEALTHCHECK: Final = "HEALTHCHECK"
DRAIN_INSTANCES: Final = "DRAIN_INSTANCES"

#: Statuses of a deployment that is still being worked on.
IN_FLIGHT: Final = frozenset({INITIALIZING, BUILDING, DEPLOYING})


@dataclass(frozen=True, slots=True)
class Deployment:
    """One bundle that was received, and what became of it. Times are ISO 8601 in UTC.

    `diagnosis` says in one sentence why it failed. `stopped` is true when none of its processes run, `can_rollback`
    when it served once, was replaced, and its release is still at hand. `reason` is "deploy" or "rollback"; a rollback
    runs what the deployment `origin` built. `canary` is the share of requests, in per cent, that it gets beside the
    release that serves, None for any other.
    """

    id: str
    status: str
    created_at: str
    status_updated_at: str
    message: str | None = None
    digest: str | None = None
    url: str | None = None
    static_url: str | None = None
    diagnosis: str | None = None
    stopped: bool = True
    can_rollback: bool = False
    service: str = WEB
    reason: str = "deploy"
    origin: str | None = None
    canary: float | None = None

    @property
    def release(self) -> str:
        """The id of the deployment that built what this one runs."""
        return self.origin or self.id


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a deployment, under Railway's word for it; `error` is why it failed."""

    id: str
    step: str
    created_at: str
    completed_at: str | None = None
    error: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output; `stream` is "build" (how the release was made) or "deploy" (what it prints)."""

    timestamp: str
    message: str
    severity: str
    stream: str


@dataclass(frozen=True, slots=True)
class OwnedProcess:
    """A process group that the platform started: its leader's id, the leader's start time, and what it is for."""

    pid: int
    started: str
    purpose: str


def now() -> str:
    """Return the present time as the platform writes it, to the microsecond."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
