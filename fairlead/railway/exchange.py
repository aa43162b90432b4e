"""One call over HTTP: bounded in time as a whole, in the size of its answer and in the number of its repetitions."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from fairlead._http import TotalDeadline, is_loopback
from fairlead.exceptions import DeadlineError, PlatformError, ResponseError

_CONNECT_TIMEOUT: Final = 5.0
_LARGEST_ANSWER: Final = 16 * 1024 * 1024
_PAUSES: Final = (0.2, 0.4, 0.8)
_LONGEST_PAUSE: Final = 10.0
_PASSING: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status, its body, and how long it asks to be left alone, in seconds."""

    status: int
    body: bytes
    retry_after: float | None


class Exchange:
    """Sends requests through an httpx client and gives whole answers; for one thread at a time.

    `largest_answer` is in bytes. `clock` and `sleep` are replaced in tests.
    """

    def __init__(
        self,
        client: httpx.Client,
        *,
        largest_answer: int = _LARGEST_ANSWER,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._largest_answer = largest_answer
        self._clock = clock
        self._sleep = sleep
        self._deadline = TotalDeadline()
        self.place = client.base_url.netloc.decode("ascii")

    def call(
        self, what: str, path: str, *, timeout: float, repeat: bool, hint: str | None = None, **request: Any
    ) -> Answer:
        """POST a request and return the answer, whatever its status.

        `what` names the call in messages. `timeout`, in seconds, bounds it from first to last, pauses and repetitions
        included. With `repeat` (for what changes nothing) the request is sent again, at most three times and after a
        pause, when the connection fails or the answer is 429, 502, 503 or 504; a Retry-After of up to 10 seconds is
        honoured. Raises `DeadlineError` past `timeout`, `PlatformError` when there is no connection or it breaks,
        `ResponseError` for an answer that is too large or cannot be decoded. `hint` replaces the usual advice for
        what breaks after it was begun.
        """
        deadline = self._clock() + timeout
        pauses = iter(_PAUSES if repeat else ())
        while True:
            pause = next(pauses, math.inf)
            try:
                answer = self._once(what, path, timeout=timeout, deadline=deadline, **request)
            except httpx.TransportError as error:
                if not self._rest(pause, deadline):
                    raise self._failure(what, error, timeout=timeout, hint=hint) from error
                continue
            pause = max(pause, answer.retry_after or 0.0)
            if answer.status not in _PASSING or not self._rest(pause, deadline):
                return answer

    def _rest(self, pause: float, deadline: float) -> bool:
        """Sleep before a repetition, unless it would be too long; say whether there is to be one."""
        if pause > _LONGEST_PAUSE or self._clock() + pause >= deadline:
            return False
        self._sleep(pause)
        return True

    def _once(self, what: str, path: str, *, timeout: float, deadline: float, **request: Any) -> Answer:
        left = max(deadline - self._clock(), 0.001)
        limits = httpx.Timeout(left, connect=min(left, _CONNECT_TIMEOUT))
        body = bytearray()
        extensions = {"trace": self._deadline.watch}
        with (
            self._deadline.over(left),
            self._client.stream("POST", path, timeout=limits, extensions=extensions, **request) as response,
        ):
            try:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > self._largest_answer:
                        raise ResponseError(f"{what} failed: the answer of {self.place} is larger than any should be")
                    if self._clock() > deadline:
                        raise self._too_slow(what, timeout)
            except httpx.DecodingError as error:
                raise ResponseError(f"{what} failed: the answer of {self.place} cannot be decoded: {error}") from error
        return Answer(response.status_code, bytes(body), _retry_after(response.headers.get("retry-after")))

    def _failure(self, what: str, error: httpx.TransportError, *, timeout: float, hint: str | None) -> PlatformError:
        advice = (
            "check that the local platform runs: invoke platform.status, and invoke platform.up to start it"
            if is_loopback(self._client.base_url.host)
            else f"check the network, the proxy settings and that {self.place} is the right address"
        )
        if isinstance(error, httpx.ConnectTimeout):
            return DeadlineError(f"{what} failed: {self.place} does not take connections", hint=advice)
        if isinstance(error, httpx.ConnectError):
            return PlatformError(f"{what} failed: cannot connect to {self.place}: {error}", hint=advice)
        if isinstance(error, httpx.TimeoutException) or self._deadline.passed:
            return self._too_slow(what, timeout, hint=hint or advice)
        why = str(error) or "it was closed"
        return PlatformError(f"{what} failed: the connection to {self.place} broke: {why}", hint=hint or advice)

    def _too_slow(self, what: str, timeout: float, *, hint: str | None = None) -> DeadlineError:
        hint = hint or "try again; when it stays so, check the network and the platform's status page"
        return DeadlineError(f"{what} failed: {self.place} gave no complete answer within {timeout:g} s", hint=hint)


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After header, which holds seconds or a date, as seconds from now."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
