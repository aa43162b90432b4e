"""Owns the limit on failed logins: so many of one key within a sliding window."""

import hashlib

from app.services.counting import Counts


class FailureThrottle:
    """Counts attempts by key; a success takes them back, so that what remains are failures and what is not decided."""

    def __init__(self, counts: Counts, *, limit: int, window: int) -> None:
        """Allow `limit` attempts of one key within `window` seconds, of which none succeeded yet."""
        self._counts = counts
        self._limit = limit
        self._window = window

    async def count(self, key: str) -> int:
        """Count an attempt of `key` and return 0, or the whole seconds to wait when there were too many."""
        return await self._counts.note(_conceal(key), limit=self._limit, window=self._window)

    async def forget(self, key: str) -> None:
        """Start `key` afresh, after a success."""
        await self._counts.forget(_conceal(key))


def _conceal(key: str) -> str:
    # Who tries to log in from where is nobody's business who may look into Redis.
    return "login:" + hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()
