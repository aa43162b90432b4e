"""An in-memory platform for the local platform's API, shared by unit and integration tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairlead._procfile import WEB
from fairlead.exceptions import PlatformError
from fairlead.localplatform.records import Deployment, LogLine, Step
from fairlead.localplatform.traffic import Traffic

TOKEN = "canary-token-of-the-double"
PROJECT, ENVIRONMENT, SERVICE = "project-1", "environment-1", "service-1"


def deployment(number: int, status: str = "SUCCESS", *, message: str | None = None) -> Deployment:
    moment = f"2026-01-01T00:00:{number:02d}.000000Z"
    return Deployment(
        id=f"deployment-{number}",
        status=status,
        created_at=moment,
        status_updated_at=moment,
        message=message,
        url="http://127.0.0.1:8000",
        stopped=status != "SUCCESS",
    )


class PlatformDouble:
    """Keeps what it receives; `refuse` is raised in place of taking an archive."""

    project_id, environment_id = PROJECT, ENVIRONMENT
    project_name, environment_name = "maya", "local"
    token = TOKEN
    public_url = "http://127.0.0.1:8000"

    def __init__(self, incoming: Path, *known: Deployment) -> None:
        self.incoming = incoming
        self.known = list(known)
        self.received: list[tuple[bytes, str | None]] = []
        self.lines: list[LogLine] = []
        self.refuse: Exception | None = None
        self.services = {SERVICE: "maya-backend"}
        self.variables = ["DATABASE_URL", "PORT"]
        self.instance: dict[str, Any] = {"restartPolicyMaxRetries": 5}
        self.events: list[Step] = []
        self.traffic = Traffic()
        self.rolled_back: list[str] = []
        self.settled: list[tuple[str, bool]] = []

    async def receive(
        self, archive: Path, *, service_id: str, message: str | None, canary: float | None = None
    ) -> Deployment:
        if self.refuse is not None:
            raise self.refuse
        self._take(archive, message)
        taken = deployment(len(self.known) + 1, "INITIALIZING", message=message)
        self.known.append(taken)
        return taken

    def _take(self, archive: Path, message: str | None) -> None:
        self.received.append((archive.read_bytes(), message))
        archive.unlink()

    async def settle(self, deployment_id: str, /, *, take_over: bool) -> None:
        self.settled.append((deployment_id, take_over))

    def roll_back(self, deployment_id: str, /) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.rolled_back.append(deployment_id)

    def cancel(self, deployment_id: str, /) -> None:
        self.become(deployment_id, "REMOVED")

    def deployments(self, *, limit: int, service_id: str | None = None) -> Sequence[Deployment]:
        return [known for known in self.known[::-1] if service_id in {None, self.service_of(known)}][:limit]

    def service_of(self, deployment: Deployment, /) -> str:
        return SERVICE if deployment.service == WEB else f"service-{deployment.service}"

    def steps(self, deployment_id: str, /) -> Sequence[Step]:
        return self.events

    def settings(self, service_id: str, /) -> Mapping[str, Any]:
        return self.instance

    def variable_names(self) -> Sequence[str]:
        return self.variables

    def deployment(self, deployment_id: str, /) -> Deployment | None:
        return next((known for known in self.known if known.id == deployment_id), None)

    def logs(self, deployment_id: str, /, *, stream: str, limit: int, since: str | None = None) -> Sequence[LogLine]:
        if self.deployment(deployment_id) is None:
            raise PlatformError("asked for the logs of no deployment")
        lines = [line for line in self.lines if line.stream == stream and (since is None or line.timestamp > since)]
        return lines[-limit:]

    def become(self, deployment_id: str, status: str) -> None:
        self.known = [replace(each, status=status) if each.id == deployment_id else each for each in self.known]
