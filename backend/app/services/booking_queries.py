"""Owns reading bookings: one, or page by page, each in one query along its index."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, Text, case, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError
from app.models import tables
from app.models.bookings import Booking, BookingPage, BookingStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BookingFilter:
    """Which bookings to list: those that start from `since` and before `until`."""

    status: BookingStatus | None = None
    since: datetime | None = None
    until: datetime | None = None


async def fetch_booking(session: AsyncSession, tenant_id: uuid.UUID, booking_id: uuid.UUID) -> Booking:
    """Return a booking of a tenant; raise a 404 when it has no such booking."""
    row = (await session.execute(select_bookings(tenant_id).where(tables.Booking.id == booking_id))).one_or_none()
    if row is None:
        raise unknown_booking()
    return _render(row)


async def list_bookings(
    session: AsyncSession, tenant_id: uuid.UUID, which: BookingFilter, *, limit: int, cursor: str | None
) -> BookingPage:
    """Return up to `limit` bookings of a tenant after `cursor`, latest first; raise a 422 for a malformed cursor."""
    query = select_page(tenant_id, which, limit=limit, after=None if cursor is None else decode_cursor(cursor))
    rows = (await session.execute(query)).all()
    items = [_render(row) for row in rows[:limit]]
    more = len(rows) > limit
    return BookingPage(items=items, next_cursor=encode_cursor(items[-1].starts_at, items[-1].id) if more else None)


def select_bookings(tenant_id: uuid.UUID) -> "Select[Any]":
    """Build the query for the bookings of a tenant, each with how its payment stands."""
    payment = tables.Payment
    # One that is made counts before one that failed, and of those the latest; a withdrawn one is as good as none.
    payment_status = (
        select(payment.status)
        .where(
            payment.tenant_id == tenant_id,
            payment.booking_id == tables.Booking.id,
            payment.status != "cancelled",
        )
        .order_by(case((payment.status == "paid", 0), else_=1), payment.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    columns = [getattr(tables.Booking, name) for name in Booking.model_fields if name != "payment_status"]
    return select(*columns, func.coalesce(payment_status, cast("none", Text)).label("payment_status")).where(
        tables.Booking.tenant_id == tenant_id
    )


def select_page(
    tenant_id: uuid.UUID, which: BookingFilter, *, limit: int, after: tuple[datetime, uuid.UUID] | None
) -> "Select[Any]":
    """Build the query for one page and the first booking of the next."""
    booking = tables.Booking
    query = select_bookings(tenant_id)
    if which.status is not None:
        query = query.where(booking.status == which.status)
    if which.since is not None:
        query = query.where(booking.starts_at >= which.since)
    if which.until is not None:
        query = query.where(booking.starts_at < which.until)
    if after is not None:
        query = query.where(tuple_(booking.starts_at, booking.id) < after)
    return query.order_by(booking.starts_at.desc(), booking.id.desc()).limit(limit + 1)


def encode_cursor(starts_at: datetime, booking_id: uuid.UUID) -> str:
    """Return the cursor of a page that ended with this booking."""
    microseconds = (starts_at - _EPOCH) // _MICROSECOND
    return (microseconds.to_bytes(8, "big", signed=True) + booking_id.bytes).hex()


def decode_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    """Return what a cursor stands for; raise a 422 when it is none."""
    try:
        content = bytes.fromhex(cursor)
        starts_at = _EPOCH + int.from_bytes(content[:8], "big", signed=True) * _MICROSECOND
        return starts_at, uuid.UUID(bytes=content[8:])
    except (ValueError, OverflowError):
        message = "must be the next_cursor of an earlier answer"
        raise ApiError(
            422,
            "validation_failed",
            f"The request is not valid. query.cursor: {message}",
            action="Correct the fields listed in `errors` and send the request again.",
            errors=[{"location": "query.cursor", "code": "invalid_cursor", "message": message}],
        ) from None


def unknown_booking() -> ApiError:
    """Make the answer for a booking that does not exist, or is another tenant's."""
    return ApiError(404, "not_found", "There is no such booking.", action="Check the id; GET /api/bookings lists them.")


def _render(row: "Row[Any]") -> Booking:
    return Booking.model_validate(dict(row._mapping))
