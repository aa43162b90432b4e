"""The platform's process: PostgreSQL, supervisor, API and proxy in one event loop, until it is told to end."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import uvicorn

from fairlead._output import redact
from fairlead._polling import wait_until
from fairlead._procfile import WEB
from fairlead.config import Config
from fairlead.exceptions import DeadlineError, Error, PlatformError
from fairlead.localplatform import ports
from fairlead.localplatform.api import make_api
from fairlead.localplatform.endpoint import (
    PROTOCOL,
    Endpoint,
    platform_directory,
    state_file,
    try_lock,
    write_state,
)
from fairlead.localplatform.launcher import Launcher
from fairlead.localplatform.processes import Children, end_leftovers, fetch_start_time
from fairlead.localplatform.proxy import Proxy
from fairlead.localplatform.releases import ENVIRONMENT, Identity, service_names
from fairlead.localplatform.routing import Router
from fairlead.localplatform.services import Platform, Services
from fairlead.localplatform.store import Store
from fairlead.localplatform.supervisor import Supervisor
from fairlead.localplatform.traffic import Traffic
from fairlead.postgres import Server

_log = logging.getLogger(__name__)
_WATCH: Final = 2.0
_LINGER: Final = 2
_KEEP_ALIVE: Final = 75
_LOCK_TIMEOUT: Final = 20.0
_BACKLOG: Final = 512


def serve(config: Config, load_config: Callable[[], Config], *, ready: Callable[[], None]) -> None:
    """Run the platform of `config` until SIGTERM or SIGINT; `ready` is called once it can be used.

    Raises `PlatformError` when it cannot start, for one because another process runs it already.
    """
    directory = platform_directory(config)
    with _sole_owner(directory), contextlib.closing(Store(directory)) as store:
        end_leftovers(store)
        for leftover in (directory / "incoming").glob("*"):
            leftover.unlink(missing_ok=True)
        children = Children(store)
        try:
            asyncio.run(_Process(config, load_config, store, children).run(ready))
        finally:
            children.close(grace=config.platform.stop_timeout)
            children.close_guard()


class _Process:
    def __init__(self, config: Config, load_config: Callable[[], Config], store: Store, children: Children) -> None:
        self._config = config
        self._load_config = load_config
        self._store = store
        self._children = children
        self._directory = platform_directory(config)
        self._database: Server | None = None
        self._url = ""

    async def run(self, ready: Callable[[], None]) -> None:
        """Start everything in order, wait for the signal, stop everything in the other order."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        redact.register(self._store.token)
        async with contextlib.AsyncExitStack() as stack:
            public = stack.enter_context(self._bind_public())
            private = stack.enter_context(ports.bind())
            await self._start_database()
            stack.push_async_callback(self._stop_database)
            public_url = f"http://{ports.LOOPBACK}:{ports.port_of(public)}"
            router, traffic = Router(), Traffic()
            services = Services(
                self._store, lambda kind: self._make_supervisor(kind, router, public_url), self._load_config
            )
            platform = Platform(self._config, self._store, services, traffic, public_url)
            services.recover()
            own = [asyncio.create_task(services.work()), asyncio.create_task(self._watch(stopping))]
            tasks = [*own, *self._listen(stack, (Proxy(router, traffic), public), (make_api(platform), private))]
            write_state(self._directory, self._describe(public, private, public_url))
            stack.callback(state_file(self._directory).unlink, missing_ok=True)
            ready()
            _log.info("serving at %s, the API on port %d", public_url, ports.port_of(private))
            await self._wait(stopping, tasks)
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)
            await services.close()
            await asyncio.to_thread(self._children.close, grace=self._config.platform.stop_timeout)

    def _bind_public(self) -> socket.socket:
        wanted = self._config.platform.port
        remembered = self._store.value("public_port")
        last = remembered["port"] if isinstance(remembered, dict) and remembered.get("wanted") == wanted else None
        bound = ports.bind_public(wanted, last=last)
        self._store.remember("public_port", {"wanted": wanted, "port": ports.port_of(bound)})
        return bound

    def _make_supervisor(self, kind: str, router: Router, public_url: str) -> Supervisor:
        def describe(config: Config, kind: str) -> Identity:
            store = self._store
            return Identity(
                project_id=store.project_id,
                environment_id=store.environment_id,
                environment_name=ENVIRONMENT,
                service_id=store.service_id(kind),
                service_name=service_names(config)[kind],
                public_domain=public_url.partition("://")[2] if kind == WEB else "",
            )

        launcher = Launcher(
            self._directory,
            store=self._store,
            children=self._children,
            describe=describe,
            database_url=lambda: self._url,
        )
        return Supervisor(
            store=self._store,
            launcher=launcher,
            router=router if kind == WEB else Router(),
            load_config=self._load_config,
            public_url=public_url,
            kind=kind,
        )

    def _listen(
        self, stack: contextlib.AsyncExitStack, *pairs: tuple[Any, socket.socket]
    ) -> "list[asyncio.Task[None]]":
        tasks: list[asyncio.Task[None]] = []
        servers: list[uvicorn.Server] = []
        for app, bound in pairs:
            bound.listen(_BACKLOG)  # who connects before the server accepts is kept waiting, not refused
            server = _Uvicorn(
                uvicorn.Config(
                    app,
                    lifespan="off",
                    log_config=None,
                    http="h11",
                    # Longer than clients keep a connection: one that is closed just when it is used again fails.
                    timeout_keep_alive=_KEEP_ALIVE,
                    access_log=False,
                    ws=app.websockets if isinstance(app, Proxy) else "none",
                    server_header=False,
                    date_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=_LINGER,
                )
            )
            task = asyncio.create_task(server.serve(sockets=[bound]))
            tasks.append(task)
            servers.append(server)
        stack.push_async_callback(_close, servers, tasks)
        return tasks

    async def _wait(self, stopping: asyncio.Event, tasks: "list[asyncio.Task[None]]") -> None:
        """Wait for the signal; a part that ends by itself ends the whole, with its error."""
        told = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        for task in done - {told}:
            task.result()

    # --- the database ---

    async def _start_database(self) -> None:
        name = database_name(self._config)

        def start() -> Server:
            server = Server.start(self._directory / "postgres")
            try:
                server.ensure_database(name)
            except BaseException:
                server.stop()
                raise
            return server

        self._database = await asyncio.to_thread(start)
        self._url = self._database.url(name)
        redact.register(self._url.partition("@")[0].rpartition(":")[2])
        self._children.adopt(self._database.pid, "PostgreSQL")

    async def _stop_database(self) -> None:
        if self._database is not None:
            pid = self._database.pid
            await asyncio.to_thread(self._database.stop)
            self._children.disown(pid)

    async def _watch(self, stopping: asyncio.Event) -> None:
        """Start PostgreSQL again when it ends by itself, and end when nobody can find this process any more.

        PostgreSQL keeps its port, so addresses stay right.
        """
        while True:
            await asyncio.sleep(_WATCH)
            if not await asyncio.to_thread(state_file(self._directory).exists):
                _log.warning("%s was removed; ending", state_file(self._directory))
                stopping.set()
            if self._database is None or self._database.alive():
                continue
            _log.error("PostgreSQL ended by itself; starting it again")
            try:
                await self._stop_database()
                await self._start_database()
            except Error as error:
                _log.error("PostgreSQL cannot be started: %s", error.message)

    def _describe(self, public: socket.socket, private: socket.socket, public_url: str) -> dict[str, Any]:
        from fairlead import __version__

        endpoint = Endpoint(
            api_url=f"http://{ports.LOOPBACK}:{ports.port_of(private)}",
            public_url=public_url,
            token=self._store.token,
            project_id=self._store.project_id,
            environment_id=self._store.environment_id,
            service_id=self._store.service_id(),
            database_url=self._url,
            pid=os.getpid(),
            wanted_port=self._config.platform.port,
            port=ports.port_of(public),
        )
        facts = {"protocol": PROTOCOL, "version": __version__, "started": fetch_start_time(os.getpid())}
        return {**facts, "endpoint": dataclasses.asdict(endpoint)}


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the platform: two servers share its loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _close(servers: Sequence[uvicorn.Server], tasks: "Sequence[asyncio.Task[None]]") -> None:
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _sole_owner(directory: Path) -> Iterator[IO[str]]:
    with (directory / "daemon.lock").open("a") as lock:
        # One that is just ending may still hold it.
        try:
            wait_until(lambda _remaining: try_lock(lock), timeout=_LOCK_TIMEOUT, what="the lock")
        except DeadlineError:
            raise PlatformError(
                f"another process runs the local platform of {directory} already", hint="invoke platform.down"
            ) from None
        yield lock


def database_name(config: Config) -> str:
    """Return the name of the releases' database: the project's, made of what needs no quoting."""
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in config.name)
    return f"app_{name}".lower()[:63] if not name[:1].isalpha() else name.lower()[:63]
