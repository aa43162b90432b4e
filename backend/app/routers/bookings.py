"""Owns bookings and asking for their payment, for the business that the token belongs to."""

import uuid
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Response

from app.dependencies import PartsDependency, SessionDependency, UserDependency
from app.exact_json import ExactRoute
from app.models.bookings import Booking, BookingPage, BookingRequest, BookingStatus
from app.models.payments import Payment
from app.models.values import Timestamp
from app.services.booking_queries import BookingFilter, fetch_booking, list_bookings
from app.services.bookings import cancel_booking, create_booking
from app.services.stripe_service import deactivate_links

router = APIRouter(prefix="/api/bookings", tags=["bookings"], route_class=ExactRoute)

_LOCATION = {"description": "Where the new booking is.", "schema": {"type": "string"}}


@router.post(
    "",
    status_code=201,
    responses={
        201: {"headers": {"Location": _LOCATION}},
        409: {"description": "Another booking (`slot_taken`) or the calendar (`calendar_busy`) has this time."},
    },
)
async def create(
    booking: BookingRequest,
    user: UserDependency,
    session: SessionDependency,
    parts: PartsDependency,
    response: Response,
) -> Booking:
    """Make a booking, unless somebody has its time."""
    made = await create_booking(session, user.tenant_id, booking, calendar=parts.calendars)
    response.headers["Location"] = f"/api/bookings/{made.id}"
    return made


@router.get("")
async def list_page(
    user: UserDependency,
    session: SessionDependency,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="The `next_cursor` of the page before.")] = None,
    status: BookingStatus | None = None,
    since: Annotated[Timestamp | None, Query(alias="from", description="Those that start then or later.")] = None,
    until: Annotated[Timestamp | None, Query(alias="to", description="Those that start before then.")] = None,
) -> BookingPage:
    """List bookings page by page, the latest start first."""
    which = BookingFilter(status=status, since=since, until=until)
    return await list_bookings(session, user.tenant_id, which, limit=limit, cursor=cursor)


@router.get("/{booking_id}")
async def read(booking_id: uuid.UUID, user: UserDependency, session: SessionDependency) -> Booking:
    """Return a booking and how its payment stands."""
    return await fetch_booking(session, user.tenant_id, booking_id)


@router.post("/{booking_id}/cancel")
async def cancel(
    booking_id: uuid.UUID,
    user: UserDependency,
    session: SessionDependency,
    parts: PartsDependency,
    background: BackgroundTasks,
) -> Booking:
    """Cancel a booking and the payment that is still open; again, it changes nothing."""
    cancellation = await cancel_booking(session, user.tenant_id, booking_id)
    if cancellation.link_ids and parts.links is not None:
        background.add_task(deactivate_links, parts.links, cancellation.link_ids)
    return cancellation.booking


@router.post(
    "/{booking_id}/payment-link",
    status_code=201,
    responses={
        200: {"model": Payment, "description": "The payment was asked for before."},
        409: {"description": "There is nothing to pay, or the booking is cancelled or paid."},
        502: {"description": "Stripe refuses to make a link (`payment_refused`)."},
        503: {"description": "Stripe is not configured (`payments_not_configured`) or fails (`payments_unavailable`)."},
    },
)
async def ask_for_payment(
    booking_id: uuid.UUID, user: UserDependency, session: SessionDependency, parts: PartsDependency, response: Response
) -> Payment:
    """Return the link by which the customer pays the booking; it is made by the first call."""
    asked = await parts.payment_requests.ask(session, user.tenant_id, booking_id)
    response.status_code = 201 if asked.created else 200
    return asked.payment
