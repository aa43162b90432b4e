"""The facts that the local platform keeps: deployments, log lines and the processes it owns."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

INITIALIZING: Final = "INITIALIZING"
BUILDING: Final = "BUILDING"
DEPLOYING: Final = "DEPLOYING"
SUCCESS: Final = "SUCCESS"
FAILED: Final = "FAILED"
CRASHED: Final = "CRASHED"
REMOVING: Final = "REMOVING"
REMOVED: Final = "REMOVED"

#: Statuses of a deployment that is still being worked on.
IN_FLIGHT: Final = frozenset({INITIALIZING, BUILDING, DEPLOYING})


@dataclass(frozen=True, slots=True)
class Deployment:
    """One bundle that was received, and what became of it. Times are ISO 8601 in UTC.

    `diagnosis` says in one sentence why it failed. `stopped` is true when none of its processes run, `can_rollback`
    when it served once, was replaced, and its release is still at hand.
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
