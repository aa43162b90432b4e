"""`python -m app.workers.payment_reminder_worker`: sends the reminders of open payments that are due, until SIGTERM.

Any number of these may run at once. Each has one connection and one message in hand.
"""

import logging
import random
import sys
import time
from collections.abc import Callable
from typing import Protocol

import psycopg

from app.build_info import BuildInfoError, load_build_info
from app.connections import connect_arguments, describe, first_line
from app.logs import configure_logging
from app.observation.errors import start_reporting, stop_reporting
from app.services.reminder_queue import Claim, Connection, Reminder, ReminderQueue, Settlement
from app.services.reminder_text import compose
from app.services.twilio_service import Absent, Accepted, Found, Postponed, Refused, TwilioService, Uncertain
from app.settings import Settings, SettingsError, load_settings
from app.workers.stop import StopSignal

logger = logging.getLogger("app.workers.payment_reminder_worker")

#: Seconds after which a claim that nobody holds is doubted; longer than Twilio may take, however it is configured.
DOUBT = 180.0
_GIVE_UP = 86_400.0
_FIRST_RETRY = 60.0
_LONGEST_RETRY = 3600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_ACCOUNT_PAUSE = 60.0
#: The message that Twilio answered goes behind the others: should it be its own fault after all, it holds nobody up.
_ACCOUNT_DELAY = 600.0


class Stop(Protocol):
    """What the worker asks about its own end."""

    def is_set(self) -> bool:
        """Say whether to end."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait at most so long to be told to end, and say whether that has happened."""


class Worker:
    """Claims what is due, has it sent and writes down what came of it."""

    def __init__(self, settings: Settings, *, twilio: TwilioService, stop: Stop) -> None:
        """Connects nowhere yet."""
        self._settings = settings
        self._twilio = twilio
        self._stop = stop
        self._failures = 0
        #: What came of a message while the database was gone.
        self._unwritten: tuple[Claim, Settlement] | None = None

    def run(self) -> None:
        """Work until told to end; a database that is gone is waited for with growing pauses."""
        while not self._stop.is_set():
            try:
                with connect(self._settings) as connection:
                    self._work(ReminderQueue(connection, doubt=DOUBT))
            except psycopg.Error as error:
                self._failures += 1
                pause = _growing(_FIRST_PAUSE, self._failures, longest=_LONGEST_PAUSE)
                logger.warning(
                    "the database does not serve, trying again",
                    extra={
                        "database": describe(self._settings.dsn),
                        "reason": first_line(error),
                        "attempt": self._failures,
                        "retry_in": round(pause, 2),
                    },
                )
                self._stop.wait(pause)
        if self._unwritten is not None:
            self._write_at_last(*self._unwritten)

    def _work(self, queue: ReminderQueue) -> None:
        look_again = 0.0
        while not self._stop.is_set():
            self._write_unwritten(queue)
            pause = 0.0
            if time.monotonic() >= look_again:
                queue.drop_closed()
                found_doubtful = self._resolve_next(queue)
                look_again = time.monotonic() + (0 if found_doubtful else self._settings.reminder_poll_interval)
            claim = queue.claim_due()
            if claim is not None:
                pause = self._handle(queue, claim, self._deliver)
            elif look_again > time.monotonic():
                pause = self._settings.reminder_poll_interval * _jitter()
            self._failures = 0
            if pause:
                self._stop.wait(pause)

    def _resolve_next(self, queue: ReminderQueue) -> bool:
        claim = queue.claim_doubtful()
        if claim is not None:
            self._handle(queue, claim, self._resolve)
        return claim is not None

    def _handle(self, queue: ReminderQueue, claim: Claim, act: Callable[[Reminder], tuple[Settlement, float]]) -> float:
        """Settle a claim as `act` finds, and return the seconds to rest before the next one."""
        with queue.hold(claim) as reminder:
            if reminder is None:
                logger.warning("another worker took the reminder over", extra={"reminder_id": str(claim.id)})
                return 0.0
            settlement, pause = act(reminder)
            self._unwritten = (claim, settlement)
            queue.settle(claim, settlement)
        self._unwritten = None
        return pause

    def _deliver(self, reminder: Reminder) -> tuple[Settlement, float]:
        if not reminder.is_open:
            return self._settle(reminder, Settlement("cancelled", counts=False)), 0.0
        outcome = self._twilio.send(_compose(reminder), to=reminder.phone_number)
        match outcome:
            case Accepted(sid):
                return self._settle(reminder, Settlement("sent", sid=sid)), 0.0
            case Refused(reason):
                return self._settle(reminder, Settlement("failed", error=reason)), 0.0
            case Postponed(reason, account=True):
                logger.error(_NO_MESSAGES, extra={"reason": reason})
                settlement = Settlement("pending", error=reason, delay=_ACCOUNT_DELAY, counts=False)
                return self._settle(reminder, settlement), _ACCOUNT_PAUSE * _jitter()
            case Postponed(reason, float(retry_after)):
                settlement = Settlement("pending", error=reason, delay=retry_after, counts=False)
                return self._settle(reminder, settlement), retry_after
            case Postponed(reason):
                return self._settle(reminder, self._again(reminder, reason)), 0.0
            case Uncertain(reason):
                # It stays claimed: once that is in doubt, a worker asks Twilio what became of it.
                return self._settle(reminder, Settlement("sending", error=reason)), 0.0

    def _resolve(self, reminder: Reminder) -> tuple[Settlement, float]:
        match self._twilio.find(reminder.link, to=reminder.phone_number, since=reminder.claimed_at):
            case Found(sid, None):
                settlement = Settlement("sent", sid=sid)
            case Found(sid, failure):
                settlement = Settlement("failed", sid=sid, error=failure)
            case Absent():
                settlement = self._again(reminder, "Twilio never had it")
            case Uncertain(reason) if reminder.age < _GIVE_UP:
                settlement = Settlement("sending", error=reason, delay=max(DOUBT, reminder.age / 2))
            case Uncertain(reason):
                settlement = Settlement("unknown", error=reason)
        return self._settle(reminder, settlement), 0.0

    def _again(self, reminder: Reminder, reason: str) -> Settlement:
        if reminder.attempts >= self._settings.reminder_attempts:
            return Settlement("failed", error=f"{reason}; tried {reminder.attempts} times")
        delay = _growing(_FIRST_RETRY, reminder.attempts, longest=_LONGEST_RETRY)
        return Settlement("pending", error=reason, delay=delay)

    def _settle(self, reminder: Reminder, settlement: Settlement) -> Settlement:
        level = {"sent": logging.INFO, "cancelled": logging.INFO, "failed": logging.ERROR, "unknown": logging.ERROR}
        logger.log(
            level.get(settlement.status, logging.WARNING),
            _MESSAGES[settlement.status],
            extra={
                "reminder_id": str(reminder.id),
                "attempt": reminder.attempts,
                "message_sid": settlement.sid,
                "reason": settlement.error,
                "retry_in": settlement.delay and round(settlement.delay),
            },
        )
        return settlement

    def _write_unwritten(self, queue: ReminderQueue) -> None:
        if self._unwritten is not None:
            queue.settle(*self._unwritten)
            self._unwritten = None

    def _write_at_last(self, claim: Claim, settlement: Settlement) -> None:
        try:
            with connect(self._settings) as connection:
                ReminderQueue(connection, doubt=DOUBT).settle(claim, settlement)
        except psycopg.Error as error:
            logger.error(  # noqa: TRY400 - an outage is told in one line
                "the outcome of a reminder could not be written down; a worker will ask Twilio for it",
                extra={"reminder_id": str(claim.id), "message_sid": settlement.sid, "reason": first_line(error)},
            )


_NO_MESSAGES = (
    "Twilio takes no messages: check TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_FROM_NUMBER, TWILIO_API_BASE"
    " and the way there"
)
_MESSAGES = {
    "sent": "reminder sent",
    "cancelled": "reminder cancelled: the payment is open no longer",
    "failed": "reminder failed",
    "pending": "reminder postponed",
    "sending": "nobody knows yet whether the reminder was sent",
    "unknown": "nobody can tell whether the reminder was sent, and it is not sent again",
}


def main() -> int:
    """Run one worker; return the exit code, 0 when it was told to end."""
    try:
        settings = load_settings()
        build = load_build_info(settings.build_info)
    except (SettingsError, BuildInfoError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    configure_logging(settings.log_level)
    start_reporting(settings, build)
    with StopSignal() as stop:
        if TwilioService.is_configured(settings):
            logger.info("ready", extra={"environment": settings.environment})
            Worker(settings, twilio=TwilioService(settings), stop=stop).run()
        else:
            # Ending would make the platform start it again, and again.
            logger.warning(
                "no reminders are sent: TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_FROM_NUMBER are not set"
            )
            stop.wait()
        logger.info("ended")
    stop_reporting(settings)
    return 0


def connect(settings: Settings) -> Connection:
    """Open the worker's one connection; raise `psycopg.Error`."""
    address = settings.dsn.set(drivername="postgresql").render_as_string(hide_password=False)
    arguments = connect_arguments(settings, application="maya-worker")
    connection: Connection = psycopg.connect(address, autocommit=True, **arguments)
    return connection


def _compose(reminder: Reminder) -> str:
    return compose(
        business=reminder.business,
        amount=reminder.amount,
        currency=reminder.currency,
        link=reminder.link,
        starts_at=reminder.starts_at,
        timezone=reminder.timezone,
    )


def _growing(first: float, attempt: int, *, longest: float) -> float:
    return min(first * 2.0 ** min(attempt - 1, 20), longest) * _jitter()


def _jitter() -> float:
    return _random.uniform(0.8, 1.2)


_random = random.SystemRandom()


if __name__ == "__main__":
    sys.exit(main())
