"""Owns bookings: making one while nobody else takes its time, cancelling it, and what is asked of a calendar before."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError
from app.models import tables
from app.models.bookings import Booking, BookingRequest
from app.services.booking_queries import fetch_booking
from app.services.reminders import cancel_reminder

#: What the table allows.
_LONGEST = timedelta(hours=24)
#: A reference of eight characters is taken already once in a million million times.
_ATTEMPTS = 5


class BusyTimes(Protocol):
    """A calendar that a business keeps elsewhere."""

    async def is_busy(
        self, session: AsyncSession, tenant_id: uuid.UUID, starts_at: datetime, ends_at: datetime
    ) -> bool | None:
        """Say whether the business is busy then; None when it has no calendar connected or that could not be asked.

        The session's transaction is over before the vendor is asked, so that no connection waits for it.
        """


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A cancelled booking, and the payment links that nobody should pay any more."""

    booking: Booking
    link_ids: Sequence[str]


async def create_booking(
    session: AsyncSession, tenant_id: uuid.UUID, request: BookingRequest, *, calendar: BusyTimes | None
) -> Booking:
    """Make a booking; raise a 409 when another booking, or the calendar, has its time.

    A calendar that cannot be asked stops nobody.
    """
    busy = None
    if calendar is not None:
        busy = await calendar.is_busy(session, tenant_id, request.starts_at, request.ends_at)
    if busy:
        raise ApiError(
            409,
            "calendar_busy",
            "The connected calendar has an appointment at this time.",
            action="Choose another time, or free this one in the calendar.",
        )
    booking_id = await _insert(session, tenant_id, request, checked=busy is not None)
    booking = await fetch_booking(session, tenant_id, booking_id)
    await session.commit()
    return booking


async def cancel_booking(session: AsyncSession, tenant_id: uuid.UUID, booking_id: uuid.UUID) -> Cancellation:
    """Cancel a booking, the payment that is still open and its reminder; again, it changes nothing. Raise a 404.

    The links are those of every payment that was withdrawn: cancelling again is how to deactivate one that Stripe did
    not deactivate before, and does no harm to the others.
    """
    mine = (tables.Booking.tenant_id == tenant_id, tables.Booking.id == booking_id)
    await session.execute(
        update(tables.Booking)
        .where(*mine, tables.Booking.status == "confirmed")
        .values(status="cancelled", cancelled_at=func.now())
        .execution_options(synchronize_session=False)
    )
    payments = (tables.Payment.tenant_id == tenant_id, tables.Payment.booking_id == booking_id)
    withdrawn = await session.scalars(
        update(tables.Payment)
        .where(*payments, tables.Payment.status == "pending")
        .values(status="cancelled")
        .returning(tables.Payment.id)
        .execution_options(synchronize_session=False)
    )
    for payment_id in withdrawn.all():
        await cancel_reminder(session, tenant_id=tenant_id, payment_id=payment_id)
    links = select(tables.Payment.payment_link_id).where(*payments, tables.Payment.status == "cancelled")
    link_ids = [link_id for link_id in await session.scalars(links) if link_id is not None]
    booking = await fetch_booking(session, tenant_id, booking_id)
    await session.commit()
    return Cancellation(booking, link_ids)


async def _insert(session: AsyncSession, tenant_id: uuid.UUID, request: BookingRequest, *, checked: bool) -> uuid.UUID:
    # Two plain INSERTs at once can wait for each other until the deadlock is found; with ON CONFLICT the second one
    # waits for the first, and then there is simply no row.
    statement = (
        insert(tables.Booking)
        .values(
            tenant_id=tenant_id,
            customer_name=request.customer_name,
            customer_phone=request.customer_phone,
            customer_email=request.customer_email,
            starts_at=request.starts_at,
            ends_at=request.ends_at,
            notes=request.notes,
            amount=request.amount,
            currency=None if request.amount is None else request.price_currency,
            calendar_checked=checked,
        )
        .on_conflict_do_nothing()
        .returning(tables.Booking.id)
    )
    for _ in range(_ATTEMPTS):
        booking_id = await session.scalar(statement)
        if booking_id is not None:
            return booking_id
        if await _is_taken(session, tenant_id, request):
            break
        # The other booking was cancelled meanwhile, or the reference was taken: once more.
    raise ApiError(
        409,
        "slot_taken",
        "Another booking has this time.",
        action="Choose another time, or cancel the other booking first.",
    )


async def _is_taken(session: AsyncSession, tenant_id: uuid.UUID, request: BookingRequest) -> bool:
    overlapping = (
        select(tables.Booking.id)
        .where(
            tables.Booking.tenant_id == tenant_id,
            tables.Booking.status == "confirmed",
            tables.Booking.starts_at < request.ends_at,
            tables.Booking.ends_at > request.starts_at,
            # No booking is longer than a day: this bounds what the index is searched for.
            tables.Booking.starts_at >= request.starts_at - _LONGEST,
        )
        .limit(1)
    )
    return await session.scalar(overlapping) is not None
