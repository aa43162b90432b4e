"""The fields of Railway's schema, answered from what the double holds."""

import functools
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError

from tests.integration.deploy.script import ENVIRONMENT, PROJECT, SERVICE, WORKER, Record

if TYPE_CHECKING:
    from tests.integration.deploy.railway_double import RailwayDouble


class Answers:
    """Resolves queries and mutations; a mutation changes the double."""

    def __init__(self, double: "RailwayDouble") -> None:
        self._double = double

    def root(self) -> dict[str, Any]:
        return {
            "projectToken": lambda _info: {**_place(), "id": "token-1", "name": "ci"},
            "project": self._project,
            "deployments": self._deployments,
            "deployment": lambda _info, id: self._find(id).node(),  # noqa: A006 - the schema's word
            "deploymentEvents": self._events,
            "deploymentRollback": self._roll_back,
            "deploymentCancel": self._cancel,
            "buildLogs": functools.partial(self._lines, "build_logs"),
            "deploymentLogs": functools.partial(self._lines, "logs"),
            "serviceInstance": lambda _info, **given: self._settings(given["serviceId"]),
            "serviceInstanceUpdate": self._update,
            "variables": lambda _info, **_: self._double.variables,
            "httpMetricsGroupedByStatus": lambda _info, **period: self._double.timeline.by_status(**period),
            "httpDurationMetrics": lambda _info, **period: self._double.timeline.durations(**period),
        }

    def _find(self, deployment_id: str) -> Record:
        found = next((one for one in self._double.records if one.id == deployment_id), None)
        if found is None:
            raise GraphQLError("Deployment not found")
        return found

    def _project(self, _info: object, *, id: str) -> dict[str, Any]:  # noqa: A002 - the schema's word
        if id not in {PROJECT, "shop"}:
            raise GraphQLError("Project not found")
        return _place()["project"]

    def _deployments(self, _info: object, **arguments: Any) -> dict[str, Any]:
        wanted = arguments["input"].get("serviceId")
        found = [one.node() for one in self._double.records if wanted in {None, one.service}]
        return _connection(found[::-1][: arguments.get("first")])

    def _events(self, _info: object, *, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002 - the schema's word
        record = self._find(id)
        return _connection(
            [
                {
                    "id": f"event-{number}",
                    "step": step,
                    "createdAt": record.created,
                    "completedAt": record.created,
                    "payload": {"error": error},
                }
                for number, (step, error) in enumerate(record.plan.events)
            ]
        )

    def _roll_back(self, _info: object, *, id: str) -> bool:  # noqa: A002 - the schema's word
        origin = self._find(id)
        plan = self._double.rollback_plan
        self._double.begin(origin.service, origin.message, plan, plan.serves(origin.serves), "rollback")
        self._double.note("rolling back")
        return True

    def _cancel(self, _info: object, *, id: str) -> bool:  # noqa: A002 - the schema's word
        record = self._find(id)
        self._double.cancelled.append(record.id)
        record.cancelled = True
        record.status = "REMOVED"
        return True

    def _lines(self, kind: str, _info: object, **given: Any) -> list[dict[str, Any]]:
        lines: tuple[str, ...] = getattr(self._find(given["deploymentId"]).plan, kind)
        found = [
            {"timestamp": f"2026-01-01T00:00:00.{number:06d}Z", "message": line, "severity": "info"}
            for number, line in enumerate(lines)
        ]
        return [line for line in found if line["timestamp"] >= (given.get("startDate") or "")]

    def _settings(self, service: str) -> dict[str, Any]:
        own = {"serviceId": service, "environmentId": ENVIRONMENT}
        return {
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": 10,
            **self._double.instances[service],
            **own,
        }

    def _update(self, _info: object, **given: Any) -> bool:
        self._double.updates.append(given["input"])
        self._double.instances[given["serviceId"]] |= given["input"]
        return True


def _place() -> dict[str, Any]:
    environment = {"id": ENVIRONMENT, "name": "staging", "projectId": PROJECT}
    services = [{"id": SERVICE, "name": "shop", "projectId": PROJECT}]
    services.append({"id": WORKER, "name": "shop-worker", "projectId": PROJECT})
    project = {"id": PROJECT, "name": "shop", "services": _connection(services)}
    project["environments"] = _connection([environment])
    return {"projectId": PROJECT, "environmentId": ENVIRONMENT, "project": project, "environment": environment}


def _connection(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    page = {"hasNextPage": False, "hasPreviousPage": False}
    return {"edges": [{"cursor": node["id"], "node": node} for node in nodes], "pageInfo": page}
