"""Owns what Stripe's messages do to payments: each takes effect once, in whatever order they come."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import tables
from app.models.payments import PaymentStatus
from app.money import count_minor_units
from app.services.reminders import cancel_reminder
from app.services.stripe_service import StripeEvent

logger = logging.getLogger(__name__)

Outcome = Literal["begun", "paid", "failed", "refunded"]

#: How long an event is remembered that took effect; Stripe sends none again after so long.
_REMEMBERED: Final = timedelta(days=30)
_MOST_FORGOTTEN: Final = 20

#: What a payment becomes, by what it is and what is heard of it; what is not here changes nothing.
_NEXT: Final[Mapping[tuple[str, Outcome], PaymentStatus]] = {
    ("pending", "paid"): "paid",
    ("pending", "failed"): "failed",
    ("pending", "refunded"): "refunded",
    # The customer tried again; or paid by a link that was withdrawn too late.
    ("failed", "paid"): "paid",
    ("failed", "refunded"): "refunded",
    ("cancelled", "paid"): "paid",
    ("cancelled", "refunded"): "refunded",
    ("paid", "refunded"): "refunded",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What an event says of a payment. None for the amount: it does not matter for the outcome."""

    outcome: Outcome
    payment_id: uuid.UUID
    tenant_id: uuid.UUID
    amount: object
    currency: object


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of an event, and the payment links that nobody should pay any more."""

    outcome: Literal["accepted", "repeated", "ignored"]
    link_ids: Sequence[str] = ()


def read_message(event: StripeEvent) -> Message | None:
    """Return what an event says of one of our payments, or None when it says nothing about any."""
    subject = event.subject
    outcome: Outcome
    match event.type:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            # A completed session may still wait for the money; the other event comes when it is there.
            waits = event.type == "checkout.session.completed" and subject.get("payment_status") == "unpaid"
            outcome, amount = "begun" if waits else "paid", subject.get("amount_total")
        case "checkout.session.async_payment_failed":
            outcome, amount = "failed", subject.get("amount_total")
        case "charge.refunded":
            # Also sent for a part, which leaves the payment made.
            if subject.get("refunded") is not True:
                return None
            outcome, amount = "refunded", subject.get("amount")
        case _:
            return None
    ours = _read_metadata(subject.get("metadata"))
    return None if ours is None else Message(outcome, *ours, amount, subject.get("currency"))


def next_status(current: str, outcome: Outcome) -> PaymentStatus | None:
    """Return what a payment becomes when `outcome` is heard of it; None when it stays what it is."""
    return _NEXT.get((current, outcome))


async def apply_event(session: AsyncSession, event: StripeEvent) -> Effect:
    """Change the payment that an event is about, once for each event, and commit.

    What cannot take effect is logged: sending it again would help nobody.
    """
    message = read_message(event)
    if message is None:
        return Effect("ignored")
    fresh = await session.scalar(
        insert(tables.WebhookEvent)
        .values(id=event.id, type=event.type)
        .on_conflict_do_nothing()
        .returning(tables.WebhookEvent.id)
    )
    if fresh is None:
        return Effect("repeated")
    await _forget(session)
    link_ids = await _apply(session, event, message)
    await session.commit()
    return Effect("accepted", link_ids)


async def _apply(session: AsyncSession, event: StripeEvent, message: Message) -> list[str]:
    facts = {"event_id": event.id, "event_type": event.type, "payment_id": str(message.payment_id)}
    payment = await _lock(session, message)
    if payment is None:
        logger.warning("Stripe tells of a payment that is not known here", extra=facts)
        return []
    if message.outcome == "begun":
        # The customer has done what the reminder asks for; if the money never comes, this payment is over anyway.
        await cancel_reminder(session, tenant_id=payment.tenant_id, payment_id=payment.id)
    status = next_status(payment.status, message.outcome)
    if status is None:
        return []
    if message.outcome != "failed" and not _matches(payment, message):
        logger.error(
            "Stripe tells of another amount than was asked for: look at this payment",
            extra=facts | {"asked": f"{payment.amount} {payment.currency}"},
        )
        return []
    link_ids: list[str] = []
    if status == "paid" and payment.status != "pending":
        others = await _make_way(session, payment)
        if others is None:
            logger.error("a booking was paid twice: pay this payment back", extra=facts)
            return []
        link_ids = others
    if payment.status == "cancelled" and status == "paid":
        logger.error("a withdrawn payment was paid: pay it back, or keep to the booking", extra=facts)
    payment.paid_at = payment.paid_at or (None if status == "failed" else datetime.fromtimestamp(event.created, UTC))
    payment.status = status
    await session.flush()
    await cancel_reminder(session, tenant_id=payment.tenant_id, payment_id=payment.id)
    return link_ids


async def _forget(session: AsyncSession) -> None:
    """Delete events of long ago, a few at a time; what another process is deleting is left to it."""
    old = (
        select(tables.WebhookEvent.id)
        .where(tables.WebhookEvent.received_at < func.now() - _REMEMBERED)
        .limit(_MOST_FORGOTTEN)
        .with_for_update(skip_locked=True)
    )
    statement = delete(tables.WebhookEvent).where(tables.WebhookEvent.id.in_(old))
    await session.execute(statement.execution_options(synchronize_session=False))


async def _lock(session: AsyncSession, message: Message) -> tables.Payment | None:
    """Return the payment that a message is about, its booking locked: whoever changes its payments locks it first."""
    mine = (tables.Payment.tenant_id == message.tenant_id, tables.Payment.id == message.payment_id)
    booking_id = await session.scalar(
        select(tables.Booking.id)
        .where(
            tables.Booking.tenant_id == message.tenant_id,
            tables.Booking.id == select(tables.Payment.booking_id).where(*mine).scalar_subquery(),
        )
        .with_for_update(key_share=True)
    )
    if booking_id is None:
        return None
    payment: tables.Payment | None = await session.scalar(select(tables.Payment).where(*mine).with_for_update())
    return payment


async def _make_way(session: AsyncSession, payment: tables.Payment) -> list[str] | None:
    """Withdraw the open payment that stands in for this one and return its link; None when another one is made."""
    others = (tables.Payment.tenant_id == payment.tenant_id, tables.Payment.booking_id == payment.booking_id)
    if await session.scalar(select(tables.Payment.id).where(*others, tables.Payment.status == "paid")) is not None:
        return None
    withdrawn = await session.execute(
        update(tables.Payment)
        .where(*others, tables.Payment.status == "pending")
        .values(status="cancelled")
        .returning(tables.Payment.id, tables.Payment.payment_link_id)
        .execution_options(synchronize_session=False)
    )
    link_ids = []
    for payment_id, link_id in withdrawn.all():
        await cancel_reminder(session, tenant_id=payment.tenant_id, payment_id=payment_id)
        if link_id is not None:
            link_ids.append(link_id)
    return link_ids


def _read_metadata(metadata: Any) -> tuple[uuid.UUID, uuid.UUID] | None:
    if not isinstance(metadata, dict):
        return None
    try:
        return uuid.UUID(metadata["payment_id"]), uuid.UUID(metadata["tenant_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _matches(payment: tables.Payment, message: Message) -> bool:
    asked = count_minor_units(payment.amount, payment.currency)
    exact = isinstance(message.amount, int) and not isinstance(message.amount, bool)
    return exact and message.amount == asked and message.currency == payment.currency
