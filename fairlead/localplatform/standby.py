"""The releases that run beside the one that serves: the one before, kept warm for a rollback, and a canary."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead.localplatform.launcher import Running
from fairlead.localplatform.routing import Router, Target


@dataclass(slots=True)
class Standby:
    """A release that runs and may take over; `ended` is called once, when its process ends by itself or is ended."""

    deployment_id: str
    running: Running
    target: Target
    grace: float
    ended: Callable[[str], None]
    _watch: "asyncio.Task[None] | None" = field(default=None, init=False)

    def watch(self, *, lifetime: float | None = None) -> None:
        """Start to watch the process; it is ended after `lifetime` seconds, where that is given."""
        self._watch = asyncio.create_task(self._wait(lifetime))

    def take(self) -> Running:
        """Hand the process over, which is watched here no more."""
        if self._watch is not None:
            self._watch.cancel()
        return self.running

    async def end(self) -> None:
        """End the process: its requests may finish for as long as the grace lasts."""
        self.take()
        await self._end()

    async def _wait(self, lifetime: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(lifetime):
                await self.running.exited
        await self._end()

    async def _end(self) -> None:
        await self.target.wait_until_idle(within=self.grace)
        await self.running.end(grace=self.grace)
        await self.target.close()
        self.ended(self.deployment_id)


@dataclass(slots=True)
class Warm:
    """The release that served before, still running for `lifetime` seconds so that a rollback only moves a pointer."""

    router: Router
    kept: Standby | None = None

    def find(self, release: str) -> Standby | None:
        """Return the warm release that the deployment `release` built, None where it is another or none."""
        kept = self.kept
        return kept if kept is not None and kept.running.release.deployment.release == release else None

    def keep(self, standby: Standby, *, lifetime: float) -> None:
        """Keep a release warm."""
        self.kept = standby
        self.router.keep(standby.target)
        standby.watch(lifetime=lifetime)

    def release(self) -> Standby | None:
        """Give up the warm release and return it; what becomes of it is the caller's affair."""
        standby, self.kept = self.kept, None
        if standby is not None:
            self.router.forget(standby.target)
        return standby
