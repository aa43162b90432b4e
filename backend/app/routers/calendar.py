"""Owns the connected calendar: its state, ending the connection, and when the business is busy."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.dependencies import PartsDependency, SessionDependency, UserDependency
from app.errors import ApiError
from app.models.calendar import Availability, CalendarState
from app.models.values import Timestamp
from app.services.calendar import LONGEST_RANGE

router = APIRouter(prefix="/api/calendar", tags=["calendar"])


@router.get("")
async def read_calendar(user: UserDependency, parts: PartsDependency, session: SessionDependency) -> CalendarState:
    """Say whether calendars can be connected here, and whether this business has connected one."""
    return await parts.calendars.read_state(session, user.tenant_id)


@router.delete("", status_code=204)
async def disconnect_calendar(user: UserDependency, parts: PartsDependency, session: SessionDependency) -> Response:
    """Forget the calendar and give its tokens back to Google; that Google cannot be reached changes nothing."""
    if user.role != "owner":
        raise ApiError(
            403,
            "forbidden",
            "Only an owner may disconnect the calendar of a business.",
            action="Ask an owner of the business to do so.",
        )
    await parts.calendars.disconnect(session, user.tenant_id)
    return Response(status_code=204)


@router.get("/availability")
async def read_availability(
    starts_at: Annotated[Timestamp, Query(alias="from")],
    ends_at: Annotated[Timestamp, Query(alias="to")],
    user: UserDependency,
    parts: PartsDependency,
    session: SessionDependency,
) -> Availability:
    """Say when the business is busy, for 31 days at most: its bookings, and its calendar where that can be asked."""
    _check_range(starts_at, ends_at)
    return await parts.calendars.read_availability(session, user.tenant_id, starts_at, ends_at)


def _check_range(starts_at: datetime, ends_at: datetime) -> None:
    if starts_at < ends_at <= starts_at + LONGEST_RANGE:
        return
    message = f"must be later than from, by {LONGEST_RANGE.days} days at most"
    raise ApiError(
        422,
        "validation_failed",
        f"The request is not valid. query.to: {message}",
        action="Correct the fields listed in `errors` and send the request again.",
        errors=[{"location": "query.to", "code": "rule_violated", "message": message}],
    )
