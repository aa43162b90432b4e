"""A Railway on loopback that keeps to a script: its API on one port, the public URL of a service on another.

Documents are executed over the schema of the local platform, which a test compares with the official one, so that no
answer has a shape that Railway's could not have. Deployments go on by themselves, whoever asks or does not.
"""

import asyncio
import functools
import json
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from graphql import GraphQLError, GraphQLSchema, build_schema, graphql_sync, parse

from fairlead.localplatform.schema import SCHEMA
from tests.integration.deploy.script import ENVIRONMENT, PROJECT, SERVICE, WORKER, Plan, Record, Served, Timeline
from tests.integration.deploy.sockets import Fault, Hold, Request, Server

TOKEN, ACCOUNT_TOKEN = "canary-project-token-9f3a", "canary-account-token-77c1"
OLD, OLDER = "sha256:" + "0" * 64, "sha256:" + "1" * 64
#: How long a deployment stays at each status, in seconds.
TICK = 0.02
#: Not among the 13 that Railway has, and there all the same one day.
UNKNOWN_STATUS = "HIBERNATING"


@functools.cache
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.replace("  WAITING\n", f"  WAITING\n  {UNKNOWN_STATUS}\n"))


class RailwayDouble:
    """The platform and the public URL; a context manager. `tick` is how long a deployment stays at each status.

    Tests set `plan` and `rollback_plan`, `served` and `variables`, and put faults before operations with `fail`.
    """

    def __init__(self) -> None:
        self.plan = self.rollback_plan = Plan()
        self.worker_plan: Plan | None = None
        self.records: list[Record] = []
        self.received: list[bytes] = []
        self.cancelled: list[str] = []
        self.asked: Counter[str] = Counter()
        self.variables: dict[str, str] = {"DATABASE_URL": "postgresql://shop:canary-database-5b@db/shop"}
        self.instance: dict[str, Any] = {}
        self.updates: list[dict[str, Any]] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._lost: set[str] = set()
        self._timeline = Timeline([0.0], [Served(None)])
        self._rounds = 0
        self._seen = threading.Condition()
        self._go_on = asyncio.Event()
        self._server = Server()
        self.api_url = self.public_url = ""

    def __enter__(self) -> Self:
        self._server.__enter__()
        self.api_url = self._server.listen(self._api)
        self.public_url = self._server.listen(self._public)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, traceback)

    # --- What tests do with it ---

    def fail(self, operation: str, *faults: Fault, always: bool = False) -> None:
        """Put faults before an operation ("deployment", "up", "public" …): one for each request, or one for all."""
        if always:
            (self._always[operation],) = faults
        else:
            self._faults[operation].extend(faults)

    def hold(self, operation: str, *, when: Callable[[], bool] = lambda: True) -> Hold:
        """Keep requests for an operation waiting until they are released, those that come while `when` says so."""
        held = Hold(self._server, when)
        self.fail(operation, held, always=True)
        return held

    def lose(self, operation: str) -> None:
        """Do what the next request for an operation asks, and cut its connection in place of the answer."""
        self._lost.add(operation)

    def mend(self) -> None:
        """Forget every fault and plan."""
        self._faults.clear()
        self._always.clear()
        self.plan = self.rollback_plan = Plan()

    def serve_release(
        self, number: int = 4, digest: str = OLD, *, revision: str = "abc", service: str = SERVICE
    ) -> Record:
        """Have a release serve that an earlier deploy made, in place of the one that does."""
        message = f"fairlead release={number} digest={digest} version=1.{number} revision={revision}"
        record = Record(
            f"deployment-old-{len(self.records) + 1}", service, message, Plan(), Served(digest), served=True
        )
        self._become(record, "SUCCESS")
        self.records.append(record)
        if service == SERVICE:
            self._timeline = Timeline([0.0], [record.serves])
        return record

    def begin_foreign(self, status: str = "BUILDING") -> Record:
        """Have a deployment under way that somebody else began."""
        plan = Plan(statuses=(status,))
        record = Record("deployment-foreign", SERVICE, "fix the colours", plan, Served(None), status=status)
        self.records.append(record)
        return record

    @property
    def served(self) -> Served:
        """What the public URL serves at this moment."""
        return self._timeline.served[-1]

    @served.setter
    def served(self, served: Served) -> None:
        self._timeline.add(time.time(), served)

    def go_on(self) -> None:
        """Let deployments go on that are held."""
        self._server.soon(self._go_on.set)

    def wait_for(self, operation: str, *, count: int = 1, timeout: float = 30.0) -> None:
        """Wait until an operation was asked for so many times."""
        with self._seen:
            assert self._seen.wait_for(lambda: self.asked[operation] >= count, timeout), (
                f"{operation} was not asked for"
            )

    # --- HTTP ---

    async def _api(self, request: Request) -> None:
        place = f"/project/{PROJECT}/environment/{ENVIRONMENT}/up"
        if request.path == "/graphql/v2":
            asked = json.loads(await request.body())
            document = parse(asked["query"])
            operation = document.definitions[0].name.value
            handle: Callable[[Request], Awaitable[None]] = functools.partial(self._graphql, asked)
        else:
            operation, handle = "up", self._up if request.path == place else _unknown_place
        self._note(operation)
        if not await self._obstruct(operation, request):
            return
        if operation in self._lost:
            self._lost.discard(operation)
            request.lost = True
        await handle(request)

    def _note(self, operation: str) -> None:
        with self._seen:
            self.asked[operation] += 1
            self._seen.notify_all()

    async def _obstruct(self, operation: str, request: Request) -> bool:
        """Let a fault answer, where one is planned; say whether the request is to be answered as usual."""
        faults = self._faults[operation]
        fault = faults.popleft() if faults else self._always.get(operation)
        if fault is None:
            return True
        return await fault(request) or False

    async def _graphql(self, asked: Mapping[str, Any], request: Request) -> None:
        if refusal := self._refuse(request, operation=asked["query"]):
            await request.answer(200, {"data": None, "errors": [{"message": refusal}]})
            return
        done = graphql_sync(schema(), asked["query"], self._root(), variable_values=asked.get("variables"))
        await request.answer(200, done.formatted)

    def _refuse(self, request: Request, *, operation: str = "") -> str | None:
        project_token = request.headers.get("project-access-token")
        if project_token is not None:
            return None if project_token == TOKEN else "Project Token not found"
        account_token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return None if account_token == ACCOUNT_TOKEN and "projectToken" not in operation else "Not Authorized"

    async def _up(self, request: Request) -> None:
        content = await request.body()
        if self._refuse(request):
            await request.answer(401, {"message": "Not Authorized"})
            return
        self.received.append(content)
        message = request.query.get("message", "")
        digest = next((word[7:] for word in message.split() if word.startswith("digest=")), None)
        service = request.query["serviceId"]
        plan = self.worker_plan if service == WORKER and self.worker_plan else self.plan
        record = self._begin(service, message, plan, plan.serves(Served(digest)))
        self._note("begun")
        await request.answer(200, {"deploymentId": record.id, "url": "https://railway.com/project", "logsUrl": None})

    async def _public(self, request: Request) -> None:
        self._note("public")
        if not await self._obstruct("public", request):
            return
        served, path = self.served, request.path
        if path == "/api/health":
            self._rounds += 1
            well = served.healthy and not (served.flaps and self._rounds % served.flaps == 0)
            status, body = (200, {"status": "pass"}) if well else (503, {"status": "fail"})
        else:
            status, body = 200, {"digest": served.digest, "status": "pass"}
        if served.digest is None:
            status, body = 502, {"message": "Application failed to respond"}
        status = served.paths.get(path, served.status if served.status != 200 else status)
        await request.answer(status, body)

    # --- Deployments ---

    def _begin(self, service: str, message: str, plan: Plan, serves: Served, reason: str = "deploy") -> Record:
        record = Record(f"deployment-{len(self.records) + 1}", service, message, plan, serves, reason)
        self.records.append(record)
        self._server.spawn(self._live(record))
        return record

    async def _live(self, record: Record) -> None:
        for status in record.plan.statuses:
            self._become(record, status)
            if record.plan.hold == status:
                await self._go_on.wait()
            await asyncio.sleep(TICK)
            if record.cancelled:
                return
        if record.plan.then and record.status == "SUCCESS":
            await asyncio.sleep(record.plan.later)
            self._become(record, record.plan.then)

    def _become(self, record: Record, status: str) -> None:
        web = record.service == SERVICE
        if status == "SUCCESS":
            for other in self.records:
                if other.status == "SUCCESS" and other.service == record.service:
                    other.status = "REMOVED"
            record.served = True
            if web:
                self.served = record.serves
        elif record.status == "SUCCESS" and web:
            self.served = Served(None)
        record.status = status

    # --- Fields of the schema ---

    def _root(self) -> dict[str, Any]:
        return {
            "projectToken": lambda _info: {**_place(), "id": "token-1", "name": "ci"},
            "project": self._project,
            "deployments": self._deployments,
            "deployment": lambda _info, id: self._find(id).node(),  # noqa: A006 - the schema's word
            "deploymentEvents": self._events,
            "deploymentRollback": self._roll_back,
            "deploymentCancel": self._cancel,
            "buildLogs": lambda _info, deploymentId, **_: self._lines(deploymentId, "build_logs"),  # noqa: N803 - the schema's word
            "deploymentLogs": lambda _info, deploymentId, **_: self._lines(deploymentId, "logs"),  # noqa: N803 - the schema's word
            "serviceInstance": lambda _info, **given: self._settings(given["serviceId"]),
            "serviceInstanceUpdate": self._update,
            "variables": lambda _info, **_: self.variables,
            "httpMetricsGroupedByStatus": lambda _info, **period: self._timeline.by_status(**period),
            "httpDurationMetrics": lambda _info, **period: self._timeline.durations(**period),
        }

    def _find(self, deployment_id: str) -> Record:
        found = next((one for one in self.records if one.id == deployment_id), None)
        if found is None:
            raise GraphQLError("Deployment not found")
        return found

    def _project(self, _info: object, *, id: str) -> dict[str, Any]:  # noqa: A002 - the schema's word
        if id not in {PROJECT, "shop"}:
            raise GraphQLError("Project not found")
        return _place()["project"]

    def _deployments(self, _info: object, **arguments: Any) -> dict[str, Any]:
        wanted = arguments["input"].get("serviceId")
        found = [one.node() for one in self.records if wanted in {None, one.service}]
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
        plan = self.rollback_plan
        self._begin(origin.service, origin.message, plan, plan.serves(origin.serves), "rollback")
        return True

    def _cancel(self, _info: object, *, id: str) -> bool:  # noqa: A002 - the schema's word
        record = self._find(id)
        self.cancelled.append(record.id)
        record.cancelled = True
        record.status = "REMOVED"
        return True

    def _lines(self, deployment_id: str, kind: str) -> list[dict[str, Any]]:
        record = self._find(deployment_id)
        lines: tuple[str, ...] = getattr(record.plan, kind)
        return [
            {"timestamp": f"2026-01-01T00:00:00.{number:06d}Z", "message": line, "severity": "info"}
            for number, line in enumerate(lines)
        ]

    def _settings(self, service: str) -> dict[str, Any]:
        own = {"serviceId": service, "environmentId": ENVIRONMENT}
        return {"restartPolicyType": "ON_FAILURE", "restartPolicyMaxRetries": 10, **self.instance, **own}

    def _update(self, _info: object, **given: Any) -> bool:
        self.updates.append(given["input"])
        self.instance |= given["input"]
        return True


async def _unknown_place(request: Request) -> None:
    await request.body()
    await request.answer(404, {"message": "Project or environment not found"})


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
