"""Answers GraphQL documents from the platform's records, over what the local platform has of Railway's schema."""

import functools
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from fairlead.localplatform.records import Deployment, LogLine
from fairlead.localplatform.schema import SCHEMA

_LOG = logging.getLogger(__name__)
_LIST_LIMIT: Final = 1000
_LOG_DEFAULT: Final = 100
_LOG_LIMIT: Final = 5000


class Platform(Protocol):
    """What the API answers from. Its methods that only read are called from worker threads."""

    @property
    def project_id(self) -> str:
        """The id of the one project."""

    @property
    def environment_id(self) -> str:
        """The id of its one environment."""

    @property
    def service_id(self) -> str:
        """The id of its one service."""

    @property
    def project_name(self) -> str:
        """The project's name."""

    @property
    def environment_name(self) -> str:
        """The environment's name."""

    @property
    def service_name(self) -> str:
        """The service's name."""

    @property
    def token(self) -> str:
        """The token that requests must carry."""

    @property
    def public_url(self) -> str:
        """Where the release that serves is reached."""

    @property
    def incoming(self) -> Path:
        """The folder that archives are received in; it is made when it is not there."""

    async def receive(self, archive: Path, *, message: str | None) -> Deployment:
        """Take over an archive and begin to deploy it."""

    def deployments(self, *, limit: int) -> Sequence[Deployment]:
        """Return deployments, newest first."""

    def deployment(self, deployment_id: str, /) -> Deployment | None:
        """Return one deployment."""

    def logs(self, deployment_id: str, /, *, stream: str, limit: int, since: str | None = None) -> Sequence[LogLine]:
        """Return the newest `limit` lines of a stream, oldest of them first."""


class Answers:
    """Turns the platform's records into what the schema's fields hold."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._root: dict[str, Callable[..., Any]] = {
            "projectToken": self._project_token,
            "deployments": self._deployments,
            "deployment": self._deployment,
            "buildLogs": functools.partial(self._logs, "build"),
            "deploymentLogs": functools.partial(self._logs, "deploy"),
        }

    def execute(
        self, document: str, *, variables: dict[str, Any] | None = None, operation: str | None = None
    ) -> dict[str, Any]:
        """Execute a GraphQL document and return its answer; a fault that is not the client's is logged, not shown."""
        try:
            parsed, wrong = _prepare(document)
            if parsed is None:
                result = ExecutionResult(None, list(wrong))
            else:
                result = execute_sync(schema(), parsed, self._root, variable_values=variables, operation_name=operation)
        except RecursionError:
            result = ExecutionResult(None, [GraphQLError("the document is nested too deeply")])
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [_shown(error) for error in result.errors]
        return answer

    def _project(self) -> dict[str, Any]:
        def services(_info: object, **page: Any) -> dict[str, Any]:
            return _connection([self._service()], **page)

        return {"id": self._platform.project_id, "name": self._platform.project_name, "services": services}

    def _environment(self) -> dict[str, Any]:
        place = self._platform
        return {"id": place.environment_id, "name": place.environment_name, "projectId": place.project_id}

    def _service(self) -> dict[str, Any]:
        return {
            "id": self._platform.service_id,
            "name": self._platform.service_name,
            "projectId": self._platform.project_id,
        }

    def _project_token(self, _info: object) -> dict[str, Any]:
        return {
            "id": "local",
            "name": "local",
            "projectId": self._platform.project_id,
            "environmentId": self._platform.environment_id,
            "project": self._project(),
            "environment": self._environment(),
        }

    def _deployment(self, _info: object, **arguments: Any) -> dict[str, Any]:
        return self._node(self._find(arguments["id"]))

    def _deployments(self, _info: object, **arguments: Any) -> dict[str, Any]:
        wanted = arguments.pop("input")
        known = {"project": self._platform.project_id, "environment": self._platform.environment_id}
        known["service"] = self._platform.service_id
        for name, identity in known.items():
            if wanted.get(f"{name}Id") not in (None, identity):
                raise GraphQLError(f"{name.capitalize()} not found")
        status = wanted.get("status") or {}
        among, without = status.get("in"), status.get("notIn") or ()
        nodes = [
            self._node(deployment)
            for deployment in self._platform.deployments(limit=_LIST_LIMIT)
            if (among is None or deployment.status in among) and deployment.status not in without
        ]
        return _connection(nodes, **arguments)

    def _logs(self, stream: str, _info: object, **arguments: Any) -> list[dict[str, Any]]:
        deployment = self._find(arguments["deploymentId"])
        limit = arguments.get("limit")
        limit = _LOG_DEFAULT if limit is None else limit
        if not 0 < limit <= _LOG_LIMIT:
            raise GraphQLError(f"limit must be between 1 and {_LOG_LIMIT}")
        since, until, text = _moment(arguments, "startDate"), _moment(arguments, "endDate"), arguments.get("filter")
        fetched = _LOG_LIMIT if until or text else limit
        lines = self._platform.logs(deployment.id, stream=stream, limit=fetched, since=since)
        if until:
            lines = [line for line in lines if line.timestamp <= until]
        if text:
            lines = [line for line in lines if text in line.message]
        tags = {
            "deploymentId": deployment.id,
            "environmentId": self._platform.environment_id,
            "projectId": self._platform.project_id,
            "serviceId": self._platform.service_id,
        }
        return [
            {"message": line.message, "severity": line.severity, "timestamp": line.timestamp, "tags": tags}
            for line in lines[-limit:]
        ]

    def _find(self, deployment_id: str) -> Deployment:
        deployment = self._platform.deployment(deployment_id)
        if deployment is None:
            raise GraphQLError("Deployment not found")
        return deployment

    def _node(self, deployment: Deployment) -> dict[str, Any]:
        return {
            "id": deployment.id,
            "status": deployment.status,
            "createdAt": deployment.created_at,
            "statusUpdatedAt": deployment.status_updated_at,
            "url": deployment.url,
            "staticUrl": deployment.static_url,
            "deploymentStopped": deployment.stopped,
            "canRollback": deployment.can_rollback,
            "diagnosis": deployment.diagnosis,
            "meta": {} if deployment.message is None else {"cliMessage": deployment.message},
            "projectId": self._platform.project_id,
            "environmentId": self._platform.environment_id,
            "serviceId": self._platform.service_id,
            "environment": self._environment(),
            "service": self._service(),
        }


@functools.cache
def schema() -> GraphQLSchema:
    """Return the local platform's schema, parsed once."""
    return build_schema(SCHEMA)


@functools.lru_cache(maxsize=64)
def _prepare(document: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """Parse and validate a document, which a client that polls sends again and again; None when it is wrong."""
    try:
        parsed = parse(document)
    except GraphQLSyntaxError as error:
        return None, (error,)
    wrong = validate(schema(), parsed)
    return (None, tuple(wrong)) if wrong else (parsed, ())


def _moment(arguments: dict[str, Any], name: str) -> str | None:
    """Read a DateTime argument as the platform writes times, which compare as text."""
    value = arguments.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (TypeError, ValueError, OverflowError):
        pass
    raise GraphQLError(f"{name} must be a date-time with its zone, such as 2007-12-03T10:15:30Z")


def _shown(error: GraphQLError) -> dict[str, Any]:
    if error.original_error is None or isinstance(error.original_error, GraphQLError):
        return dict(error.formatted)
    _LOG.error("a GraphQL field failed", exc_info=error.original_error)
    return {**error.formatted, "message": "Problem processing request"}


def _connection(
    nodes: list[dict[str, Any]],
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> dict[str, Any]:
    """Cut a page out of `nodes`, whose ids are the cursors."""
    if (first is not None and first < 0) or (last is not None and last < 0):
        raise GraphQLError("first and last must not be negative")
    ids = [node["id"] for node in nodes]
    begin = ids.index(after) + 1 if after in ids else 0
    end = ids.index(before) if before in ids else len(ids)
    if first is not None:
        end = min(end, begin + first)
    if last is not None:
        begin = max(begin, end - last)
    page = nodes[begin:end]
    return {
        "edges": [{"cursor": node["id"], "node": node} for node in page],
        "pageInfo": {
            "hasPreviousPage": begin > 0,
            "hasNextPage": end < len(nodes),
            "startCursor": page[0]["id"] if page else None,
            "endCursor": page[-1]["id"] if page else None,
        },
    }
