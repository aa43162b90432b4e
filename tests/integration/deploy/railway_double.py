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

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from fairlead.localplatform.schema import SCHEMA
from tests.integration.deploy.answers import Answers
from tests.integration.deploy.script import ENVIRONMENT, PROJECT, SERVICE, WORKER, Plan, Record, Served, Timeline
from tests.integration.deploy.sockets import Fault, Hold, Request, Server, at

TOKEN, ACCOUNT_TOKEN = "canary-project-token-9f3a", "canary-account-token-77c1"
OLD, OLDER = "sha256:" + "0" * 64, "sha256:" + "1" * 64
#: How the web service is run, just as the tests' repository declares it.
SETTINGS = {
    "startCommand": "python -m app.main",
    "healthcheckPath": "/api/health",
    "overlapSeconds": 15,
    "drainingSeconds": 30,
}
#: How long a deployment stays at each status, in seconds.
TICK = 0.02
#: Not among the 13 that Railway has, and there all the same one day.
UNKNOWN_STATUS = "HIBERNATING"


@functools.cache
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.replace("  WAITING\n", f"  WAITING\n  {UNKNOWN_STATUS}\n"))


@functools.lru_cache(maxsize=64)
def prepare(query: str) -> tuple[DocumentNode, tuple[GraphQLError, ...]]:
    """Parse a document and say what is wrong with it: clients send a handful, and this is most of what answers cost."""
    document = parse(query)
    return document, tuple(validate(schema(), document))


class RailwayDouble:
    """The platform and the public URL; a context manager. `tick` is how long a deployment stays at each status.

    `removed_after` is how long a release that was replaced is on its way out, in seconds. Tests set `plan` and
    `rollback_plan`, `served` and `variables`, and put faults before operations with `fail`.
    """

    def __init__(self) -> None:
        self.plan = self.rollback_plan = Plan()
        self.worker_plan: Plan | None = None
        self.removed_after = 0.0
        self.records: list[Record] = []
        self.received: list[bytes] = []
        self.cancelled: list[str] = []
        self.asked: Counter[str] = Counter()
        self.variables: dict[str, str] = {"DATABASE_URL": "postgresql://shop:canary-database-5b@db/shop"}
        self.instances: dict[str, dict[str, Any]] = {SERVICE: dict(SETTINGS), WORKER: {}}
        self.updates: list[dict[str, Any]] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._lost: set[str] = set()
        self.timeline = Timeline([0.0], [Served(None)])
        self._rounds = self._versions = 0
        self._seen = threading.Condition()
        self._go_on = asyncio.Event()
        self._server = Server()
        self._answers = Answers(self)
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

    def hold(self, operation: str, *, when: Callable[[], bool] = lambda: True, path: str = "") -> Hold:
        """Keep requests for an operation waiting until they are released, those that come while `when` says so.

        With `path` only requests for that path are kept.
        """
        held = Hold(self._server, when)
        self.fail(operation, at(path, held) if path else held, always=True)
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
            self.timeline = Timeline([0.0], [record.serves])
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
        return self.timeline.served[-1]

    @served.setter
    def served(self, served: Served) -> None:
        self.timeline.add(time.time(), served)

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
            document, _ = prepare(asked["query"])
            operation = document.definitions[0].name.value
            handle: Callable[[Request], Awaitable[None]] = functools.partial(self._graphql, asked)
        else:
            operation, handle = "up", self._up if request.path == place else _unknown_place
        self.note(operation)
        if not await self._obstruct(operation, request):
            return
        if operation in self._lost:
            self._lost.discard(operation)
            request.lost = True
        await handle(request)

    def note(self, operation: str) -> None:
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
        document, wrong = prepare(asked["query"])
        done = (
            ExecutionResult(None, list(wrong))
            if wrong
            else execute_sync(schema(), document, self._answers.root(), variable_values=asked.get("variables"))
        )
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
        record = self.begin(service, message, plan, plan.serves(Served(digest)))
        self.note("begun")
        await request.answer(200, {"deploymentId": record.id, "url": "https://railway.com/project", "logsUrl": None})

    async def _public(self, request: Request) -> None:
        self.note("public")
        if not await self._obstruct("public", request):
            return
        for record in self.records:
            if record.plan.overtaken == "once asked" and record.status == "SUCCESS":
                self._overtake(record)
        served, path = self.served, request.path
        if path == "/api/health":
            self._rounds += 1
            well = served.healthy and not (served.flaps and self._rounds % served.flaps == 0)
            status, body = (200, {"status": "pass"}) if well else (503, {"status": "fail"})
        else:
            self._versions += 1
            digest = served.beside if served.beside and self._versions % 2 else served.digest
            status, body = 200, {"digest": digest, "status": "pass"}
        if served.digest is None:
            status, body = 502, {"message": "Application failed to respond"}
        status = served.paths.get(path, served.status if served.status != 200 else status)
        await request.answer(status, body)

    # --- Deployments ---

    def begin(self, service: str, message: str, plan: Plan, serves: Served, reason: str = "deploy") -> Record:
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
        if record.plan.overtaken == "at once":
            self._overtake(record)
        if record.plan.then and record.status == "SUCCESS":
            await asyncio.sleep(record.plan.later)
            self._become(record, record.plan.then)

    def _remove(self, record: Record) -> None:
        record.status = "REMOVING" if self.removed_after else "REMOVED"
        if self.removed_after:
            self._server.spawn(self._remove_later(record))

    async def _remove_later(self, record: Record) -> None:
        await asyncio.sleep(self.removed_after)
        record.status = "REMOVED"

    def _overtake(self, record: Record) -> None:
        """Let somebody else's deployment take the place of this one."""
        served = Served("sha256:" + "e" * 64)
        foreign = Record("deployment-foreign", record.service, "fix the colours", Plan(), served)
        self.records.append(foreign)
        self._become(foreign, "SUCCESS")

    def _become(self, record: Record, status: str) -> None:
        web = record.service == SERVICE
        if status == "SUCCESS":
            for other in self.records:
                if other.status in {"SUCCESS", "SLEEPING"} and other.service == record.service and other is not record:
                    self._remove(other)
            record.served = True
            if web:
                self.served = record.serves
        elif record.status == "SUCCESS" and web:
            self.served = Served(None)
        record.status = status


async def _unknown_place(request: Request) -> None:
    await request.body()
    await request.answer(404, {"message": "Project or environment not found"})
