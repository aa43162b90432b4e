"""Owns text messages by Twilio: sending one, and finding out whether it had one that we lost sight of.

What Twilio may have accepted must not be sent again unseen, so an answer says which of four things happened. Twilio's
own words stay out of it: they repeat the customer's number.
"""

import email.utils
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.settings import Settings

#: How many messages to one number are looked through.
_PAGE = 200
#: Seconds beyond the vendor's own time limit in which the SDK may report what it found out.
_GRACE = 1.0
_LONGEST_RETRY_AFTER = 3600.0
_NEVER_DELIVERED = frozenset({"failed", "undelivered", "canceled"})


@dataclass(frozen=True, slots=True)
class Accepted:
    """Twilio has the message."""

    sid: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Twilio does not want this message and never will."""

    reason: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Twilio surely does not have the message, and may take it later: after `retry_after` seconds where it said so.

    With `account` it is no fault of the message: nothing will be taken until the account or its settings are put right.
    """

    reason: str
    retry_after: float | None = None
    account: bool = False


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Twilio may have the message or not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Twilio had the message; `failure` says why it gave it up, where it did."""

    sid: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Twilio never had the message."""


Outcome = Accepted | Refused | Postponed | Uncertain


class TwilioService:
    """Twilio's messages of one account. Making one loads and connects nothing; one thread uses it."""

    def __init__(self, settings: Settings) -> None:
        """Take the account, the sender and the time limit from `settings`; see `is_configured`."""
        self._settings = settings
        self._client: Any = None
        self._retry_after: str | None = None

    @staticmethod
    def is_configured(settings: Settings) -> bool:
        """Say whether messages can be sent at all."""
        return bool(settings.twilio_auth_token.get_secret_value())

    def send(self, text: str, *, to: str) -> Outcome:
        """Send a text message to a number in E.164 and return what is known of it. Raises nothing for Twilio's sake."""
        answer = self._within_limit(
            lambda client: client.messages.create(to=to, from_=self._settings.twilio_from_number, body=text)
        )
        if isinstance(answer, Exception):
            return _judge(answer, self._retry_after)
        sid = getattr(answer, "sid", None)
        return Accepted(sid) if isinstance(sid, str) and sid else Uncertain("Twilio named no message")

    def find(self, text: str, *, to: str) -> Found | Absent | Uncertain:
        """Find a message to `to` that contains `text`, whenever it was accepted.

        `Uncertain` means that Twilio could not tell.
        """
        messages = self._within_limit(lambda client: client.messages.list(to=to, limit=_PAGE))
        if isinstance(messages, Exception):
            return Uncertain(_explain(messages))
        for message in messages:
            if text in (message.body or "") and message.sid:
                failure = f"Twilio could not deliver it (code {message.error_code})"
                return Found(message.sid, failure if message.status in _NEVER_DELIVERED else None)
        return Uncertain("too many messages to look through") if len(messages) >= _PAGE else Absent()

    def _within_limit(self, ask: Callable[[Any], Any]) -> Any:
        """Return what `ask` returns or the error that it raises, within the time limit in all.

        The SDK's own limit is for each read, so that an answer in drops would last for ever.
        """
        self._retry_after = None
        client = self._client = self._client or self._connect()
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def run() -> None:
            try:
                answers.put(ask(client))
            except Exception as error:  # noqa: BLE001 - whatever the SDK stumbles over is an outcome, and is judged
                answers.put(error)

        threading.Thread(target=run, name="twilio", daemon=True).start()
        try:
            return answers.get(timeout=self._settings.twilio_timeout + _GRACE)
        except queue.Empty:
            # The thread that was left behind keeps its client to itself.
            self._client = None
            return TimeoutError()

    def _connect(self) -> Any:
        from twilio.http.http_client import TwilioHttpClient
        from twilio.rest import Client

        # Both log numbers: the one what is sent, the other the addresses that are asked.
        for name in ("twilio.http_client", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        sid = self._settings.twilio_account_sid.get_secret_value()
        client = Client(
            sid,
            self._settings.twilio_auth_token.get_secret_value(),
            http_client=TwilioHttpClient(
                timeout=self._settings.twilio_timeout, request_hooks={"response": [self._note_retry_after]}
            ),
            # Otherwise the SDK rewrites the address by variables that are not ours.
            environment={"TWILIO_ACCOUNT_SID": sid},
        )
        client.api.base_url = self._settings.twilio_api_base
        return client

    def _note_retry_after(self, response: Any, **_: Any) -> None:
        self._retry_after = response.headers.get("Retry-After")


def _judge(error: Exception, retry_after: str | None) -> Outcome:
    status = getattr(error, "status", None)
    reason = _explain(error)
    if status is None:
        return Postponed(reason) if _never_connected(error) else Uncertain(reason)
    if status == 429:
        return Postponed(reason, retry_after=_seconds(retry_after))
    if status in {401, 403, 404} or 300 <= status < 400:
        return Postponed(reason, account=True)
    return Refused(reason) if 400 <= status < 500 and status != 408 else Uncertain(reason)


def _never_connected(error: Exception) -> bool:
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(error, ConnectTimeout) or (
        isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    )


def _explain(error: Exception) -> str:
    status = getattr(error, "status", None)
    if status is not None:
        return f"Twilio answered {status} (code {getattr(error, 'code', None)})"
    if isinstance(error, TimeoutError) or type(error).__name__ in {"ReadTimeout", "ConnectTimeout"}:
        return "Twilio did not answer in time"
    return f"Twilio could not be asked or understood ({type(error).__name__})"


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
