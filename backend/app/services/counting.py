"""Owns where requests are counted: in this process, or in Redis for all processes together."""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from limits.aio.storage import MovingWindowSupport, Storage
from pydantic import SecretStr

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Seconds that Redis may take: its answer is on the way of every request.
_PATIENCE: Final = 0.25
#: Seconds for which Redis is left alone once it failed.
_PAUSE: Final = 5.0
_MOST_CONNECTIONS: Final = 50


class ProcessStorage(Storage, MovingWindowSupport):
    """Counts in memory that is bounded: keys beyond `capacity` push out those used least recently.

    The library's own memory storage looks through every key at every request, and keeps as many as anyone makes up.
    """

    STORAGE_SCHEME = None

    def __init__(self, *, capacity: int = 10_000, now: Callable[[], float] = time.time) -> None:
        """Keep at most `capacity` keys of each kind."""
        super().__init__()
        self._capacity = capacity
        self._now = now
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """What memory can fail with: nothing that is expected."""
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the count of `key`, which lives for `expiry` seconds from its first, and return it."""
        count, ends = self._counts.get(key, (0, 0.0))
        now = self._now()
        if ends <= now:
            count, ends = 0, now + expiry
        self._counts[key] = count + amount, ends
        self._counts.move_to_end(key)
        if len(self._counts) > self._capacity:
            self._counts.popitem(last=False)
        return count + amount

    async def get(self, key: str) -> int:
        """Return the count of `key`."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > self._now() else 0

    async def get_expiry(self, key: str) -> float:
        """Return when the count of `key` ends, in seconds since the epoch."""
        return self._counts.get(key, (0, self._now()))[1]

    async def check(self) -> bool:
        """Say that memory is there."""
        return True

    async def reset(self) -> int | None:
        """Forget everything and return how many keys there were."""
        dropped = len(self._counts) + len(self._moments)
        self._counts.clear()
        self._moments.clear()
        return dropped

    async def clear(self, key: str) -> None:
        """Start `key` afresh."""
        self._counts.pop(key, None)
        self._moments.pop(key, None)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note `amount` moments for `key`, unless that makes more than `limit` within `expiry` seconds."""
        moments = self._recent(key, expiry)
        if len(moments) + amount > limit:
            return False
        moments.extend([self._now()] * amount)
        self._moments[key] = moments
        self._moments.move_to_end(key)
        if len(self._moments) > self._capacity:
            self._moments.popitem(last=False)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the oldest moment within `expiry` seconds, and how many there are, which `limit` has bounded."""
        del limit
        moments = self._recent(key, expiry)
        return (moments[0] if moments else self._now()), len(moments)

    def _recent(self, key: str, expiry: int) -> deque[float]:
        moments = self._moments.get(key, deque())
        oldest = self._now() - expiry
        while moments and moments[0] <= oldest:
            moments.popleft()
        return moments


class Counts:
    """Counts in Redis while it answers. While it does not, this process counts for itself, and a warning says so.

    Refusing everybody because a counter is gone would be an outage of our own making; not counting at all would let
    anyone guess passwords while it lasts.
    """

    def __init__(
        self,
        *,
        shared: Storage | None = None,
        own: ProcessStorage | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        patience: float = _PATIENCE,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Count in `shared` where it is given; leave it alone for a moment when it takes longer than `patience`."""
        self._shared = shared
        self._own = own or ProcessStorage(now=now)
        self._now = now
        self._clock = clock
        self._patience = patience
        self._close = close or _nothing_to_close
        self._failing_until: float | None = None
        # Who finds every connection taken waits for one: Redis itself is well.
        self._places = asyncio.Semaphore(_MOST_CONNECTIONS)
        self._failures: tuple[type[Exception], ...] = (OSError, TimeoutError)
        if shared is not None:
            expected = shared.base_exceptions
            self._failures += expected if isinstance(expected, tuple) else (expected,)

    @property
    def is_shared(self) -> bool:
        """Whether other processes are to count along."""
        return self._shared is not None

    @property
    def is_failing(self) -> bool:
        """Whether the shared count could not be used when it was last tried."""
        return self._failing_until is not None

    async def add(self, key: str, *, expiry: int) -> int:
        """Add one to the count of `key`, which ends after `expiry` seconds, and return it."""
        return await self._ask(lambda storage: storage.incr(key, expiry))

    async def note(self, key: str, *, limit: int, window: int) -> int:
        """Note a moment for `key`; return 0, or the seconds to wait where `limit` moments are in the `window`."""

        async def note(storage: Storage) -> int:
            assert isinstance(storage, MovingWindowSupport)  # noqa: S101  (narrows the type: both storages are)
            if await storage.acquire_entry(key, limit, window):
                return 0
            oldest, _ = await storage.get_moving_window(key, limit, window)
            return max(1, math.ceil(oldest + window - self._now()))

        return await self._ask(note)

    async def forget(self, key: str) -> None:
        """Start `key` afresh."""
        await self._ask(lambda storage: storage.clear(key))

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._close()

    async def _ask(self, question: Callable[[Storage], Awaitable[Result]]) -> Result:
        shared, failing = self._shared, self._failing_until
        if shared is None or (failing is not None and self._clock() < failing):
            return await question(self._own)
        try:
            async with asyncio.timeout(self._patience), self._places:
                answer = await question(shared)
        except self._failures as error:
            if self._failing_until is None:
                logger.warning(
                    "Redis does not answer: limits are counted by each process for itself",
                    extra={"reason": type(error).__name__},
                )
            self._failing_until = self._clock() + _PAUSE
            return await question(self._own)
        if failing is not None and failing == self._failing_until:
            # Whoever asked before it failed does not know that it answers again.
            self._failing_until = None
            logger.info("Redis answers again: limits are counted for all processes together")
        return answer


def make_counts(redis_url: SecretStr) -> Counts:
    """Make the counts for an address of Redis, or for this process alone where it is empty. Connects nowhere yet."""
    address = redis_url.get_secret_value()
    if not address:
        return Counts()
    from limits.aio.storage import RedisStorage
    from limits.aio.storage.redis.redispy import RedispyBridge

    if address.startswith("unix://"):
        address = f"redis+{address}"
    shared = RedisStorage(
        f"async+{address}",
        implementation="redispy",
        key_prefix="maya:limits",
        max_connections=_MOST_CONNECTIONS,
        # Whoever waits longer than this counts for himself, so that trying again here would be in vain.
        retry_on_timeout=False,
    )
    bridge = shared.bridge
    assert isinstance(bridge, RedispyBridge)  # noqa: S101  (narrows the type: the implementation asked for above)
    return Counts(shared=shared, close=bridge.storage.aclose)


async def _nothing_to_close() -> None:
    return
