"""Owns text messages by Twilio: sending one, and finding out whether it had one that we lost sight of.

What Twilio may have accepted must not be sent again unseen, so an answer says which of four things happened. Twilio's
own words stay out of it: they repeat the customer's number.
"""

import email.utils
import logging
import math
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.settings import Settings

#: How many messages to one number are looked through.
_PAGE = 200
#: How far Twilio's clock may be from the database's.
_CLOCKS = timedelta(hours=1)
#: Seconds beyond the vendor's own time limit in which the SDK may report what it found out.
_GRACE = 1.0
_SHORTEST_RETRY_AFTER = 1.0
_DEFAULT_RETRY_AFTER = 60.0
_LONGEST_RETRY_AFTER = 3600.0
_NEVER_DELIVERED = frozenset({"failed", "undelivered", "canceled"})
_SID = re.compile(r"[A-Za-z0-9_]{1,64}")
#: Codes that condemn one recipient, whoever sends: no valid number, not to be reached, a short code, the sender itself,
#: unsubscribed, takes no text messages, a landline. Every other 4xx may be the account's or the sender's fault, and
#: then the same answer comes for every message. Source: https://www.twilio.com/docs/api/errors
_NEVER_TAKEN: Final = frozenset({21211, 21214, 21217, 21265, 21266, 21610, 21614, 21635})
#: Codes for one region or network together with this account: no permission for it, not to be reached from this sender.
_NOT_FROM_HERE: Final = frozenset({21408, 21612})


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
    """Twilio surely does not have the message, and may take it later.

    With either of the others it is no fault of the message: no message will be taken for `retry_after` seconds; or,
    with `account`, until the account, its settings or the way to Twilio are put right.
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
        sid = _read_sid(answer)
        return Uncertain("Twilio named no message") if sid is None else Accepted(sid)

    def find(self, text: str, *, to: str, since: datetime) -> Found | Absent | Uncertain:
        """Find a message to `to` that contains `text` and cannot have been accepted before `since`.

        `Uncertain` means that Twilio could not tell.
        """
        messages = self._within_limit(lambda client: client.messages.list(to=to, limit=_PAGE))
        if isinstance(messages, Exception):
            return Uncertain(_explain(messages))
        for message in messages:
            if isinstance(message.body, str) and text in message.body:
                sid = _read_sid(message)
                if sid is None:
                    return Uncertain("Twilio named no message")
                failure = f"Twilio could not deliver it (code {_read_code(message.error_code)})"
                return Found(sid, failure if str(message.status) in _NEVER_DELIVERED else None)
        if len(messages) < _PAGE or _is_before(messages[-1], since - _CLOCKS):
            return Absent()
        return Uncertain("too many messages to look through")

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
    status = _read_status(error)
    reason = _explain(error)
    if status is None:
        return Postponed(reason, account=True) if _never_connected(error) else Uncertain(reason)
    if status == 429:
        return Postponed(reason, retry_after=_seconds(retry_after))
    if status == 408 or not 300 <= status < 500:
        return Uncertain(reason)
    code = _read_code(getattr(error, "code", None))
    if code in _NEVER_TAKEN:
        return Refused(reason)
    return Postponed(reason, account=code not in _NOT_FROM_HERE)


def _never_connected(error: Exception) -> bool:
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(error, ConnectTimeout) or (
        isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    )


def _explain(error: Exception) -> str:
    status = _read_status(error)
    if status is not None:
        return f"Twilio answered {status} (code {_read_code(getattr(error, 'code', None))})"
    if isinstance(error, TimeoutError) or type(error).__name__ in {"ReadTimeout", "ConnectTimeout"}:
        return "Twilio did not answer in time"
    return f"Twilio could not be asked or understood ({type(error).__name__})"


def _is_before(message: Any, moment: datetime) -> bool:
    """Say whether a message, and with it every later one of the list, is from before `moment`: newest come first."""
    at = message.date_sent or message.date_created
    return isinstance(at, datetime) and at < moment


# What Twilio answers goes to the database and to the log, and may be anything that JSON can hold.


def _read_sid(message: Any) -> str | None:
    sid = getattr(message, "sid", None)
    return sid if isinstance(sid, str) and _SID.fullmatch(sid) else None


def _read_status(error: Exception) -> int | None:
    status = getattr(error, "status", None)
    return status if isinstance(status, int) and 100 <= status < 600 else None


def _read_code(code: object) -> int | None:
    return code if isinstance(code, int) and 0 < code < 1_000_000 else None


def _seconds(retry_after: str | None) -> float:
    try:
        seconds = float(retry_after or "nan")
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(str(retry_after)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return _DEFAULT_RETRY_AFTER
    if not math.isfinite(seconds):
        return _DEFAULT_RETRY_AFTER
    return min(max(seconds, _SHORTEST_RETRY_AFTER), _LONGEST_RETRY_AFTER)
