"""What Railway says about projects and deployments, as frozen records under Railway's own words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from fairlead._output import printable
from fairlead.railway.fields import Fields

RAILWAY_URL: Final = "https://backboard.railway.com"

#: Where in a deployment's `meta` its message stands: an upload's, then that of a commit deployed from a repository.
_MESSAGE_KEYS: Final = ("cliMessage", "message", "commitMessage")
_SERVER_ERROR: Final = 500

#: What Fairlead reads and sets of a service, under Railway's names.
SERVICE_SETTINGS: Final = (
    "startCommand",
    "preDeployCommand",
    "healthcheckPath",
    "healthcheckTimeout",
    "overlapSeconds",
    "drainingSeconds",
    "numReplicas",
    "restartPolicyType",
    "restartPolicyMaxRetries",
    "dockerfilePath",
    "sleepApplication",
)


class DeploymentStatus(StrEnum):
    """A deployment's status: a string, one of 13 known values or a later one, kept as Railway gave it.

    `SUCCESS` alone is a success. `FAILED`, `CRASHED`, `REMOVED` and `SKIPPED` are failures: such a deployment never
    serves again. `SLEEPING` has ended too, and is neither: it was released and then put to sleep for want of
    requests; asking its URL wakes it and shows whether it works. `REMOVING` is on the way to `REMOVED`.
    `NEEDS_APPROVAL` has not ended, but goes on only when a person approves. An unknown value counts as not ended.
    """

    INITIALIZING = "INITIALIZING"
    QUEUED = "QUEUED"
    WAITING = "WAITING"
    NEEDS_APPROVAL = "NEEDS_APPROVAL"
    BUILDING = "BUILDING"
    DEPLOYING = "DEPLOYING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    REMOVING = "REMOVING"
    REMOVED = "REMOVED"
    SKIPPED = "SKIPPED"
    SLEEPING = "SLEEPING"

    @classmethod
    def _missing_(cls, value: object) -> "DeploymentStatus | None":
        if not isinstance(value, str) or not value:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    def __reduce_ex__(self, protocol: object) -> tuple[type["DeploymentStatus"], tuple[str]]:
        # Early releases of Python 3.11 pickle a member by its name, which an unknown value does not have.
        return DeploymentStatus, (self.value,)

    @property
    def is_known(self) -> bool:
        """Whether this is one of the 13 values."""
        return self.value in DeploymentStatus.__members__

    @property
    def is_success(self) -> bool:
        """Whether the platform says that the deployment serves."""
        return self == DeploymentStatus.SUCCESS

    @property
    def is_failure(self) -> bool:
        """Whether the deployment has ended and will not serve."""
        return self in _FAILURES

    @property
    def is_terminal(self) -> bool:
        """Whether the deployment has ended: nothing more happens to it without a new request."""
        return self.is_success or self.is_failure or self == DeploymentStatus.SLEEPING

    @property
    def is_in_flight(self) -> bool:
        """Whether the platform works on the deployment or waits to; an unknown status does not say so."""
        return self in _IN_FLIGHT

    @property
    def needs_approval(self) -> bool:
        """Whether the deployment waits for a person."""
        return self == DeploymentStatus.NEEDS_APPROVAL


_IN_FLIGHT: Final = frozenset(
    {
        DeploymentStatus.INITIALIZING,
        DeploymentStatus.QUEUED,
        DeploymentStatus.WAITING,
        DeploymentStatus.NEEDS_APPROVAL,
        DeploymentStatus.BUILDING,
        DeploymentStatus.DEPLOYING,
    }
)
_FAILURES: Final = frozenset(
    {DeploymentStatus.FAILED, DeploymentStatus.CRASHED, DeploymentStatus.REMOVED, DeploymentStatus.SKIPPED}
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a project."""

    id: str
    name: str

    @classmethod
    def read(cls, fields: Fields) -> "Service":
        """Read a service out of an answer."""
        return cls(id=fields.text("id"), name=fields.text("name"))


@dataclass(frozen=True, slots=True)
class Scope:
    """One environment of one project, with the project's services: what a project token is for."""

    project_id: str
    project_name: str
    environment_id: str
    environment_name: str
    services: tuple[Service, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> "Scope":
        """Read what a project token is for out of an answer."""
        project = fields.fields("project")
        return cls(
            project_id=fields.text("projectId"),
            project_name=project.line("name"),
            environment_id=fields.text("environmentId"),
            environment_name=fields.fields("environment").line("name"),
            services=tuple(Service.read(node) for node in project.nodes("services")),
        )

    @classmethod
    def read_project(cls, project: Fields, *, environment: str) -> "Scope | None":
        """Read a project out of an answer, with its `environment` of that name or id; None where it has none such."""
        found = (one for one in project.nodes("environments") if environment in {one.text("id"), one.line("name")})
        chosen = next(found, None)
        if chosen is None:
            return None
        return cls(
            project_id=project.text("id"),
            project_name=project.line("name"),
            environment_id=chosen.text("id"),
            environment_name=chosen.line("name"),
            services=tuple(Service.read(node) for node in project.nodes("services")),
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. `stopped` says that all its instances have, `diagnosis` why it failed, where known.

    `reason` is what began it ("deploy", "redeploy", "rollback"), where the platform says so.
    """

    id: str
    status: DeploymentStatus
    created_at: datetime
    status_updated_at: datetime | None = None
    url: str | None = None
    static_url: str | None = None
    stopped: bool = False
    can_rollback: bool = False
    message: str | None = None
    reason: str | None = None
    diagnosis: str | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)

    @classmethod
    def read(cls, fields: Fields) -> "Deployment":
        """Read a deployment out of an answer."""
        meta = fields.optional_mapping("meta")
        return cls(
            id=fields.text("id"),
            status=DeploymentStatus(fields.text("status")),
            created_at=fields.moment("createdAt"),
            status_updated_at=fields.optional_moment("statusUpdatedAt"),
            url=fields.optional_text("url"),
            static_url=fields.optional_text("staticUrl"),
            stopped=fields.flag("deploymentStopped"),
            can_rollback=fields.flag("canRollback"),
            message=_message(meta),
            reason=reason if isinstance(reason := meta.get("reason"), str) else None,
            diagnosis=_diagnosis(fields.anything("diagnosis")),
            meta=MappingProxyType(dict(meta)),
        )


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """One step of a deployment: when it began, when it ended, and what went wrong in it.

    `step` is a word of Railway's (SNAPSHOT_CODE, BUILD_IMAGE, HEALTHCHECK …); one that is not known is kept as it is.
    """

    id: str
    step: str
    created_at: datetime
    completed_at: datetime | None = None
    error: str | None = None
    detail: str | None = None
    skipped: bool = False

    @classmethod
    def read(cls, fields: Fields) -> "DeploymentEvent":
        """Read an event out of an answer."""
        payload = fields.optional_mapping("payload")
        error, detail = payload.get("error"), payload.get("detail")
        return cls(
            id=fields.text("id"),
            step=printable(fields.text("step")),
            created_at=fields.moment("createdAt"),
            completed_at=fields.optional_moment("completedAt"),
            error=printable(error) if isinstance(error, str) and error else None,
            detail=printable(detail) if isinstance(detail, str) and detail else None,
            skipped=payload.get("skipped") is True,
        )


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """How a service is run in one environment; None is what was never set. Times are in seconds."""

    service_id: str
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Fields) -> "ServiceInstance":
        """Read a service instance out of an answer; its settings keep Railway's names."""
        names = SERVICE_SETTINGS
        settings = MappingProxyType({name: fields.anything(name) for name in names})
        return cls(service_id=fields.text("serviceId"), settings=settings)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a service answered in one interval: `at` is its beginning in unix seconds, `p95` in seconds."""

    at: int
    requests: int
    errors: int
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log; `timestamp` is RFC 3339 text, as fine as the platform gives it."""

    timestamp: str
    message: str
    severity: str | None

    @classmethod
    def read(cls, fields: Fields) -> "LogLine":
        """Read a log line out of an answer."""
        return cls(
            timestamp=fields.text("timestamp"),
            message=printable(fields.line("message").rstrip()),
            severity=fields.optional_text("severity"),
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """What the platform answers to an upload that it took: it says nothing yet about how the deployment ends."""

    deployment_id: str
    url: str | None
    logs_url: str | None
    deployment_domain: str | None

    @classmethod
    def read(cls, fields: Fields) -> "Upload":
        """Read the answer to an upload."""
        return cls(
            deployment_id=fields.text("deploymentId"),
            url=fields.optional_text("url"),
            logs_url=fields.optional_text("logsUrl"),
            deployment_domain=fields.optional_text("deploymentDomain"),
        )


def read_traffic(data: Fields) -> tuple[Traffic, ...]:
    """Read what a service answered out of its metrics by status and those of its durations, oldest first."""
    answers: dict[int, int] = {}
    errors: dict[int, int] = {}
    for group in data.list_of_fields("httpMetricsGroupedByStatus"):
        status = group.number("statusCode")
        for sample in group.list_of_fields("samples"):
            at, count = int(sample.number("ts")), round(sample.number("value"))
            answers[at] = answers.get(at, 0) + count
            errors[at] = errors.get(at, 0) + (count if status >= _SERVER_ERROR else 0)
    samples = data.fields("httpDurationMetrics").list_of_fields("samples")
    slow = {int(sample.number("ts")): sample.number("p95") / 1000 for sample in samples}
    return tuple(Traffic(at, answers[at], errors[at], slow.get(at)) for at in sorted(answers))


def _message(meta: Mapping[str, Any]) -> str | None:
    for key in _MESSAGE_KEYS:
        value = meta.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _diagnosis(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return printable(value) if value else None
    return printable(json.dumps(value, ensure_ascii=False))
