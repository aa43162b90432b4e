"""The only client of Railway's API there is; the local platform answers it just the same.

Whatever goes wrong becomes a `PlatformError`: an HTTP 200 that carries GraphQL errors is a failure, a field that is
missing or of another type is one too, and no message ever holds the token.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from urllib.parse import quote

import httpx

from fairlead._http import make_client
from fairlead._output import redact
from fairlead.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DeadlineError,
    PlatformError,
    RateLimitError,
    ResponseError,
)
from fairlead.railway import queries
from fairlead.railway.exchange import Answer, Exchange
from fairlead.railway.fields import Fields
from fairlead.railway.models import Deployment, LogLine, ProjectToken, Upload

RAILWAY_URL: Final = "https://backboard.railway.com"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LAST_PORT: Final = 65535
_CHUNK: Final = 64 * 1024
_MOST_LOG_LINES: Final = 5000
_LONGEST_TEXT: Final = 300

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
        self._account = account
        token = token.strip()
        if not re.fullmatch(r"[!-~]+", token):
            what = "is empty" if not token else "holds characters that no token has"
            raise AuthenticationError(f"the token in {self._token_env} {what}", hint=self._token_hint())
        _check_url(url)
        redact.register(token)
        headers = {"Authorization": f"Bearer {token}"} if account else {"Project-Access-Token": token}
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._http = make_client(url.rstrip("/"), timeout=timeout, headers=headers, transport=transport)
        self._exchange = Exchange(self._http, clock=clock, sleep=sleep)

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

    def fetch_project_token(self) -> ProjectToken:
        """Fetch which project and environment the token is for, with the project's services."""
        data = self._query("asking what the token is for", queries.PROJECT_TOKEN, {})
        return ProjectToken.read(data.fields("projectToken"))

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
        on_progress: Progress | None = None,
        timeout: float = 300.0,
    ) -> Upload:
        """Upload a gzipped tar archive, which begins a deployment; never sent twice.

        `on_progress` is called with the bytes sent and the bytes in all. `timeout`, in seconds, bounds the whole.
        """
        what = "uploading the bundle"
        try:
            file = archive.open("rb")
            size = archive.stat().st_size
        except OSError as error:
            raise PlatformError(f"{what} failed: {archive} cannot be read: {error.strerror}") from error
        parameters = {"serviceId": service_id, **({} if message is None else {"message": message})}
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
        self._check(what, answer)
        return Upload.read(Fields(_parse(what, answer), "answer"))

    def _logs(
        self, field: str, document: str, deployment_id: str, *, limit: int, since: str | None
    ) -> tuple[LogLine, ...]:
        variables = {"deploymentId": deployment_id, "limit": min(limit, _MOST_LOG_LINES), "startDate": since}
        data = self._query(f"fetching the logs of deployment {deployment_id}", document, variables)
        lines = (LogLine.read(line) for line in data.list_of_fields(field))
        return tuple(line for line in lines if line.timestamp != since)

    def _query(self, what: str, document: str, variables: Mapping[str, Any]) -> Fields:
        body = {"query": document, "variables": variables}
        answer = self._exchange.call(what, "/graphql/v2", timeout=self._timeout, repeat=True, json=body)
        self._check(what, answer)
        parsed = _parse(what, answer)
        if isinstance(parsed, dict) and parsed.get("errors"):
            self._refused(what, "; ".join(_error_texts(parsed)) or "it does not say why")
        return Fields(parsed, "answer").fields("data")

    def _check(self, what: str, answer: Answer) -> None:
        """Raise the error that an answer's status stands for; 200 stands for none."""
        if answer.status == HTTPStatus.OK:
            return
        said = _said(answer)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._unauthorized(what)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _rate_limit(what, answer.retry_after)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            why = f": {said}" if said else ""
            hint = "leave out what a release does not need: include in [tool.fairlead.bundle]"
            raise ResponseError(f"{what} failed: it is larger than {self._exchange.place} takes{why}", hint=hint)
        if said and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._refused(what, said)
        code = f"{answer.status} {_phrase(answer.status)}".strip()
        message = f"{what} failed: {self._exchange.place} answered {code}" + (f": {said}" if said else "")
        raise ResponseError(message, hint=self._status_hint(answer.status))

    def _refused(self, what: str, why: str) -> NoReturn:
        known = why.lower()
        if "not authorized" in known or "unauthorized" in known:
            raise self._unauthorized(what)
        if "rate limit" in known:
            raise _rate_limit(what, None)
        hint = "check the ids of the project, environment and service" if "not found" in known else None
        raise ResponseError(f"{what} failed: {self._exchange.place} refused: {why}", hint=hint)

    def _unauthorized(self, what: str) -> AuthenticationError:
        message = f"{what} failed: {self._exchange.place} does not accept the token in {self._token_env}"
        return AuthenticationError(message, hint=self._token_hint())

    def _token_hint(self) -> str:
        if self._account:
            return f"set {self._token_env} to an account or workspace token that may use this project"
        return f"set {self._token_env} to a project token of this very environment (project settings, tokens)"

    def _status_hint(self, status: int) -> str:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"check that {self._url} is the platform's address"
        if self._http.base_url.host in _LOOPBACK:
            return "`invoke platform.logs` shows what the local platform says"
        return "try again in a minute; https://status.railway.com tells of known troubles"


def _check_url(url: str) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if not parts.host or parts.scheme not in ("http", "https") or (parts.port or 0) > _LAST_PORT:
        raise ConfigurationError(f"{url!r} is not the address of a platform", hint=f"it looks like {RAILWAY_URL}")
    if parts.scheme == "http" and parts.host not in _LOOPBACK:
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


def _parse(what: str, answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise ResponseError(
            f"{what} failed: the platform's answer is not JSON",
            hint="check the platform's address, and that no proxy or login page answers in its place",
        ) from error


def _said(answer: Answer) -> str:
    """Return what the body of a refusal says, empty when it says nothing that can be read."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    message = body.get("message")
    return _clean(message) if isinstance(message, str) else "; ".join(_error_texts(body))


def _error_texts(body: Mapping[str, Any]) -> list[str]:
    errors = body.get("errors")
    messages = [error.get("message") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [_clean(message) for message in messages if isinstance(message, str)]


def _clean(text: str) -> str:
    """Make a foreign text fit for a message: one line, no control characters, no secret, not endless."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return redact(line)[:_LONGEST_TEXT]


def _rate_limit(what: str, retry_after: float | None) -> RateLimitError:
    hint = "wait a minute and try again" if retry_after is None else f"try again in {retry_after:.0f} s"
    return RateLimitError(f"{what} failed: the platform was asked too often (429)", hint=hint, retry_after=retry_after)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
