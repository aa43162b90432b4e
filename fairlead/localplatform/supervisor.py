"""Deploys what is received for one service, one after the other, and keeps its release running.

A new release takes the place of the one before only after it has proved itself; whatever fails, the earlier release is
left alone. The one before finishes its requests and is then kept warm for a while, so that going back to it only moves
a pointer. A canary gets a share of the requests beside the release that serves, until it takes over or is withdrawn.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from fairlead._procfile import WEB
from fairlead.config import Config
from fairlead.exceptions import Error, PlatformError
from fairlead.localplatform.launcher import Launcher, Running, is_full, render_diagnosis
from fairlead.localplatform.records import (
    BUILDING,
    DEPLOYING,
    DRAIN_INSTANCES,
    FAILED,
    IN_FLIGHT,
    INITIALIZING,
    REMOVED,
    REMOVING,
    SUCCESS,
    Deployment,
)
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.serving import Serving
from fairlead.localplatform.standby import Standby, Warm
from fairlead.localplatform.store import Store

_log = logging.getLogger(__name__)
_KEPT_RELEASES: Final = 5
_KEPT_LOGS: Final = 30


class Supervisor:
    """Owns one service's queue of deployments and the release that runs; `load_config` reads the configuration afresh.

    The `router` leads requests to the releases; that of a service without a public port is asked by nobody.
    """

    def __init__(
        self,
        *,
        store: Store,
        launcher: Launcher,
        router: Router,
        load_config: Callable[[], Config],
        public_url: str,
        kind: str = WEB,
    ) -> None:
        self.kind = kind
        self._store = store
        self._launcher = launcher
        self._router = router
        self._load_config = load_config
        self._config = load_config()
        self._public_url = public_url if kind == WEB else None
        self._queue: asyncio.Queue[tuple[str, Path | None]] = asyncio.Queue()
        self._serving: Serving | None = None
        self._warm = Warm(router)
        self._canary: Standby | None = None
        self._deploying: asyncio.Task[None] | None = None
        self._cancelled: set[str] = set()
        self._retiring: dict[str, asyncio.Task[None]] = {}

    def receive(self, archive: Path, *, message: str | None, canary: float | None = None) -> Deployment:
        """Record a new deployment of an archive and put it in the queue."""
        return self._enqueue(archive, message=message, canary=canary)

    def roll_back(self, deployment: Deployment) -> Deployment:
        """Record a new deployment of what an earlier one was and put it in the queue.

        Raises `PlatformError` where that one never served or is no longer at hand.
        """
        if not deployment.can_rollback:
            raise PlatformError(f"deployment {deployment.id} cannot be rolled back to")
        return self._enqueue(
            None, message=deployment.message, digest=deployment.digest, reason="rollback", origin=deployment.release
        )

    def cancel(self, deployment: Deployment) -> None:
        """Give up a deployment that is in flight; raise `PlatformError` where it is not."""
        if deployment.status not in IN_FLIGHT:
            raise PlatformError(f"deployment {deployment.id} is not in flight: it is {deployment.status}")
        self._cancelled.add(deployment.id)
        if self._deploying is not None and deployment.status != INITIALIZING:
            self._deploying.cancel()

    def recover(self) -> None:
        """Settle what an earlier run of the platform left unfinished, and start its release again."""
        active = self._store.active_of(self.kind)
        for deployment in self._store.deployments(service=self.kind):
            if deployment.status in IN_FLIGHT:
                self._fail(deployment.id, "the local platform ended while this was being deployed; next: deploy again")
                self._remove_folder(deployment)
            elif deployment.status == REMOVING or (deployment.canary is not None and deployment.status == SUCCESS):
                served = deployment.canary is None
                self._store.change(deployment.id, status=REMOVED, stopped=True, can_rollback=served, canary=None)
            elif deployment.id != active and not deployment.stopped:
                self._store.change(deployment.id, stopped=True)
        if active is not None and self._store.deployment(active) is not None:
            self._router.point(None, expected=True)
            self._serving = self._serve(active, None)
            self._serving.keep()

    async def work(self) -> None:
        """Deploy what is in the queue, for ever."""
        while True:
            deployment_id, archive = await self._queue.get()
            deploying = self._deploying = asyncio.create_task(self._deploy(deployment_id, archive))
            try:
                await deploying
            except asyncio.CancelledError:
                if deployment_id not in self._cancelled:
                    deploying.cancel()
                    raise
                self._give_up(deployment_id, "the deployment was cancelled")
            except Error as error:
                self._give_up(deployment_id, render_diagnosis(error))
            except Exception as error:  # noqa: BLE001 - one deployment's fault must not end the queue
                _log.exception("deployment %s", deployment_id)
                full = is_full(self._store.directory, error)
                why = f"the disk of {self._store.directory} is full" if full else f"an internal fault: {error!r}"
                self._give_up(deployment_id, f"the deployment failed: {why}; next: see {self._store.directory}")
            finally:
                self._deploying = None
                if archive is not None:
                    archive.unlink(missing_ok=True)

    def settle(self, deployment_id: str, *, take_over: bool) -> None:
        """Let the canary take over, or withdraw it; raise `PlatformError` where this deployment is not the canary."""
        canary = self._canary
        if canary is None or canary.deployment_id != deployment_id:
            raise PlatformError(f"deployment {deployment_id} is not a canary")
        self._canary = None
        self._router.weigh(None)
        running = canary.take()
        if take_over:
            self._store.change(deployment_id, canary=None)
            self._swap(running, self._config, target=canary.target)
        else:
            self._store.change(deployment_id, status=REMOVING)
            self._retire_by(deployment_id, canary.end())

    async def close(self) -> None:
        """Stop keeping the release alive; the processes themselves are ended by whoever owns them."""
        tasks = set(self._retiring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._serving is not None:
            await self._serving.close()
        for standby in (self._warm.release(), self._canary):
            if standby is not None:
                standby.take()
        for deployment in self._store.deployments(service=self.kind):
            if deployment.status in IN_FLIGHT:
                self._fail(deployment.id, "the local platform was stopped while this was being deployed")

    # --- one deployment ---

    def _enqueue(self, archive: Path | None, *, message: str | None, **facts: object) -> Deployment:
        deployment = self._store.add_deployment(message=message, service=self.kind, **facts)
        if self._public_url is not None:
            place = self._public_url.partition("://")[2]
            deployment = self._store.change(deployment.id, url=self._public_url, static_url=place)
        self._queue.put_nowait((deployment.id, archive))
        return deployment

    async def _deploy(self, deployment_id: str, archive: Path | None) -> None:
        if deployment_id in self._cancelled:
            raise PlatformError("the deployment was cancelled")
        deployment = self._store.change(deployment_id, status=DEPLOYING if archive is None else BUILDING)
        config = self._config = self._load_config() if archive is not None else self._read_config()
        if self._canary is not None:
            self.settle(self._canary.deployment_id, take_over=False)
        if deployment.canary is not None and (self._serving is None or self._serving.running is None):
            raise PlatformError(
                "there is no release beside which a canary could run", hint="deploy without --canary first"
            )
        if archive is None:
            running, target = await self._start_earlier(deployment, config)
        else:
            release = await self._launcher.build(deployment, archive, config)
            self._store.change(deployment_id, status=DEPLOYING)
            await self._launcher.prepare(release, config)
            running, target = await self._launcher.start(release, config), None
        if deployment.canary is not None:
            self._begin_canary(running, deployment.canary, config)
        else:
            self._swap(running, config, target=target)
        await asyncio.to_thread(self._prune)

    async def _start_earlier(self, deployment: Deployment, config: Config) -> tuple[Running, Target | None]:
        """Return the release that a rollback is to: the warm one where it still proves itself, else started anew."""
        warm = self._warm.find(deployment.release)
        if warm is not None:
            running = warm.running.pass_to(deployment)
            try:
                await self._launcher.prove(running, config)
            except Error as error:
                self._launcher.note(deployment.id, f"the warm release is not well: {error.message}", severity="warn")
            else:
                self._reclaim(warm)
                warm.target.deployment_id = deployment.id
                return running, warm.target
        try:
            release = await asyncio.to_thread(self._launcher.load, deployment, config)
        except Error as error:
            raise PlatformError(error.message, hint=error.hint) from error
        return await self._launcher.start(release, config), None

    def _reclaim(self, warm: Standby) -> None:
        """Take back a release that was replaced; it may still be finishing its requests, and need not any more."""
        self._warm.release()
        warm.take()
        if draining := self._retiring.pop(warm.deployment_id, None):
            draining.cancel()
        self._store.change(warm.deployment_id, status=REMOVED)

    def _begin_canary(self, running: Running, percent: float, config: Config) -> None:
        deployment_id = running.release.deployment_id
        target = Target(running.port, deployment_id=deployment_id)
        self._canary = Standby(
            deployment_id, running, target, grace=config.platform.stop_timeout, ended=self._canary_ended
        )
        self._canary.watch()
        self._router.weigh(target, percent)
        self._store.change(deployment_id, status=SUCCESS, stopped=False)
        self._launcher.note(deployment_id, f"serving {percent:g} % of the requests at {self._public_url}")

    def _canary_ended(self, deployment_id: str) -> None:
        if self._canary is not None and self._canary.deployment_id == deployment_id:
            self._canary = None
            self._router.weigh(None)
            self._fail(deployment_id, "the canary ended by itself; next: invoke platform.logs")
        else:
            self._store.change(deployment_id, status=REMOVED, stopped=True)

    def _swap(self, running: Running, config: Config, *, target: Target | None) -> None:
        """Let the new release serve and the old one go; nothing is awaited, so no request falls in between."""
        deployment_id = running.release.deployment_id
        before, self._serving = self._serving, self._serve(deployment_id, running)
        if before is not None:
            before.let_go()
        replaced = self._router.point(target or Target(running.port, deployment_id=deployment_id))
        self._store.activate(running.release.deployment)
        self._store.change(deployment_id, status=SUCCESS, stopped=False)
        where = f"serving at {self._public_url}" if self._public_url else f"running as {self.kind}"
        self._launcher.note(deployment_id, where)
        self._serving.keep()
        if before is not None:
            self._store.change(before.deployment_id, status=REMOVING, can_rollback=True)
            colder = self._warm.release()
            if colder is not None:
                self._retire_by(f"the colder {colder.deployment_id}", colder.end())
            self._replace(before, replaced, config)

    def _replace(self, old: Serving, target: Target | None, config: Config) -> None:
        """Let a release that was replaced finish its requests, and go on warm or end."""
        self._launcher.note(old.deployment_id, "replaced by another release")
        if old.running is None or target is None:
            self._retired(old.deployment_id)
            return
        grace = config.platform.stop_timeout
        standby = Standby(old.deployment_id, old.running, target, grace=grace, ended=self._retired)
        if config.platform.keep_warm and self.kind == WEB:
            self._warm.keep(standby, lifetime=config.platform.keep_warm)
            self._retire_by(old.deployment_id, self._drain(standby))
        else:
            self._retire_by(old.deployment_id, self._end(standby))

    async def _drain(self, standby: Standby) -> None:
        with self._launcher.step(standby.deployment_id, DRAIN_INSTANCES):
            await standby.target.wait_until_idle(within=standby.grace)
        self._store.change(standby.deployment_id, status=REMOVED)

    async def _end(self, standby: Standby) -> None:
        with self._launcher.step(standby.deployment_id, DRAIN_INSTANCES):
            await standby.end()

    def _retire_by(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._retiring[name] = asyncio.create_task(work)
        task.add_done_callback(lambda _task: self._retiring.pop(name, None))

    def _retired(self, deployment_id: str) -> None:
        if self._warm.kept is not None and self._warm.kept.deployment_id == deployment_id:
            self._warm.release()
        with contextlib.suppress(KeyError):
            self._store.change(deployment_id, status=REMOVED, stopped=True, can_rollback=True)

    def _give_up(self, deployment_id: str, diagnosis: str) -> None:
        # The folder goes first: where the disk is full, its space is what the rest is written with.
        deployment = self._store.deployment(deployment_id)
        if deployment is not None:
            self._remove_folder(deployment)
        self._fail(deployment_id, diagnosis)

    def _remove_folder(self, deployment: Deployment) -> None:
        if deployment.origin is None:
            shutil.rmtree(self._launcher.folder(deployment.id), ignore_errors=True)

    def _fail(self, deployment_id: str, diagnosis: str) -> None:
        self._launcher.note(deployment_id, diagnosis, severity="error")
        self._store.change(deployment_id, status=FAILED, diagnosis=diagnosis, stopped=True)

    def _prune(self) -> None:
        """Remove what is too old to be gone back to."""
        kept: set[str] = set()
        found = self._store.deployments(service=self.kind)
        active = self._store.active_of(self.kind)
        for number, deployment in enumerate(found):
            runs = deployment.id == active or deployment.canary is not None or deployment.status in IN_FLIGHT
            if runs or (deployment.can_rollback and (deployment.release in kept or len(kept) < _KEPT_RELEASES)):
                kept.add(deployment.release)
            elif deployment.can_rollback:
                self._store.change(deployment.id, can_rollback=False)
            if number >= _KEPT_LOGS and deployment.id != active:
                self._store.logs.remove(deployment.id)
                self._store.forget_steps(deployment.id)
        for deployment in found:
            if deployment.origin is None and deployment.id not in kept:
                shutil.rmtree(self._launcher.folder(deployment.id), ignore_errors=True)
                self._store.remember_environment(deployment.id, None)
                self._store.remember_variables(deployment.id, None)
        used = {environment for one in self._store.deployments() if (environment := self._store.environment(one.id))}
        self._launcher.environments.prune(used=used)

    def _serve(self, deployment_id: str, running: Running | None) -> Serving:
        return Serving(
            deployment_id,
            running,
            store=self._store,
            launcher=self._launcher,
            router=self._router,
            read_config=self._read_config,
        )

    def _read_config(self) -> Config:
        """Return the configuration as it is now, or as it was while it could be read."""
        with contextlib.suppress(Error):
            self._config = self._load_config()
        return self._config
