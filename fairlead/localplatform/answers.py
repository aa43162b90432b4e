"""Answers GraphQL documents from the platform's records, over what the local platform has of Railway's schema."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

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

from fairlead._output import MASK
from fairlead.exceptions import Error
from fairlead.localplatform.protocol import Platform
from fairlead.localplatform.records import Deployment
from fairlead.localplatform.schema import SCHEMA
from fairlead.localplatform.traffic import LatencySample, StatusSamples

_LOG = logging.getLogger(__name__)
_LIST_LIMIT: Final = 1000
_LOG_DEFAULT: Final = 100
_LOG_LIMIT: Final = 5000
_STEP_DEFAULT: Final = 60


class Answers:
    """Turns the platform's records into what the schema's fields hold."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._root: dict[str, Callable[..., Any]] = {
            "projectToken": self._project_token,
            "deployments": self._deployments,
            "deployment": self._deployment,
            "deploymentEvents": self._events,
            "deploymentCancel": functools.partial(self._change, "cancel"),
            "deploymentRollback": functools.partial(self._change, "roll_back"),
            "httpMetricsGroupedByStatus": self._by_status,
            "httpDurationMetrics": self._durations,
            "project": self._own_project,
            "serviceInstance": self._instance,
            "serviceInstanceUpdate": self._update_instance,
            "variables": self._variables,
            "variablesForServiceDeployment": self._variables,
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
            return _connection([self._service(service_id) for service_id in self._platform.services], **page)

        def environments(_info: object, **page: Any) -> dict[str, Any]:
            page.pop("isEphemeral", None), page.pop("sort", None)
            return _connection([self._environment()], **page)

        place = self._platform
        facts = {"id": place.project_id, "name": place.project_name}
        return {**facts, "services": services, "environments": environments}

    def _environment(self) -> dict[str, Any]:
        place = self._platform
        return {"id": place.environment_id, "name": place.environment_name, "projectId": place.project_id}

    def _service(self, service_id: str) -> dict[str, Any]:
        name = self._platform.services.get(service_id, "removed")
        return {"id": service_id, "name": name, "projectId": self._platform.project_id}

    def _own_project(self, _info: object, **arguments: Any) -> dict[str, Any]:
        self._check_place({"projectId": arguments["id"]})
        return self._project()

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
        self._check_place(wanted)
        status = wanted.get("status") or {}
        among, without = status.get("in"), status.get("notIn") or ()
        nodes = [
            self._node(deployment)
            for deployment in self._platform.deployments(limit=_LIST_LIMIT, service_id=wanted.get("serviceId"))
            if (among is None or deployment.status in among) and deployment.status not in without
        ]
        return _connection(nodes, **arguments)

    def _check_place(self, given: Mapping[str, Any]) -> None:
        known = {
            "project": (self._platform.project_id,),
            "environment": (self._platform.environment_id,),
            "service": tuple(self._platform.services),
        }
        for name, identities in known.items():
            if given.get(f"{name}Id") not in (None, *identities):
                raise GraphQLError(f"{name.capitalize()} not found")

    def _events(self, _info: object, **arguments: Any) -> dict[str, Any]:
        deployment = self._find(arguments.pop("id"))
        nodes = [
            {
                "id": step.id,
                "step": step.step,
                "createdAt": step.created_at,
                "completedAt": step.completed_at,
                "payload": {"error": step.error, "detail": step.detail, "skipped": False},
            }
            for step in self._platform.steps(deployment.id)
        ]
        return _connection(nodes, **arguments)

    def _change(self, what: Literal["cancel", "roll_back"], _info: object, **arguments: Any) -> bool:
        deployment = self._find(arguments["id"])
        try:
            getattr(self._platform, what)(deployment.id)
        except Error as error:
            raise GraphQLError(error.message) from None
        return True

    def _by_status(self, _info: object, **arguments: Any) -> list[dict[str, Any]]:
        return render_statuses(self._platform.traffic.by_status(**self._period(arguments)))

    def _durations(self, _info: object, **arguments: Any) -> dict[str, Any]:
        return render_latency(self._platform.traffic.latency(**self._period(arguments)))

    def _period(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._check_place(arguments)
        if any(arguments.get(name) is not None for name in ("method", "path", "statusCode")):
            raise GraphQLError("the local platform counts requests by their status and release only")
        step = arguments.get("stepSeconds")
        step = _STEP_DEFAULT if step is None else step
        if step < 1:
            raise GraphQLError("stepSeconds must be at least 1")
        since, until = (
            datetime.fromisoformat(_moment(arguments, name) or "").timestamp() for name in ("startDate", "endDate")
        )
        return {"since": since, "until": until, "step": step}

    def _instance(self, _info: object, **arguments: Any) -> dict[str, Any]:
        self._check_place(arguments)
        place = {"environmentId": self._platform.environment_id, "serviceId": arguments["serviceId"]}
        return {"restartPolicyType": "ON_FAILURE", **self._platform.settings(arguments["serviceId"]), **place}

    def _update_instance(self, _info: object, **_arguments: Any) -> bool:
        raise GraphQLError("the local platform runs each release as the railway.json in its bundle says")

    def _variables(self, _info: object, **arguments: Any) -> dict[str, str]:
        self._check_place(arguments)
        return dict.fromkeys(self._platform.variable_names(), MASK)

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
            "serviceId": self._platform.service_of(deployment),
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
        service_id = self._platform.service_of(deployment)
        meta: dict[str, Any] = {"reason": deployment.reason}
        if deployment.message is not None:
            meta["cliMessage"] = deployment.message
        if deployment.canary is not None:
            meta["canary"] = deployment.canary
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
            "meta": meta,
            "projectId": self._platform.project_id,
            "environmentId": self._platform.environment_id,
            "serviceId": service_id,
            "environment": self._environment(),
            # Called where it is asked for, which is seldom: it looks up the names, and there may be many nodes.
            "service": lambda _info: self._service(service_id),
        }


def render_statuses(groups: Sequence[StatusSamples]) -> list[dict[str, Any]]:
    """Render counts of requests in the shape of Railway's `httpMetricsGroupedByStatus`."""
    return [
        {"statusCode": group.status_code, "samples": [dataclasses.asdict(sample) for sample in group.samples]}
        for group in groups
    ]


def render_latency(samples: Sequence[LatencySample]) -> dict[str, Any]:
    """Render percentiles in the shape of Railway's `httpDurationMetrics`."""
    return {"samples": [dataclasses.asdict(sample) for sample in samples]}


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


def _moment(arguments: Mapping[str, Any], name: str) -> str | None:
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
