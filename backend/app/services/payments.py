"""Owns asking a customer for a booking's money: one payment at a time, with one link.

The payment is written before Stripe is asked and the link after it, each in a transaction of its own. What a crash
leaves between them, the next call completes: Stripe answers the same idempotency key with the same link.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError
from app.models import tables
from app.models.payments import Payment
from app.services.booking_queries import unknown_booking
from app.services.reminders import schedule_reminder
from app.services.stripe_service import (
    Link,
    LinkRequest,
    PaymentLinks,
    PaymentsRefusedError,
    PaymentsUnavailableError,
    deactivate_links,
)

logger = logging.getLogger(__name__)

_RETRY_AFTER = "10"


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment with its link, and whether this call made the link."""

    payment: Payment
    created: bool


class PaymentRequests:
    """Asks for payments by links of Stripe, or says that it cannot."""

    def __init__(self, links: PaymentLinks | None, *, reminder_delay: int) -> None:
        """Remind of a payment `reminder_delay` seconds after its link was made. None: Stripe is not configured."""
        self._links = links
        self._reminder_delay = timedelta(seconds=reminder_delay)

    async def ask(self, session: AsyncSession, tenant_id: uuid.UUID, booking_id: uuid.UUID) -> Asked:
        """Return the open payment of a booking with its link; make what is missing.

        Raise a 404, a 409 when there is nothing to pay, a 502 when Stripe declines, a 503 when it fails.
        """
        booking = await _lock_payable(session, tenant_id, booking_id)
        links = self._require_links()
        payment = await _open_payment(session, booking)
        await session.commit()
        if payment.payment_link_id is not None:
            return Asked(Payment.model_validate(payment), created=False)
        try:
            link = await links.create(_describe(booking, payment), idempotency_key=f"payment-{payment.id}")
        except (PaymentsRefusedError, PaymentsUnavailableError) as error:
            await _give_up(session, payment, error)
        return await self._keep(session, booking, payment, link)

    def _require_links(self) -> PaymentLinks:
        if self._links is None:
            raise ApiError(
                503,
                "payments_not_configured",
                "This service is not connected to Stripe.",
                action="Set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET where the service runs.",
            )
        return self._links

    async def _keep(self, session: AsyncSession, booking: tables.Booking, payment: tables.Payment, link: Link) -> Asked:
        kept = await session.scalar(
            update(tables.Payment)
            .where(*_waits_for_a_link(payment))
            .values(payment_link_id=link.id, payment_link_url=link.url)
            .returning(tables.Payment)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        if kept is not None and booking.customer_phone is not None:
            await schedule_reminder(
                session,
                tenant_id=kept.tenant_id,
                payment_id=kept.id,
                phone_number=booking.customer_phone,
                due_at=datetime.now(UTC) + self._reminder_delay,
            )
        if kept is None:
            return await self._explain_loss(session, payment, link)
        await session.commit()
        return Asked(Payment.model_validate(kept), created=True)

    async def _explain_loss(self, session: AsyncSession, payment: tables.Payment, link: Link) -> Asked:
        """Return the link that another call kept meanwhile; raise when the payment is not open any more."""
        current = await fetch_payment(session, payment.tenant_id, payment.id)
        await session.commit()
        if current.status == "pending" and current.payment_link_url == link.url:
            return Asked(current, created=False)
        await deactivate_links(self._require_links(), [link.id])
        raise ApiError(
            409,
            "payment_changed",
            "The payment was withdrawn or made anew while its link was made.",
            action="Look at the booking; ask for the payment link again if there is still something to pay.",
        )


async def fetch_payment(session: AsyncSession, tenant_id: uuid.UUID, payment_id: uuid.UUID) -> Payment:
    """Return a payment of a tenant; raise a 404 when it has no such payment."""
    payment = await session.scalar(
        select(tables.Payment)
        .where(tables.Payment.tenant_id == tenant_id, tables.Payment.id == payment_id)
        .execution_options(populate_existing=True)
    )
    if payment is None:
        raise ApiError(404, "not_found", "There is no such payment.", action="Check the id.")
    return Payment.model_validate(payment)


async def _lock_booking(session: AsyncSession, tenant_id: uuid.UUID, booking_id: uuid.UUID) -> tables.Booking | None:
    """Return a booking, locked: whoever changes how one of its payments stands locks it first."""
    booking: tables.Booking | None = await session.scalar(
        select(tables.Booking)
        .where(tables.Booking.tenant_id == tenant_id, tables.Booking.id == booking_id)
        .with_for_update(key_share=True)
    )
    return booking


async def _lock_payable(session: AsyncSession, tenant_id: uuid.UUID, booking_id: uuid.UUID) -> tables.Booking:
    """Return a booking that has something to pay, locked."""
    booking = await _lock_booking(session, tenant_id, booking_id)
    if booking is None:
        raise unknown_booking()
    if booking.status == "cancelled":
        raise ApiError(409, "booking_cancelled", "This booking is cancelled.", action="Make a new booking.")
    if booking.amount is None:
        raise ApiError(
            409, "nothing_to_pay", "This booking has no amount.", action="Make a booking with an amount to be paid."
        )
    return booking


async def _open_payment(session: AsyncSession, booking: tables.Booking) -> tables.Payment:
    mine = (tables.Payment.tenant_id == booking.tenant_id, tables.Payment.booking_id == booking.id)
    made: tables.Payment | None = await session.scalar(
        insert(tables.Payment)
        .values(tenant_id=booking.tenant_id, booking_id=booking.id, amount=booking.amount, currency=booking.currency)
        .on_conflict_do_nothing()
        .returning(tables.Payment)
    )
    if made is not None:
        return made
    payment: tables.Payment = (
        await session.scalars(select(tables.Payment).where(*mine, tables.Payment.status.in_(("pending", "paid"))))
    ).one()
    if payment.status == "paid":
        raise ApiError(
            409, "already_paid", "This booking is paid.", action="There is nothing to do; the booking says so."
        )
    return payment


async def _give_up(session: AsyncSession, payment: tables.Payment, error: Exception) -> NoReturn:
    """Write down what Stripe will say again, so that the next call asks anew, and raise what the client is told.

    Stripe repeats an answer to the same key for a day, failures included: a payment that got one is over. When nobody
    knows whether it was answered, the payment stays open, and the next call asks with the same key.
    """
    refused = isinstance(error, PaymentsRefusedError)
    logger.warning(
        "Stripe made no payment link",
        extra={"payment_id": str(payment.id), "refused": refused, "reason": str(error)},
    )
    if refused or (isinstance(error, PaymentsUnavailableError) and error.settled):
        await _lock_booking(session, payment.tenant_id, payment.booking_id)
        await session.execute(
            update(tables.Payment)
            .where(*_waits_for_a_link(payment))
            .values(status="failed" if refused else "cancelled")
            .execution_options(synchronize_session=False)
        )
        await session.commit()
    if refused:
        raise ApiError(
            502,
            "payment_refused",
            "Stripe refuses to make a payment link for this booking.",
            action="Check the amount and the currency, and the Stripe account.",
        )
    raise ApiError(
        503,
        "payments_unavailable",
        "Stripe does not make payment links at the moment.",
        action=f"Try again in {_RETRY_AFTER} seconds.",
        headers={"Retry-After": _RETRY_AFTER},
    )


def _describe(booking: tables.Booking, payment: tables.Payment) -> LinkRequest:
    # The same for every call about this payment: Stripe refuses a key that comes with something else.
    return LinkRequest(
        amount=payment.amount,
        currency=payment.currency,
        description=f"Booking {booking.reference}",
        metadata={"payment_id": str(payment.id), "tenant_id": str(payment.tenant_id)},
    )


def _waits_for_a_link(payment: tables.Payment) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a payment is still as it was when Stripe was asked for its link."""
    return (
        tables.Payment.tenant_id == payment.tenant_id,
        tables.Payment.id == payment.id,
        tables.Payment.status == "pending",
        tables.Payment.payment_link_id.is_(None),
    )
