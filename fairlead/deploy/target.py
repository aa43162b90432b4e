"""Where a deploy goes: Railway, or the local platform that speaks the same API."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from fairlead._output import redact
from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import ConfigurationError, PlatformError
from fairlead.railway import Deployment, RailwayClient


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deploy goes: the platform's client, the ids it needs, and the URL that the public sees."""

    client: RailwayClient
    project_id: str
    environment_id: str
    service_id: str
    public_url: str
    notes: tuple[str, ...] = ()

    def deployments(self) -> tuple[Deployment, ...]:
        """Fetch the latest deployments, newest first."""
        return self.client.fetch_deployments(
            project_id=self.project_id, environment_id=self.environment_id, service_id=self.service_id
        )


@contextlib.contextmanager
def open_railway(config: Config, environment: EnvironmentConfig) -> Iterator[Target]:
    """Open the Railway environment that `environment` names, with the token from its variable."""
    missing = name_missing_access(config, environment)
    if missing:
        raise ConfigurationError(f"{environment.name} cannot be reached", problems=tuple(missing))
    token = config.environ[_token_variable(environment)]
    redact.register(token)
    with RailwayClient(token, token_env=_token_variable(environment)) as client:
        scope = client.fetch_project_token()
        name = environment.services.get("web") or config.name
        service = next((one for one in scope.services if name in {one.name, one.id}), None)
        if service is None:
            known = ", ".join(sorted(one.name for one in scope.services)) or "none"
            hint = f"name one in [tool.fairlead.environments.{environment.name}] services; the project has: {known}"
            raise PlatformError(f"project {scope.project_name} has no service {name!r}", hint=hint)
        yield Target(client, scope.project_id, scope.environment_id, service.id, str(environment.url))


@contextlib.contextmanager
def open_local(config: Config, *, start: bool = True) -> Iterator[Target]:
    """Open the local platform; started if it does not run, or with `start` off refused with `PlatformError`."""
    from fairlead import localplatform

    endpoint = localplatform.start(config) if start else localplatform.find(config)
    if endpoint is None:
        raise PlatformError(
            "the local platform is not running", hint="invoke platform.up, or invoke deploy --env local"
        )
    with RailwayClient(endpoint.token, url=endpoint.api_url) as client:
        yield Target(
            client,
            endpoint.project_id,
            endpoint.environment_id,
            endpoint.service_id,
            endpoint.public_url,
            endpoint.notes,
        )


def name_missing_access(config: Config, environment: EnvironmentConfig) -> list[str]:
    """Name what it takes to reach a platform that is not local, and is not there."""
    if environment.platform == "local":
        return []
    table = f"tool.fairlead.environments.{environment.name}"
    variable = _token_variable(environment)
    problems = [] if config.environ.get(variable) else [f"{variable} is not set ({table}.token-env names it)"]
    return problems if environment.url else [*problems, f"{table}.url is missing: a deploy is verified there"]


def _token_variable(environment: EnvironmentConfig) -> str:
    """Return the name of the variable that holds the platform's token."""
    return environment.token_env or "RAILWAY_TOKEN"
