"""Owns what is asked of Anthropic, by its own SDK: one answer, within one time limit.

The SDK takes seconds to load, so a thread loads it while the application starts, and only where it is configured.
"""

import asyncio
import concurrent.futures
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.observation.vendors import CALLS, Outcome
from app.services.assistant_budget import Usage
from app.settings import Settings

logger = logging.getLogger(__name__)

#: How often the model is asked for one answer.
MOST_ATTEMPTS: Final = 2
#: Seconds before the one further attempt.
_PAUSE: Final = 0.3
#: The part of the time limit that a connection may take: short enough for both attempts to find that there is none.
_CONNECTING: Final = 1 / 3
_SERVER_ERROR: Final = 500
_ACCOUNT: Final = frozenset({400, 401, 402, 403, 404})
#: What the SDK's HTTP client raises before anything of a request is sent.
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})


class ModelUnavailableError(Exception):
    """The model gave no usable answer. The message says why, and holds nothing of the request.

    `is_free` says that nothing was taken for it: no request went out, or it was refused.
    """

    def __init__(self, message: str, *, is_free: bool = False) -> None:
        super().__init__(message)
        self.is_free = is_free


class _TryAgainError(ModelUnavailableError):
    """Another attempt may succeed."""


class ModelTimeoutError(ModelUnavailableError):
    """The model did not answer within the time limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote, why it stopped, and what it took; None where it did not say."""

    text: str
    model: str
    stopped: Literal["end", "length", "declined"]
    usage: Usage | None


@dataclass(slots=True)
class Attempts:
    """What is known of the attempts at one answer, also where the asking was broken off."""

    #: Those that went out, or may have, and of which nobody said what they took. An error by its status took nothing.
    untold: int = 0


class Model:
    """Anthropic as one application asks it. One event loop uses it, and closes it."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet; see `load`."""
        self._settings = settings
        self._client: concurrent.futures.Future[Any] | None = None

    def load(self) -> "concurrent.futures.Future[Any]":
        """Begin to load the SDK, unless that has begun, and return its client to come."""
        if self._client is None:
            self._client = concurrent.futures.Future()
            self._client.set_running_or_notify_cancel()
            # The loop's own threads are waited for at the end; this one may be left in the middle.
            threading.Thread(
                target=_connect, args=(self._settings, self._client), name="anthropic", daemon=True
            ).start()
        return self._client

    async def ask(self, *, rules: str, message: str, attempts: Attempts) -> Answer:
        """Return the model's answer to `message` under `rules`; raise `ModelUnavailableError`. Note the `attempts`."""
        started = time.perf_counter()
        outcome: Outcome = "failed"
        reason = "cancelled"
        try:
            async with asyncio.timeout(self._settings.assistant_timeout):
                answer = await self._try(rules, message, attempts)
            outcome, reason = "ok", ""
        except TimeoutError:
            reason = f"no answer within {self._settings.assistant_timeout:g} s"
            raise ModelTimeoutError(reason) from None
        except ModelUnavailableError as error:
            reason = str(error)
            raise
        finally:
            if reason != "cancelled":
                CALLS.record("anthropic", outcome, time.perf_counter() - started, reason=reason)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self._client.done():
            await self._client.result().close()

    async def _try(self, rules: str, message: str, attempts: Attempts) -> Answer:
        client = await asyncio.wrap_future(self.load())
        for _ in range(MOST_ATTEMPTS - 1):
            try:
                return await self._attempt(client, rules, message, attempts)
            except _TryAgainError:
                await asyncio.sleep(_PAUSE)
        return await self._attempt(client, rules, message, attempts)

    async def _attempt(self, client: Any, rules: str, message: str, attempts: Attempts) -> Answer:
        attempts.untold += 1
        try:
            answer = _read(await self._create(client, rules, message))
        except ModelUnavailableError as error:
            attempts.untold -= error.is_free
            raise
        if answer.usage is not None:
            attempts.untold -= 1
        return answer

    async def _create(self, client: Any, rules: str, message: str) -> Any:
        import anthropic

        try:
            return await client.messages.create(
                model=self._settings.anthropic_model,
                max_tokens=self._settings.assistant_max_tokens,
                system=rules,
                messages=[{"role": "user", "content": message}],
            )
        except anthropic.APIStatusError as error:
            raise _translate(error.status_code) from None
        except anthropic.APIConnectionError as error:
            if type(error.__cause__).__name__ in _UNSENT:
                raise _TryAgainError("there is no connection", is_free=True) from None
            if isinstance(error, anthropic.APITimeoutError):
                raise TimeoutError from None
            raise _TryAgainError("the connection failed") from None
        except (anthropic.AnthropicError, AttributeError, KeyError, TypeError, ValueError):
            # What the SDK makes of an answer that is not one of Anthropic's. Nothing of it goes on.
            raise ModelUnavailableError("the answer is not one of Anthropic's") from None


def _connect(settings: Settings, client: "concurrent.futures.Future[Any]") -> None:
    try:
        import anthropic

        # Below a warning these log what is sent, or to where.
        for name in ("anthropic", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        made = anthropic.AsyncAnthropic(
            api_key=settings.anthropic_api_key.get_secret_value(),
            base_url=settings.anthropic_base_url,
            timeout=anthropic.Timeout(settings.assistant_timeout, connect=settings.assistant_timeout * _CONNECTING),
            # Its own retries wait as long as the vendor says, whatever time is left.
            max_retries=0,
            # Traces without the caller's words, whatever the environment asks for.
            open_telemetry={"propagation": False},
        )
    except BaseException as error:  # noqa: BLE001 - raised again for whoever waits for the client
        client.set_exception(error)
    else:
        client.set_result(made)


def _translate(status: int) -> ModelUnavailableError:
    reason = f"HTTP {status}"
    if status >= _SERVER_ERROR:
        return _TryAgainError(reason, is_free=True)
    if status in _ACCOUNT:
        logger.error(
            "Anthropic refuses what the assistant asks: check ANTHROPIC_API_KEY, ANTHROPIC_MODEL and the account",
            extra={"status": status},
        )
    return ModelUnavailableError(reason, is_free=True)


def _read(message: Any) -> Answer:
    blocks = getattr(message, "content", None)
    model = getattr(message, "model", None)
    if not isinstance(blocks, list) or not isinstance(model, str):
        raise ModelUnavailableError("the answer is not one of Anthropic's")
    texts = [getattr(block, "text", None) for block in blocks if getattr(block, "type", None) == "text"]
    reason = getattr(message, "stop_reason", None)
    stopped: Literal["end", "length", "declined"] = "end"
    if reason == "max_tokens":
        stopped = "length"
    elif reason == "refusal":
        stopped = "declined"
    text = "".join(text for text in texts if isinstance(text, str))
    return Answer(text, model, stopped, _read_usage(getattr(message, "usage", None)))


def _read_usage(usage: Any) -> Usage | None:
    counts: list[Any] = [getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None)]
    if not all(type(count) is int and 0 <= count < 10**9 for count in counts):
        return None
    return Usage(*counts)
