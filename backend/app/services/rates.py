"""Owns how many requests one client may make: the limits, and where a client stands with one."""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass

from limits import RateLimitItem, parse

from app.services.counting import Counts

OFF = "off"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a client stands: what remains of its `limit` in this window of `period` seconds, which ends in `reset`."""

    policy: str
    limit: int
    period: int
    remaining: int
    reset: int
    exceeded: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell a client so (draft-ietf-httpapi-ratelimit-headers-10)."""
        policy = f'"{self.policy}";q={self.limit};w={self.period}'
        standing = f'"{self.policy}";r={self.remaining};t={self.reset}'
        return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", standing.encode())]


class RateLimit:
    """Allows each client so many requests in windows that begin at the same moment for all processes.

    The window's number is part of the key, so that one question to the storage is enough: when the window ends is
    known without asking.
    """

    def __init__(self, counts: Counts, rule: str, *, policy: str, now: Callable[[], float] = time.time) -> None:
        """Count in `counts` by a `rule` such as 600/minute; `policy` is its name in headers and figures."""
        self._counts = counts
        self._item: RateLimitItem | None = None if rule == OFF else parse(rule)
        self._now = now
        self.policy = policy

    async def count(self, client: str) -> Standing | None:
        """Count a request of `client` and return where it stands; None where nothing is limited."""
        if self._item is None:
            return None
        period = self._item.get_expiry()
        window, elapsed = divmod(int(self._now()), period)
        reset = period - elapsed
        count = await self._counts.add(f"{self.policy}:{client}:{window}", expiry=reset + 1)
        limit = self._item.amount
        return Standing(self.policy, limit, period, max(0, limit - count), reset, count > limit)


def name_address(address: str) -> str:
    """Return what a client at `address` is counted as: itself, or the /64 that one IPv6 customer has for himself."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
