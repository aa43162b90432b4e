"""The services of the local platform, the web and the processes beside it, and what its API answers of them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio.from_thread

from fairlead._procfile import WEB
from fairlead.config import FILE, Config
from fairlead.exceptions import Error, PlatformError
from fairlead.localplatform import releases
from fairlead.localplatform.endpoint import platform_directory
from fairlead.localplatform.records import Deployment, LogLine, Step
from fairlead.localplatform.releases import ENVIRONMENT, service_names
from fairlead.localplatform.store import Store
from fairlead.localplatform.supervisor import Supervisor
from fairlead.localplatform.traffic import Traffic


class Services:
    """A supervisor for each kind of service that the configuration declares, as it does now or did at some time."""

    def __init__(self, store: Store, make: Callable[[str], Supervisor], load_config: Callable[[], Config]) -> None:
        self._store = store
        self._make = make
        self._load_config = load_config
        self._names: Mapping[str, str] = {}
        self._file: Path | None = None
        self._written: int | None = None
        self._supervisors: dict[str, Supervisor] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    @property
    def names(self) -> Mapping[str, str]:
        """The name of each kind of service, as the configuration has it now or had it while it could be read."""
        with contextlib.suppress(Error, OSError):
            # Asked for with every answer: the file is read again only where it was written again.
            written = self._file.stat().st_mtime_ns if self._file is not None else None
            if written is None or written != self._written:
                config = self._load_config()
                self._names, self._file = service_names(config), config.root / FILE
                self._written = self._file.stat().st_mtime_ns
        return self._names

    def kind_of(self, service_id: str) -> str:
        """Return the kind of the service of an id; raise `PlatformError` when there is none."""
        for kind in self.names:
            if self._store.service_id(kind) == service_id:
                return kind
        raise PlatformError("Service not found")

    def supervisor(self, kind: str) -> Supervisor:
        """Return the supervisor of a kind of service, which works from then on."""
        found = self._supervisors.get(kind)
        if found is None:
            found = self._supervisors[kind] = self._make(kind)
            found.recover()
            worker = asyncio.create_task(found.work())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)
        return found

    def recover(self) -> None:
        """Start the releases of every service again."""
        for kind in self.names:
            self.supervisor(kind)

    async def work(self) -> None:
        """Run for ever; a supervisor that fails ends it with its error."""
        self._failed = asyncio.get_running_loop().create_future()
        await self._failed

    async def close(self) -> None:
        """Stop every supervisor."""
        for worker in self._workers:
            worker.remove_done_callback(self._ended)
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for supervisor in self._supervisors.values():
            await supervisor.close()

    def _ended(self, worker: "asyncio.Task[None]") -> None:
        error = None if worker.cancelled() else worker.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)


class Platform:
    """What the API answers from: the store's records and the supervisors' queues."""

    def __init__(self, config: Config, store: Store, services: Services, traffic: Traffic, public_url: str) -> None:
        self.project_id = store.project_id
        self.environment_id = store.environment_id
        self.token = store.token
        self.public_url = public_url
        self.project_name = config.name
        self.environment_name = ENVIRONMENT
        self.incoming = platform_directory(config) / "incoming"
        self.traffic = traffic
        self._config = config
        self._store = store
        self._services = services

    @property
    def services(self) -> Mapping[str, str]:
        """The name of each service by its id, the web first."""
        return {self._store.service_id(kind): name for kind, name in self._services.names.items()}

    async def receive(
        self, archive: Path, *, service_id: str, message: str | None, canary: float | None = None
    ) -> Deployment:
        """Take over an archive and put it in its service's queue."""
        supervisor = self._services.supervisor(self._services.kind_of(service_id))
        return supervisor.receive(archive, message=message, canary=canary)

    async def settle(self, deployment_id: str, /, *, take_over: bool) -> None:
        """Let a canary take over, or withdraw it."""
        self._services.supervisor(WEB).settle(deployment_id, take_over=take_over)

    def roll_back(self, deployment_id: str, /) -> None:
        """Put what a deployment was into its service's queue again; called from a worker thread."""
        self._tell(deployment_id, Supervisor.roll_back)

    def cancel(self, deployment_id: str, /) -> None:
        """Give up a deployment that is in flight; called from a worker thread."""
        self._tell(deployment_id, Supervisor.cancel)

    def _tell(self, deployment_id: str, act: Callable[[Supervisor, Deployment], object]) -> None:
        """Have a deployment's supervisor do something with it, on the loop that it lives on."""
        deployment = self._store.deployment(deployment_id)
        if deployment is None:
            raise PlatformError("Deployment not found")
        anyio.from_thread.run_sync(lambda: act(self._services.supervisor(deployment.service), deployment))

    def deployments(self, *, limit: int, service_id: str | None = None) -> Sequence[Deployment]:
        """Return deployments, newest first, of one service or of all."""
        kind = None if service_id is None else self._services.kind_of(service_id)
        return self._store.deployments(limit=limit, service=kind)

    def deployment(self, deployment_id: str, /) -> Deployment | None:
        """Return one deployment."""
        return self._store.deployment(deployment_id)

    def service_of(self, deployment: Deployment, /) -> str:
        """Return the id of the service that a deployment is of."""
        return self._store.service_id(deployment.service)

    def steps(self, deployment_id: str, /) -> Sequence[Step]:
        """Return the steps of a deployment, oldest first."""
        return self._store.steps(deployment_id)

    def settings(self, service_id: str, /) -> Mapping[str, Any]:
        """Return how a service is run: what the railway.json of its release says."""
        active = self._store.active_of(self._services.kind_of(service_id))
        deployment = None if active is None else self._store.deployment(active)
        if deployment is None:
            return {"restartPolicyMaxRetries": 0}
        folder = platform_directory(self._config) / "releases" / deployment.release
        plan = releases.read_plan(folder, self._config, kind=deployment.service)
        return {
            "startCommand": plan.start_command,
            "preDeployCommand": list(plan.pre_deploy_commands),
            "healthcheckPath": plan.health_path,
            "healthcheckTimeout": round(plan.health_timeout),
            "restartPolicyType": plan.restart_policy,
            "restartPolicyMaxRetries": plan.restarts,
            "drainingSeconds": round(self._config.platform.stop_timeout),
            "overlapSeconds": round(self._config.platform.keep_warm),
            "numReplicas": 1,
        }

    def variable_names(self) -> Sequence[str]:
        """Return the names of the variables that releases get: declared, generated, and the platform's own."""
        environment = self._config.environment(ENVIRONMENT)
        return sorted({*environment.variables, *environment.generated_secrets, "DATABASE_URL", "HOST", "PORT"})

    def logs(self, deployment_id: str, /, *, stream: str, limit: int, since: str | None = None) -> Sequence[LogLine]:
        """Return the newest lines of a stream, oldest of them first."""
        return self._store.logs.read(deployment_id, stream=stream, limit=limit, since=since)
