"""Owns which worker sends which reminder: claiming, holding and settling, in SQL.

A reminder is claimed (`sending`, `claimed_at`) in a transaction of its own before the vendor is asked, and its row
stays locked while it is. So a crash leaves a claim that nobody holds: after `doubt` seconds another worker takes it up
and finds out at the vendor what became of it. A worker that is merely slow holds its row, and keeps it; one that slept
between the two finds its claim gone and sends nothing.
"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

Connection = psycopg.Connection[Any]
Status = Literal["pending", "sending", "sent", "failed", "unknown", "cancelled"]

_LONGEST_ERROR = 500

_CLAIM = """
UPDATE payment_reminders SET status = 'sending', claimed_at = clock_timestamp(), attempts = attempts + 1
WHERE id = (
    SELECT r.id FROM payment_reminders r JOIN payments p ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
    WHERE r.status = 'pending' AND r.due_at <= now() AND p.status = 'pending' AND p.payment_link_url IS NOT NULL
    ORDER BY r.due_at LIMIT 1 FOR UPDATE OF r SKIP LOCKED
)
RETURNING id, claimed_at
"""
_CLAIM_DOUBTFUL = """
UPDATE payment_reminders SET due_at = clock_timestamp() + make_interval(secs => %(doubt)s)
WHERE id = (
    SELECT id FROM payment_reminders
    WHERE status = 'sending' AND claimed_at < now() - make_interval(secs => %(doubt)s) AND due_at <= now()
    ORDER BY claimed_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, claimed_at
"""
_HOLD = """
SELECT r.id, r.claimed_at, r.attempts, r.phone_number, p.status = 'pending' AS is_open, p.amount, p.currency,
    coalesce(p.payment_link_url, '') AS link, b.starts_at, t.name AS business, coalesce(s.timezone, 'UTC') AS timezone,
    extract(epoch FROM clock_timestamp() - r.claimed_at)::float8 AS age
FROM payment_reminders r
JOIN payments p ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
JOIN bookings b ON b.tenant_id = p.tenant_id AND b.id = p.booking_id
JOIN tenants t ON t.id = r.tenant_id
LEFT JOIN business_settings s ON s.tenant_id = r.tenant_id
WHERE r.id = %s AND r.status = 'sending' AND r.claimed_at = %s
FOR UPDATE OF r
"""
_SETTLE = """
UPDATE payment_reminders SET
    status = %(status)s,
    message_sid = coalesce(%(sid)s, message_sid),
    last_error = %(error)s,
    sent_at = CASE WHEN %(status)s = 'sent' THEN clock_timestamp() END,
    due_at = CASE WHEN %(delay)s::float8 IS NULL THEN due_at
        ELSE clock_timestamp() + make_interval(secs => %(delay)s::float8) END,
    attempts = CASE WHEN %(counts)s THEN attempts ELSE greatest(attempts - 1, 0) END
WHERE id = %(id)s AND status = 'sending' AND claimed_at = %(claimed_at)s
"""
_DROP_CLOSED = """
UPDATE payment_reminders SET status = 'cancelled'
WHERE id IN (
    SELECT r.id FROM payment_reminders r JOIN payments p ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
    WHERE r.status = 'pending' AND r.due_at <= now() AND p.status <> 'pending'
    FOR UPDATE OF r SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A reminder that a worker has claimed, as of `claimed_at`."""

    id: uuid.UUID
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder in hand and what its message is about; its claim is `age` seconds old."""

    id: uuid.UUID
    claimed_at: datetime
    attempts: int
    phone_number: str
    is_open: bool
    amount: Decimal
    currency: str
    link: str
    starts_at: datetime
    business: str
    timezone: str
    age: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a claim: the new status, the message's id, why not, seconds until due, whether it was an attempt."""

    status: Status
    sid: str | None = None
    error: str | None = None
    delay: float | None = None
    counts: bool = True


class ReminderQueue:
    """The reminders, by a connection in autocommit that is this worker's alone. Raises the driver's errors."""

    def __init__(self, connection: Connection, *, doubt: float) -> None:
        """Doubt a claim after `doubt` seconds: longer than the vendor can take."""
        self._connection = connection
        self._doubt = doubt

    def claim_due(self) -> Claim | None:
        """Claim a reminder that is due and whose payment is open, or return None."""
        return self._claim(_CLAIM)

    def claim_doubtful(self) -> Claim | None:
        """Take up a claim whose worker is gone and whose outcome nobody knows, or return None."""
        return self._claim(_CLAIM_DOUBTFUL)

    @contextlib.contextmanager
    def hold(self, claim: Claim) -> Iterator[Reminder | None]:
        """Keep every other worker away from a claim, and tell what it is about; None when it is ours no longer."""
        with self._connection.transaction(), self._connection.cursor(row_factory=class_row(Reminder)) as cursor:
            yield cursor.execute(_HOLD, (claim.id, claim.claimed_at)).fetchone()

    def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Write down what came of a claim; False when it is ours no longer."""
        values = {
            "id": claim.id,
            "claimed_at": claim.claimed_at,
            "status": settlement.status,
            "sid": settlement.sid,
            "error": settlement.error and settlement.error[:_LONGEST_ERROR],
            "delay": settlement.delay,
            "counts": settlement.counts,
        }
        return self._connection.execute(_SETTLE, values).rowcount == 1

    def drop_closed(self) -> int:
        """Cancel what is due for payments that are open no longer, and return how many there were."""
        return self._connection.execute(_DROP_CLOSED).rowcount

    def _claim(self, statement: str) -> Claim | None:
        with self._connection.cursor(row_factory=class_row(Claim)) as cursor:
            return cursor.execute(statement, {"doubt": self._doubt}).fetchone()
