"""Owns which open payments a customer is reminded of; the worker sends what is due (`app.workers`)."""

import uuid
from collections.abc import Mapping
from datetime import datetime

import psycopg
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.tables import PaymentReminder
from app.reads import Reads

#: A reminder that is due for ten minutes has no worker, or one that gets nowhere. What was postponed has moved its
#: `due_at` by at most the two hours, and is as old as it was; a claim that stays is one whose worker or vendor is gone.
_ATTENTION = """
SELECT
    (SELECT count(*) FROM payment_reminders WHERE status = 'pending' AND due_at < now() + interval '2 hours'
        AND (due_at < now() - interval '10 minutes'
            OR (last_error IS NOT NULL AND created_at < now() - interval '10 minutes' - make_interval(secs => %s)))),
    (SELECT count(*) FROM payment_reminders WHERE status = 'sending' AND claimed_at < now() - interval '10 minutes'),
    (SELECT count(*) FROM payment_reminders WHERE status = 'failed' AND updated_at > now() - interval '1 day'),
    (SELECT count(*) FROM payment_reminders WHERE status = 'unknown' AND updated_at > now() - interval '1 day')
"""
_STATES = ("overdue", "doubtful", "failed", "unknown")


async def schedule_reminder(
    session: AsyncSession, *, tenant_id: uuid.UUID, payment_id: uuid.UUID, phone_number: str, due_at: datetime
) -> None:
    """Remind `phone_number` (E.164) of a payment once `due_at` has passed; a payment that has a reminder keeps it.

    The caller commits.
    """
    reminder = insert(PaymentReminder).values(
        tenant_id=tenant_id, payment_id=payment_id, phone_number=phone_number, due_at=due_at
    )
    await session.execute(reminder.on_conflict_do_nothing(index_elements=[PaymentReminder.payment_id]))


async def cancel_reminder(session: AsyncSession, *, tenant_id: uuid.UUID, payment_id: uuid.UUID) -> None:
    """Do not remind of a payment, unless a worker is sending the message already. The caller commits."""
    await session.execute(
        update(PaymentReminder)
        .where(
            PaymentReminder.tenant_id == tenant_id,
            PaymentReminder.payment_id == payment_id,
            PaymentReminder.status == "pending",
        )
        .values(status="cancelled"),
        execution_options={"synchronize_session": False},
    )


async def count_reminders(reads: Reads, *, delay: int) -> Mapping[str, int]:
    """Count the reminders that need attention: late by ten minutes, or failed, perhaps, within a day.

    They were due `delay` seconds after they were made. Empty when the database does not say.
    """
    try:
        row = await reads.fetch_row(_ATTENTION, (delay,))
    except psycopg.Error:
        row = None
    return {} if row is None else dict(zip(_STATES, row, strict=True))
