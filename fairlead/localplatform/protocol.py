"""What the local platform's API answers from, whatever that is: the platform itself, or a test's double."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fairlead.localplatform.records import Deployment, LogLine, Step
from fairlead.localplatform.traffic import Traffic


class Platform(Protocol):
    """What the API answers from. Its methods that only read are called from worker threads."""

    @property
    def project_id(self) -> str:
        """The id of the one project."""

    @property
    def environment_id(self) -> str:
        """The id of its one environment."""

    @property
    def services(self) -> Mapping[str, str]:
        """The name of each service by its id, the web first."""

    @property
    def project_name(self) -> str:
        """The project's name."""

    @property
    def environment_name(self) -> str:
        """The environment's name."""

    @property
    def token(self) -> str:
        """The token that requests must carry."""

    @property
    def public_url(self) -> str:
        """Where the release that serves is reached."""

    @property
    def incoming(self) -> Path:
        """The folder that archives are received in; it is made when it is not there."""

    async def receive(
        self, archive: Path, *, service_id: str, message: str | None, canary: float | None = None
    ) -> Deployment:
        """Take over an archive and begin to deploy it."""

    async def settle(self, deployment_id: str, /, *, take_over: bool) -> None:
        """Let a canary take over, or withdraw it."""

    def roll_back(self, deployment_id: str, /) -> None:
        """Begin to deploy again what a deployment was."""

    def cancel(self, deployment_id: str, /) -> None:
        """Give up a deployment that is in flight."""

    def deployments(self, *, limit: int, service_id: str | None = None) -> Sequence[Deployment]:
        """Return deployments, newest first, of one service or of all."""

    def service_of(self, deployment: Deployment, /) -> str:
        """Return the id of the service that a deployment is of."""

    def steps(self, deployment_id: str, /) -> Sequence[Step]:
        """Return the steps of a deployment, oldest first."""

    def settings(self, service_id: str, /) -> Mapping[str, Any]:
        """Return how a service is run, under Railway's names."""

    def variable_names(self) -> Sequence[str]:
        """Return the names of the variables that releases get."""

    @property
    def traffic(self) -> Traffic:
        """What the releases answered."""

    def deployment(self, deployment_id: str, /) -> Deployment | None:
        """Return one deployment."""

    def logs(self, deployment_id: str, /, *, stream: str, limit: int, since: str | None = None) -> Sequence[LogLine]:
        """Return the newest `limit` lines of a stream, oldest of them first."""
