"""Where a deploy goes: Railway, or the local platform that speaks the same API."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from fairlead._output import redact
from fairlead._procfile import WEB
from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import AuthenticationError, ConfigurationError, PlatformError
from fairlead.railway import RAILWAY_URL, Deployment, RailwayClient, Scope


@dataclass(frozen=True, slots=True)
class TargetService:
    """One service of the environment: its kind ("web", "worker" …), and its name and id on the platform."""

    kind: str
    name: str
    id: str

    def step(self, name: str) -> str:
        """Name a step of what is done to this service; the web's needs no more than that."""
        return name if self.kind == WEB else f"{name} {self.kind}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deploy goes: the platform's client, the ids it needs, and the URL that the public sees.

    `services` are in the order in which they are deployed, the web first. `local` says that it is the local platform.
    """

    client: RailwayClient
    project_id: str
    environment_id: str
    services: tuple[TargetService, ...]
    public_url: str
    notes: tuple[str, ...] = ()
    local: bool = False

    @property
    def web(self) -> TargetService:
        """The service that has the public URL."""
        return self.services[0]

    def deployments(self, service: TargetService | None = None) -> tuple[Deployment, ...]:
        """Fetch the latest deployments of a service, newest first; the web's unless another is named."""
        return self.client.fetch_deployments(
            project_id=self.project_id, environment_id=self.environment_id, service_id=(service or self.web).id
        )

    def settle_canary(self, deployment_id: str, *, take_over: bool) -> None:
        """Let a canary take over, or withdraw it."""
        self.client.settle_canary(
            deployment_id, take_over=take_over, project_id=self.project_id, environment_id=self.environment_id
        )


@contextlib.contextmanager
def open_railway(config: Config, environment: EnvironmentConfig) -> Iterator[Target]:
    """Open the Railway environment that `environment` names, with the token from its variable.

    Raises `PlatformError` where the token is for another project or environment, or a service is missing.
    """
    missing = name_missing_access(config, environment)
    if missing:
        raise ConfigurationError(f"{environment.name} cannot be reached", problems=tuple(missing))
    variable = _token_variable(environment)
    token = config.environ[variable]
    redact.register(token)
    url = environment.api_url or RAILWAY_URL
    with RailwayClient(token, url=url, account=_is_account(variable), token_env=variable) as client:
        if _is_account(variable):
            wanted = environment.railway_environment or environment.name
            scope = client.fetch_project(environment.project or "", environment=wanted)
        else:
            scope = client.fetch_project_token()
            _check_scope(environment, scope, variable)
        services = _find_services(config, environment, scope)
        yield Target(client, scope.project_id, scope.environment_id, services, str(environment.url))


def _check_scope(environment: EnvironmentConfig, scope: Scope, variable: str) -> None:
    """Refuse a token that is for another place than the configuration means: it would deploy there."""
    wanted = environment.railway_environment or environment.name
    if wanted not in {scope.environment_name, scope.environment_id}:
        raise AuthenticationError(
            f"the token in {variable} is for the environment {scope.environment_name!r} of {scope.project_name}, "
            f"and {environment.name} means {wanted!r}",
            hint=f"set {variable} to a token of {wanted!r}, or name Railway's own environment: railway-environment in "
            f"[tool.fairlead.environments.{environment.name}]",
        )
    if environment.project not in {None, scope.project_name, scope.project_id}:
        raise AuthenticationError(
            f"the token in {variable} is for the project {scope.project_name!r}, not {environment.project!r}",
            hint=f"set {variable} to a token of that project",
        )


def _find_services(config: Config, environment: EnvironmentConfig, scope: Scope) -> tuple[TargetService, ...]:
    declared = {WEB: config.name, **environment.services}
    ordered = sorted(declared.items(), key=lambda item: item[0] != WEB)
    found = {kind: next((one for one in scope.services if name in {one.name, one.id}), None) for kind, name in ordered}
    missing = [declared[kind] for kind, service in found.items() if service is None]
    if missing:
        known = ", ".join(sorted(one.name for one in scope.services)) or "none"
        what = f"no service {' and no service '.join(map(repr, missing))}"
        hint = f"name them in [tool.fairlead.environments.{environment.name}] services; the project has: {known}"
        raise PlatformError(f"project {scope.project_name} has {what}", hint=hint)
    return tuple(TargetService(kind, one.name, one.id) for kind, one in found.items() if one is not None)


@contextlib.contextmanager
def open_local(config: Config, *, start: bool = True) -> Iterator[Target]:
    """Open the local platform; started if it does not run, or with `start` off refused with `PlatformError`."""
    from fairlead import localplatform

    endpoint = localplatform.start(config) if start else localplatform.find(config)
    if endpoint is None:
        raise PlatformError(
            "the local platform is not running", hint="invoke platform.up, or invoke deploy --env local"
        )
    environment = config.environment("local")
    with RailwayClient(endpoint.token, url=endpoint.api_url) as client:
        if any(kind != WEB for kind in environment.services):
            services = _find_services(config, environment, client.fetch_project_token())
        else:
            services = (TargetService(WEB, environment.services.get(WEB) or config.name, endpoint.service_id),)
        yield Target(
            client,
            endpoint.project_id,
            endpoint.environment_id,
            services,
            endpoint.public_url,
            endpoint.notes,
            local=True,
        )


def name_missing_access(config: Config, environment: EnvironmentConfig) -> list[str]:
    """Name what it takes to reach a platform that is not local, and is not there."""
    if environment.platform == "local":
        return []
    table = f"tool.fairlead.environments.{environment.name}"
    variable = _token_variable(environment)
    problems = [] if config.environ.get(variable) else [f"{variable} is not set ({table}.token-env names it)"]
    if _is_account(variable) and not environment.project:
        problems.append(f"{table}.project is missing: the token in {variable} is not bound to a project")
    return problems if environment.url else [*problems, f"{table}.url is missing: a deploy is verified there"]


def _token_variable(environment: EnvironmentConfig) -> str:
    """Return the name of the variable that holds the platform's token."""
    return environment.token_env or "RAILWAY_TOKEN"


def _is_account(variable: str) -> bool:
    """Tell by its variable whether a token is one of an account or workspace, as Railway's own programs do."""
    return variable.endswith("RAILWAY_API_TOKEN")
