"""Keeps one release running: it is started again when it crashes, as often as its plan allows, with growing pauses."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from fairlead.config import Config
from fairlead.exceptions import Error
from fairlead.localplatform.launcher import Launcher, Release, Running, render_diagnosis
from fairlead.localplatform.records import CRASHED, SUCCESS
from fairlead.localplatform.routing import Router, Target
from fairlead.localplatform.store import Store

_log = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 30.0
#: A release that has run for this many seconds starts its count of restarts anew.
_STEADY: Final = 60.0


class Serving:
    """The deployment that serves, or that is being started again; `running` is its process while there is one."""

    def __init__(
        self,
        deployment_id: str,
        running: Running | None,
        *,
        store: Store,
        launcher: Launcher,
        router: Router,
        read_config: Callable[[], Config],
    ) -> None:
        self.deployment_id = deployment_id
        self.running = running
        self._store = store
        self._launcher = launcher
        self._router = router
        self._read_config = read_config
        self._keeper: asyncio.Task[None] | None = None

    def keep(self) -> None:
        """Start to watch over the release."""
        self._keeper = asyncio.create_task(self._keep())

    def let_go(self) -> None:
        """Watch over the release no more; the process goes on."""
        if self._keeper is not None:
            self._keeper.cancel()

    async def close(self) -> None:
        """Watch over the release no more, and wait until that is so."""
        self.let_go()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        try:
            while True:
                if self.running is not None:
                    began = clock()
                    code = await self.running.exited
                    failures = 0 if clock() - began >= _STEADY else failures
                    plan = self.running.release.plan
                    await self._unpoint()
                    self._launcher.note(self.deployment_id, f"the release ended with code {code}", severity="error")
                    if plan.restart_policy == "NEVER" or (plan.restart_policy == "ON_FAILURE" and code == 0):
                        self._crash(f"the release ended with code {code}, and is not to be started again")
                        return
                    self.running = None
                    failures += 1
                    await asyncio.sleep(_pause(failures))
                release = await self._start_again()
                if self.running is None:
                    failures += 1
                    if release is None or failures > release.plan.restarts:
                        self._crash(f"the release cannot be started again ({failures} failures)")
                        return
                    await asyncio.sleep(_pause(failures))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the deployment must be seen to have crashed
            _log.exception("keeping %s", self.deployment_id)
            self._crash("an internal fault of the local platform; see daemon.log")

    async def _unpoint(self) -> None:
        target = self._router.point(None, expected=True)
        if target is not None:
            await target.close()

    async def _start_again(self) -> Release | None:
        """Start the release; return it, None when it is no longer there."""
        config = self._read_config()
        deployment = self._store.deployment(self.deployment_id)
        if deployment is None:
            return None
        try:
            release = await asyncio.to_thread(self._launcher.load, deployment, config)
        except Error as error:
            self._launcher.note(self.deployment_id, render_diagnosis(error), severity="error")
            return None
        try:
            self.running = await self._launcher.start(release, config)
        except Error as error:
            self._launcher.note(self.deployment_id, render_diagnosis(error), severity="error")
            return release
        self._router.point(Target(self.running.port, deployment_id=self.deployment_id))
        self._store.change(self.deployment_id, status=SUCCESS, stopped=False, diagnosis=None)
        return release

    def _crash(self, why: str) -> None:
        self._router.point(None)
        self.running = None
        diagnosis = f"{why}; next: invoke platform.logs"
        with contextlib.suppress(KeyError):
            self._launcher.note(self.deployment_id, diagnosis, severity="error")
            self._store.change(self.deployment_id, status=CRASHED, diagnosis=diagnosis, stopped=True)


def _pause(failures: int) -> float:
    return float(min(0.25 * 2 ** (failures - 1), _LONGEST_PAUSE))
