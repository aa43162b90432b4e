"""The only client of Railway's API there is; the local platform answers it just the same.

Whatever goes wrong becomes a `PlatformError`: an HTTP 200 that carries GraphQL errors is a failure, a field that is
missing or of another type is one too, and no message ever holds the token.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from fairlead._http import is_loopback, make_client
from fairlead._output import passwords_in, redact
from fairlead.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DeadlineError,
    PlatformError,
    ResponseError,
)
from fairlead.railway import queries
from fairlead.railway.exchange import Exchange
from fairlead.railway.fields import Fields
from fairlead.railway.models import (
    RAILWAY_URL,
    Deployment,
    DeploymentEvent,
    LogLine,
    Scope,
    ServiceInstance,
    Traffic,
    Upload,
    read_traffic,
)
from fairlead.railway.refusals import Refusals

_LAST_PORT: Final = 65535
_CHUNK: Final = 64 * 1024
_MOST_LOG_LINES: Final = 5000
#: Names of variables whose values are no affair of anybody's.
_SECRET_NAME: Final = re.compile(r"TOKEN|SECRET|KEY|PASS|PWD|URL|DSN|CREDENTIAL|SALT|AUTH|CERT", re.IGNORECASE)

Progress = Callable[[int, int], None]


class RailwayClient:
    """A client of Railway's API, or of the local platform's at another `url`; a context manager, for one thread.

    `token` is a project token, or with `account` an account or workspace token; `token_env` is the variable that
    it came from, for messages. `timeout`, in seconds, bounds each call as a whole, repetitions included; an upload has
    a bound of its own. Reads are repeated a few times when the connection or the platform fails for a moment.
    `transport`, `clock` and `sleep` are replaced in tests. Raises `AuthenticationError` for a token that cannot be
    one, `ConfigurationError` for a URL that would carry it in the clear.
    """

    def __init__(
        self,
        token: str,
        *,
        url: str = RAILWAY_URL,
        account: bool = False,
        token_env: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._token_env = token_env or ("RAILWAY_API_TOKEN" if account else "RAILWAY_TOKEN")
        _check_url(url)
        self._http = make_client(url.rstrip("/"), timeout=timeout, transport=transport)
        self._exchange = Exchange(self._http, clock=clock, sleep=sleep)
        self._refusals = Refusals(
            url=url,
            host=self._http.base_url.host,
            place=self._exchange.place,
            token_env=self._token_env,
            account=account,
        )
        token = token.strip()
        if not re.fullmatch(r"[!-~]+", token):
            what = "is empty" if not token else "holds characters that no token has"
            raise AuthenticationError(f"the token in {self._token_env} {what}", hint=self._refusals.token_hint())
        redact.register(token)
        self._http.headers.update({"Authorization": f"Bearer {token}"} if account else {"Project-Access-Token": token})
        self._url = url
        self._timeout = timeout
        self._clock = clock

    def __repr__(self) -> str:
        return f"RailwayClient(url={self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def fetch_project_token(self) -> Scope:
        """Fetch which project and environment the token is for, with the project's services."""
        data = self._query("asking what the token is for", queries.PROJECT_TOKEN, {})
        return Scope.read(data.fields("projectToken"))

    def fetch_project(self, project_id: str, *, environment: str) -> Scope:
        """Fetch a project with its `environment` of that name or id; an account token needs to be told both."""
        data = self._query(f"fetching project {project_id}", queries.PROJECT, {"id": project_id})
        project = data.fields("project")
        scope = Scope.read_project(project, environment=environment)
        if scope is None:
            known = ", ".join(sorted(one.line("name") for one in project.nodes("environments"))) or "none"
            raise PlatformError(
                f"project {project.line('name')} has no environment {environment!r}; it has: {known}",
                hint="name one of them: railway-environment in [tool.fairlead.environments.…]",
            )
        return scope

    def fetch_deployments(
        self, *, project_id: str, environment_id: str, service_id: str, limit: int = 20
    ) -> tuple[Deployment, ...]:
        """Fetch the latest deployments of a service, newest first."""
        place = {"projectId": project_id, "environmentId": environment_id, "serviceId": service_id}
        data = self._query("fetching the deployments", queries.DEPLOYMENTS, {"input": place, "first": limit})
        found = (Deployment.read(node) for node in data.nodes("deployments"))
        return tuple(sorted(found, key=lambda deployment: deployment.created_at, reverse=True))

    def fetch_deployment(self, deployment_id: str) -> Deployment:
        """Fetch one deployment."""
        data = self._query(f"fetching deployment {deployment_id}", queries.DEPLOYMENT, {"id": deployment_id})
        return Deployment.read(data.fields("deployment"))

    def fetch_events(self, deployment_id: str, *, limit: int = 100) -> tuple[DeploymentEvent, ...]:
        """Fetch the steps of a deployment, oldest first."""
        variables = {"id": deployment_id, "first": limit}
        data = self._query(f"fetching the events of deployment {deployment_id}", queries.DEPLOYMENT_EVENTS, variables)
        found = (DeploymentEvent.read(node) for node in data.nodes("deploymentEvents"))
        return tuple(sorted(found, key=lambda event: event.created_at))

    def roll_back(self, deployment_id: str) -> None:
        """Have the platform deploy again what this deployment was, variables included; never asked twice.

        It says no more than that it began; the new deployment is found among the latest ones. Raises `ResponseError`
        where the platform says that it did not.
        """
        what = f"rolling back to deployment {deployment_id}"
        data = self._query(what, queries.DEPLOYMENT_ROLLBACK, {"id": deployment_id}, repeat=False)
        if not data.flag("deploymentRollback"):
            raise ResponseError(f"{what} failed: the platform refused and does not say why")

    def cancel(self, deployment_id: str) -> None:
        """Have the platform give up a deployment that is in flight; raise `ResponseError` where it did not."""
        what = f"cancelling deployment {deployment_id}"
        data = self._query(what, queries.DEPLOYMENT_CANCEL, {"id": deployment_id}, repeat=False)
        if not data.flag("deploymentCancel"):
            raise ResponseError(f"{what} failed: the platform refused and does not say why")

    def settle_canary(self, deployment_id: str, *, take_over: bool, project_id: str, environment_id: str) -> None:
        """Let a canary take over, or withdraw it; the local platform alone has canaries."""
        what = f"settling the canary {deployment_id}"
        place = f"/project/{project_id}/environment/{environment_id}/deployment/{deployment_id}/canary"
        parameters = {"take-over": "true" if take_over else "false"}
        answer = self._exchange.call(what, place, timeout=self._timeout, repeat=False, params=parameters)
        self._refusals.read(what, answer)

    def fetch_release_traffic(
        self, deployment_id: str, *, project_id: str, environment_id: str, since: datetime, until: datetime, step: int
    ) -> tuple[Traffic, ...]:
        """Fetch what one release answered, as `fetch_traffic` does; the local platform alone can tell."""
        what = f"fetching the traffic of deployment {deployment_id}"
        place = f"/project/{project_id}/environment/{environment_id}/deployment/{deployment_id}/traffic"
        parameters = {"since": str(since.timestamp()), "until": str(until.timestamp()), "step": str(step)}
        answer = self._exchange.call(what, place, timeout=self._timeout, repeat=True, params=parameters)
        return read_traffic(Fields(self._refusals.read(what, answer), "answer"))

    def fetch_service_instance(self, *, environment_id: str, service_id: str) -> ServiceInstance:
        """Fetch how a service is run in an environment."""
        variables = {"environmentId": environment_id, "serviceId": service_id}
        data = self._query("fetching the service's settings", queries.SERVICE_INSTANCE, variables)
        return ServiceInstance.read(data.fields("serviceInstance"))

    def update_service_instance(self, settings: Mapping[str, Any], *, environment_id: str, service_id: str) -> None:
        """Change settings of a service, given under Railway's names; they hold from the next deployment on."""
        what = "changing the service's settings"
        variables = {"environmentId": environment_id, "serviceId": service_id, "input": dict(settings)}
        data = self._query(what, queries.SERVICE_INSTANCE_UPDATE, variables, repeat=False)
        if not data.flag("serviceInstanceUpdate"):
            raise ResponseError(f"{what} failed: the platform refused and does not say why")

    def fetch_variable_names(self, *, project_id: str, environment_id: str, service_id: str) -> frozenset[str]:
        """Fetch the names of a service's variables that have a value; one that is sealed has, though it is not shown.

        The values are not kept, but masked wherever they should turn up from now on.
        """
        variables = {"projectId": project_id, "environmentId": environment_id, "serviceId": service_id}
        data = self._query("fetching the names of the variables", queries.VARIABLES, variables)
        found = data.optional_mapping("variables")
        for name, value in found.items():
            if isinstance(value, str) and _SECRET_NAME.search(name):
                redact.register(value)
        return frozenset(name for name, value in found.items() if value != "")

    def fetch_variables(
        self, *, project_id: str, environment_id: str, service_id: str, public: Collection[str] = ()
    ) -> Mapping[str, str | None]:
        """Fetch a service's variables as its next deployment would have them; None stands for one that is sealed.

        Every value is masked wherever it should turn up from now on, but for those of the variables called `public`
        and of those that say where a deployment runs.
        """
        variables = {"projectId": project_id, "environmentId": environment_id, "serviceId": service_id}
        data = self._query("fetching the variables", queries.DEPLOYMENT_VARIABLES, variables)
        found = data.optional_mapping("variablesForServiceDeployment")
        for name, value in found.items():
            if isinstance(value, str) and name not in public and not _is_place(name):
                for secret in (value, *passwords_in(value)):
                    redact.register(secret)
        return {name: value if isinstance(value, str) else None for name, value in found.items()}

    def fetch_traffic(
        self, *, environment_id: str, service_id: str, since: datetime, until: datetime, step: int
    ) -> tuple[Traffic, ...]:
        """Fetch what a service answered from `since` to `until`, in intervals of `step` seconds, oldest first."""
        variables = {
            "environmentId": environment_id,
            "serviceId": service_id,
            "startDate": since.isoformat(),
            "endDate": until.isoformat(),
            "stepSeconds": step,
        }
        data = self._query("fetching the service's traffic", queries.TRAFFIC, variables)
        return read_traffic(data)

    def fetch_deployment_logs(
        self, deployment_id: str, *, limit: int = 500, since: str | None = None
    ) -> tuple[LogLine, ...]:
        """Fetch what a deployment has printed: at most `limit` lines, and only those after the timestamp `since`."""
        return self._logs("deploymentLogs", queries.DEPLOYMENT_LOGS, deployment_id, limit=limit, since=since)

    def fetch_build_logs(
        self, deployment_id: str, *, limit: int = 500, since: str | None = None
    ) -> tuple[LogLine, ...]:
        """Fetch what a deployment's build has printed, as `fetch_deployment_logs` does."""
        return self._logs("buildLogs", queries.BUILD_LOGS, deployment_id, limit=limit, since=since)

    def upload(
        self,
        archive: Path,
        *,
        project_id: str,
        environment_id: str,
        service_id: str,
        message: str | None,
        canary: float | None = None,
        on_progress: Progress | None = None,
        timeout: float = 300.0,
    ) -> Upload:
        """Upload a gzipped tar archive, which begins a deployment; never sent twice.

        `on_progress` is called with the bytes sent and the bytes in all. `timeout`, in seconds, bounds the whole.
        `canary` is the share of the requests, in per cent, that the new release gets: the local platform alone can.
        """
        what = "uploading the bundle"
        try:
            file = archive.open("rb")
            size = archive.stat().st_size
        except OSError as error:
            raise PlatformError(f"{what} failed: {archive} cannot be read: {error.strerror}") from error
        parameters = {"serviceId": service_id, **({} if message is None else {"message": message})}
        if canary is not None:
            parameters["canary"] = f"{canary:g}"
        with file:
            answer = self._exchange.call(
                what,
                f"/project/{quote(project_id, safe='')}/environment/{quote(environment_id, safe='')}/up",
                timeout=timeout,
                repeat=False,
                hint="the platform may have taken it all the same: look with `invoke releases` before you deploy again",
                params=parameters,
                content=_chunks(file, size, on_progress, clock=self._clock, deadline=self._clock() + timeout),
                headers={"Content-Type": "application/gzip", "Content-Length": str(size)},
            )
        return Upload.read(Fields(self._refusals.read(what, answer), "answer"))

    def _logs(
        self, field: str, document: str, deployment_id: str, *, limit: int, since: str | None
    ) -> tuple[LogLine, ...]:
        variables = {"deploymentId": deployment_id, "limit": min(limit, _MOST_LOG_LINES), "startDate": since}
        data = self._query(f"fetching the logs of deployment {deployment_id}", document, variables)
        lines = (LogLine.read(line) for line in data.list_of_fields(field))
        return tuple(line for line in lines if line.timestamp != since)

    def _query(self, what: str, document: str, variables: Mapping[str, Any], *, repeat: bool = True) -> Fields:
        body = {"query": document, "variables": variables}
        answer = self._exchange.call(what, "/graphql/v2", timeout=self._timeout, repeat=repeat, json=body)
        return Fields(self._refusals.read(what, answer), "answer").fields("data")


def _is_place(name: str) -> bool:
    return name.startswith("RAILWAY_") and not _SECRET_NAME.search(name)


def _check_url(url: str) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if not parts.host or parts.scheme not in ("http", "https") or (parts.port or 0) > _LAST_PORT:
        raise ConfigurationError(f"{url!r} is not the address of a platform", hint=f"it looks like {RAILWAY_URL}")
    if parts.scheme == "http" and not is_loopback(parts.host):
        raise ConfigurationError(f"{url} would carry the token unencrypted", hint="use an https:// address")


def _chunks(
    file: Any, size: int, on_progress: Progress | None, *, clock: Callable[[], float], deadline: float
) -> Iterator[bytes]:
    sent = 0
    while sent < size:
        try:
            chunk = file.read(min(_CHUNK, size - sent))
        except OSError as error:
            raise PlatformError(f"uploading the bundle failed: it cannot be read: {error.strerror}") from error
        if not chunk:
            raise PlatformError("uploading the bundle failed: it became shorter while it was being sent")
        if clock() > deadline:
            raise DeadlineError(
                f"uploading the bundle failed: only {sent} of {size} bytes were sent in time",
                hint="check the network and try again; nothing was deployed",
            )
        yield chunk
        sent += len(chunk)
        if on_progress is not None:
            on_progress(sent, size)
