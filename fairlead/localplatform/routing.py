"""Which release gets the next request, and what each release has in hand.

The router holds the one pointer that a swap changes. A request keeps the target it was given, and each target counts
the requests it is working on, so that an old release can be left to finish them.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import h11

from fairlead.localplatform.upstream import Answer, Connections

_PATIENCE: Final = 30.0
#: How finely the share of a canary is set: thousandths of a per cent.
_WHOLE: Final = 100_000


class Target:
    """One release as the proxy sees it: its port, the connections kept open to it, the requests it is working on."""

    def __init__(self, port: int, *, deployment_id: str = "") -> None:
        self.port = port
        self.deployment_id = deployment_id
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._leave: set[Callable[[], None]] = set()
        self._connections = Connections(port)

    async def send(
        self, request: h11.Request, body: AsyncIterator[bytes] | None = None, *, repeatable: bool = False
    ) -> Answer:
        """Send a request and return the answer once its head is there; see `Connections.send`."""
        return await self._connections.send(request, body, repeatable=repeatable)

    @contextlib.contextmanager
    def use(self, *, leave: Callable[[], None] | None = None) -> Iterator[None]:
        """Count a request as being worked on; `leave` is called when it may go on no longer."""
        self.in_flight += 1
        self._idle.clear()
        if leave is not None:
            self._leave.add(leave)
        try:
            yield
        finally:
            if leave is not None:
                self._leave.discard(leave)
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def wait_until_idle(self, *, within: float) -> bool:
        """Wait until no request is being worked on; tell whether that came about `within` seconds.

        WebSockets that are still open by then are told to go away.
        """
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            self._tell_to_leave()
            return False
        return True

    async def close(self) -> None:
        """Close the connections; WebSockets are told to go away."""
        self._tell_to_leave()
        self._connections.close()

    def _tell_to_leave(self) -> None:
        for leave in tuple(self._leave):
            leave()


class Router:
    """Says which release gets the next request."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self.canary: Target | None = None
        self._spread = _Spread(0.0)
        self._kept: set[Target] = set()
        self._expected = False
        self._changed = asyncio.Event()

    def point(self, target: Target | None, *, expected: bool = False) -> Target | None:
        """Change the pointer and return what it was; `expected` says that a target will follow soon."""
        before, self.target, self._expected = self.target, target, expected
        self._announce()
        return before

    def weigh(self, target: Target | None, percent: float = 0.0) -> Target | None:
        """Give a canary `percent` of the requests that come from now on; return the canary there was.

        Without a target the canary ends. Of each block (at 10 %: of ten requests) one chosen at random goes to it, so
        that neither luck nor a rhythm of the requests decides what it gets. Raises `ValueError` for what is no
        percentage.
        """
        spread = _Spread(percent)
        before, self.canary, self._spread = self.canary, target, spread
        self._announce()
        return before

    def keep(self, target: Target) -> None:
        """Let a release that gets no requests by itself be reached by its deployment's id."""
        self._kept.add(target)
        self._announce()

    def forget(self, target: Target) -> None:
        """Undo `keep`; nothing happens to a target that is not kept."""
        self._kept.discard(target)

    async def find(self, deployment_id: str | None = None, *, patience: float = _PATIENCE) -> Target | None:
        """Return who gets the next request, or the release of a deployment; None when there is none.

        While a target is expected, it is waited for, at the most `patience` seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while (found := self._choose(deployment_id)) is None and self._expected:
                    await self._changed.wait()
                return found
        return self._choose(deployment_id)

    def _choose(self, deployment_id: str | None) -> Target | None:
        if deployment_id is None:
            return self.canary if self.canary is not None and self._spread.take() else self.target
        for target in (self.target, self.canary, *self._kept):
            if target is not None and target.deployment_id == deployment_id:
                return target
        return None

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _Spread:
    """Takes a share of what passes: one of each block, at a random place within it."""

    def __init__(self, percent: float) -> None:
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent!r} is no percentage")
        self._step = round(percent * _WHOLE / 100)
        self._position = 0
        self._block = 0
        self._mark = self._draw()

    def take(self) -> bool:
        """Tell whether the next one is taken."""
        self._position += self._step
        if self._position < self._mark:
            return False
        self._block += _WHOLE
        self._mark = self._draw()
        return True

    def _draw(self) -> int:
        return self._block + random.randint(1, _WHOLE)  # noqa: S311 - a sample is no secret  # nosec B311
