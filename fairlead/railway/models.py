"""What Railway says about projects and deployments, as frozen records under Railway's own words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from fairlead.railway.fields import Fields

#: Where in a deployment's `meta` its message stands: an upload's, then that of a commit deployed from a repository.
_MESSAGE_KEYS: Final = ("cliMessage", "message", "commitMessage")


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
    def needs_approval(self) -> bool:
        """Whether the deployment waits for a person."""
        return self == DeploymentStatus.NEEDS_APPROVAL


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
class ProjectToken:
    """What a project token is for: one environment of one project."""

    name: str
    project_id: str
    project_name: str
    environment_id: str
    environment_name: str
    services: tuple[Service, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> "ProjectToken":
        """Read a project token out of an answer."""
        project = fields.fields("project")
        return cls(
            name=fields.line("name"),
            project_id=fields.text("projectId"),
            project_name=project.line("name"),
            environment_id=fields.text("environmentId"),
            environment_name=fields.fields("environment").line("name"),
            services=tuple(Service.read(node) for node in project.nodes("services")),
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. `stopped` says that all its instances have, `diagnosis` why it failed, where known."""

    id: str
    status: DeploymentStatus
    created_at: datetime
    status_updated_at: datetime | None = None
    url: str | None = None
    static_url: str | None = None
    stopped: bool = False
    can_rollback: bool = False
    message: str | None = None
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
            diagnosis=_diagnosis(fields.anything("diagnosis")),
            meta=MappingProxyType(dict(meta)),
        )


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
            message=fields.line("message"),
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


def _message(meta: Mapping[str, Any]) -> str | None:
    for key in _MESSAGE_KEYS:
        value = meta.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _diagnosis(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)
