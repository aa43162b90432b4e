"""Deploys what is received, one after the other, and keeps the release that serves running.

A new release takes the place of the one before only after it has proved itself; whatever fails, the earlier release is
left alone. A release that crashes while it serves is started again, as its restart policy says, with growing pauses.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead.config import Config
from fairlead.exceptions import Error
from fairlead.localplatform.launcher import Launcher, Release, Running, is_full, render_diagnosis
from fairlead.localplatform.proxy import Router, Target
from fairlead.localplatform.records import (
    BUILDING,
    CRASHED,
    DEPLOYING,
    FAILED,
    IN_FLIGHT,
    REMOVED,
    REMOVING,
    SUCCESS,
    Deployment,
)
from fairlead.localplatform.store import Store

_log = logging.getLogger(__name__)
_KEPT_RELEASES: Final = 5
_KEPT_LOGS: Final = 30
_LONGEST_PAUSE: Final = 30.0
#: A release that has run for this many seconds starts its count of restarts anew.
_STEADY: Final = 60.0


@dataclass(slots=True)
class _Serving:
    """The deployment that serves, or that is being started again."""

    deployment_id: str
    running: Running | None = None
    keeper: "asyncio.Task[None] | None" = None


class Supervisor:
    """Owns the queue of deployments and the release that serves; `load_config` reads the configuration afresh."""

    def __init__(
        self, *, store: Store, launcher: Launcher, router: Router, load_config: Callable[[], Config], public_url: str
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._router = router
        self._load_config = load_config
        self._config = load_config()
        self._public_url = public_url
        self._queue: asyncio.Queue[tuple[str, Path]] = asyncio.Queue()
        self._serving: _Serving | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    def receive(self, archive: Path, *, message: str | None) -> Deployment:
        """Record a new deployment of an archive and put it in the queue."""
        deployment = self._store.add_deployment(message=message)
        deployment = self._store.change(
            deployment.id, url=self._public_url, static_url=self._public_url.partition("://")[2]
        )
        self._queue.put_nowait((deployment.id, archive))
        return deployment

    def recover(self) -> None:
        """Settle what an earlier run of the platform left unfinished, and start its release again."""
        for deployment in self._store.deployments():
            if deployment.status in IN_FLIGHT:
                self._fail(deployment.id, "the local platform ended while this was being deployed; next: deploy again")
                shutil.rmtree(self._launcher.folder(deployment.id), ignore_errors=True)
            elif deployment.status == REMOVING:
                self._store.change(deployment.id, status=REMOVED, stopped=True, can_rollback=True)
        active = self._store.active
        if active is not None and self._store.deployment(active) is not None:
            self._router.point(None, expected=True)
            self._serving = _Serving(active)
            self._serving.keeper = asyncio.create_task(self._keep(self._serving))

    async def work(self) -> None:
        """Deploy what is in the queue, for ever."""
        while True:
            deployment_id, archive = await self._queue.get()
            try:
                await self._deploy(deployment_id, archive)
            except Error as error:
                self._give_up(deployment_id, render_diagnosis(error))
            except Exception as error:  # noqa: BLE001 - one deployment's fault must not end the queue
                _log.exception("deployment %s", deployment_id)
                full = is_full(self._store.directory, error)
                why = f"the disk of {self._store.directory} is full" if full else f"an internal fault: {error!r}"
                self._give_up(deployment_id, f"the deployment failed: {why}; next: see {self._store.directory}")
            finally:
                archive.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop keeping the release alive; the processes themselves are ended by whoever owns them."""
        tasks = set(self._retiring)
        if self._serving and self._serving.keeper:
            tasks.add(self._serving.keeper)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for deployment in self._store.deployments():
            if deployment.status in IN_FLIGHT:
                self._fail(deployment.id, "the local platform was stopped while this was being deployed")

    # --- one deployment ---

    async def _deploy(self, deployment_id: str, archive: Path) -> None:
        config = self._config = self._load_config()
        self._store.change(deployment_id, status=BUILDING)
        release = await self._launcher.build(deployment_id, archive, config)
        self._store.change(deployment_id, status=DEPLOYING)
        await self._launcher.prepare(release, config)
        running = await self._launcher.start(release, config)
        self._swap(running, config)
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.to_thread(self._prune)

    def _swap(self, running: Running, config: Config) -> None:
        """Let the new release serve and the old one go; nothing is awaited, so no request falls in between."""
        deployment_id = running.release.deployment_id
        before, self._serving = self._serving, _Serving(deployment_id, running)
        if before and before.keeper:
            before.keeper.cancel()
        target = self._router.point(Target(running.port))
        self._store.remember("active", deployment_id)
        self._store.change(deployment_id, status=SUCCESS, stopped=False)
        self._launcher.note(deployment_id, f"serving at {self._public_url}")
        self._serving.keeper = asyncio.create_task(self._keep(self._serving))
        if before:
            self._store.change(before.deployment_id, status=REMOVING)
            task = asyncio.create_task(self._retire(before, target, config.platform.stop_timeout))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, old: _Serving, target: Target | None, grace: float) -> None:
        if target is not None:
            await target.wait_until_idle(within=grace)
        if old.running is not None:
            await old.running.end(grace=grace)
        if target is not None:
            await target.close()
        self._store.change(old.deployment_id, status=REMOVED, stopped=True, can_rollback=True)
        self._launcher.note(old.deployment_id, "replaced by a newer release")

    def _give_up(self, deployment_id: str, diagnosis: str) -> None:
        # The folder goes first: where the disk is full, its space is what the rest is written with.
        shutil.rmtree(self._launcher.folder(deployment_id), ignore_errors=True)
        self._fail(deployment_id, diagnosis)

    def _fail(self, deployment_id: str, diagnosis: str, *, status: str = FAILED) -> None:
        self._launcher.note(deployment_id, diagnosis, severity="error")
        self._store.change(deployment_id, status=status, diagnosis=diagnosis, stopped=True)

    def _prune(self) -> None:
        """Remove what is too old to be gone back to."""
        at_hand = 0
        used = set()
        for number, deployment in enumerate(self._store.deployments()):
            folder = self._launcher.folder(deployment.id)
            served = deployment.id == self._store.active or deployment.can_rollback
            at_hand += served
            if deployment.status not in IN_FLIGHT and (not served or at_hand > _KEPT_RELEASES):
                shutil.rmtree(folder, ignore_errors=True)
                self._store.change(deployment.id, can_rollback=False)
                self._store.remember_environment(deployment.id, None)
            elif environment := self._store.environment(deployment.id):
                used.add(environment)
            if number >= _KEPT_LOGS and deployment.id != self._store.active:
                self._store.logs.remove(deployment.id)
        self._launcher.environments.prune(used=used)

    # --- the release that serves ---

    async def _keep(self, serving: _Serving) -> None:
        """Watch the release that serves and start it again when it crashes, as often as its plan allows."""
        clock = asyncio.get_running_loop().time
        failures = 0
        try:
            while True:
                if serving.running is not None:
                    began = clock()
                    code = await serving.running.exited
                    failures = 0 if clock() - began >= _STEADY else failures
                    plan = serving.running.release.plan
                    target = self._router.point(None, expected=True)
                    if target is not None:
                        await target.close()
                    self._launcher.note(serving.deployment_id, f"the release ended with code {code}", severity="error")
                    if plan.restart_policy == "NEVER" or (plan.restart_policy == "ON_FAILURE" and code == 0):
                        self._crash(serving, f"the release ended with code {code}, and is not to be started again")
                        return
                    serving.running = None
                    failures += 1
                    await asyncio.sleep(_pause(failures))
                release = await self._start_again(serving)
                if serving.running is None:
                    failures += 1
                    if release is None or failures > release.plan.restarts:
                        self._crash(serving, f"the release cannot be started again ({failures} failures)")
                        return
                    await asyncio.sleep(_pause(failures))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the deployment must be seen to have crashed
            _log.exception("keeping %s", serving.deployment_id)
            self._crash(serving, "an internal fault of the local platform; see daemon.log")

    def _read_config(self) -> Config:
        """Return the configuration as it is now, or as it was while it could be read."""
        with contextlib.suppress(Error):
            self._config = self._load_config()
        return self._config

    async def _start_again(self, serving: _Serving) -> Release | None:
        """Start the release; return it, None when it is no longer there."""
        config = self._read_config()
        try:
            release = await asyncio.to_thread(self._launcher.load, serving.deployment_id, config)
        except Error as error:
            self._launcher.note(serving.deployment_id, render_diagnosis(error), severity="error")
            return None
        try:
            serving.running = await self._launcher.start(release, config)
        except Error as error:
            self._launcher.note(serving.deployment_id, render_diagnosis(error), severity="error")
            return release
        self._router.point(Target(serving.running.port))
        self._store.change(serving.deployment_id, status=SUCCESS, stopped=False, diagnosis=None)
        return release

    def _crash(self, serving: _Serving, diagnosis: str) -> None:
        self._router.point(None)
        serving.running = None
        with contextlib.suppress(KeyError):
            self._fail(serving.deployment_id, f"{diagnosis}; next: invoke platform.logs", status=CRASHED)


def _pause(failures: int) -> float:
    return float(min(0.25 * 2 ** (failures - 1), _LONGEST_PAUSE))
