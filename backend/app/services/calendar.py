"""Owns what a connected calendar is asked: is the business busy then? Google failing stops nothing, and is told."""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.calendar import Availability, CalendarProblem, CalendarState, Interval
from app.models.tables import Booking, CalendarConnection
from app.services.calendar_tokens import CalendarError, CalendarTokens
from app.services.encryption import Cipher
from app.services.google import AccessRefusedError, GoogleClient, GoogleError, GoogleUnavailableError
from app.services.oauth import CalendarAuthorization
from app.settings import Settings

logger = logging.getLogger(__name__)

LONGEST_RANGE: Final = timedelta(days=31)


class Calendars:
    """The connected calendars of all tenants."""

    def __init__(self, google: GoogleClient, cipher: Cipher, *, timeout: float) -> None:
        """Ask `google`, which takes `timeout` seconds at most, with tokens that are kept encrypted by `cipher`."""
        self._google = google
        self._tokens = CalendarTokens(google, cipher, claim_for=timeout)
        self.authorization = CalendarAuthorization(google, cipher, self._tokens)

    @property
    def available(self) -> bool:
        """Say whether calendars can be connected here."""
        return self._google.is_configured

    async def read_state(self, session: AsyncSession, tenant_id: uuid.UUID) -> CalendarState:
        """Return whether a tenant has connected a calendar, and whose."""
        query = select(CalendarConnection.account).where(CalendarConnection.tenant_id == tenant_id)
        row = (await session.execute(query)).one_or_none()
        if row is None or not self.available:
            return CalendarState(available=self.available, connected=False, account=None)
        return CalendarState(available=True, connected=True, account=row.account)

    async def is_busy(
        self, session: AsyncSession, tenant_id: uuid.UUID, starts_at: datetime, ends_at: datetime
    ) -> bool | None:
        """Say whether the calendar has anything between two times; None when it is not connected or cannot be asked.

        The session's transaction is over before Google is asked, so that no connection waits for it.
        """
        if not self.available:
            return None
        try:
            found = await self._ask(session, tenant_id, starts_at, ends_at)
        except CalendarError:
            return None
        return any(one.starts_at < ends_at and starts_at < one.ends_at for one in found)

    async def read_availability(
        self, session: AsyncSession, tenant_id: uuid.UUID, starts_at: datetime, ends_at: datetime
    ) -> Availability:
        """Return when a tenant is busy between two times: its bookings, and its calendar where that can be asked."""
        busy = await _read_bookings(session, tenant_id, starts_at, ends_at)
        problem: CalendarProblem | None = None if self.available else "calendar_not_connected"
        if problem is None:
            try:
                busy += await self._ask(session, tenant_id, starts_at, ends_at)
            except CalendarError as error:
                problem = error.problem
        return Availability(
            busy=merge(busy, starts_at, ends_at), calendar_checked=problem is None, calendar_problem=problem
        )

    async def disconnect(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        """Forget a tenant's calendar, then give its tokens back; that Google cannot be reached changes nothing."""
        token = await self._tokens.forget(session, tenant_id)
        await session.close()
        logger.info("a calendar was disconnected by its business", extra={"tenant_id": str(tenant_id)})
        if token is None or not self.available:
            return
        try:
            await self._google.revoke(token, until=self._google.deadline())
        except GoogleError as error:
            logger.warning(
                "a calendar's tokens are forgotten, but Google did not take them back",
                extra={"tenant_id": str(tenant_id), "reason": str(error)},
            )

    async def close(self) -> None:
        """Close the connections to Google."""
        await self._google.close()

    async def _ask(
        self, session: AsyncSession, tenant_id: uuid.UUID, starts_at: datetime, ends_at: datetime
    ) -> list[Interval]:
        until = self._google.deadline()
        try:
            token = await self._tokens.fetch(session, tenant_id, until=until)
            try:
                return await self._google.fetch_busy(token, starts_at, ends_at, until=until)
            except AccessRefusedError as error:
                if error.final:
                    raise
            # Withdrawn before its time: a new one tells whether the whole agreement was.
            token = await self._tokens.fetch(session, tenant_id, until=until, refused=token)
            return await self._google.fetch_busy(token, starts_at, ends_at, until=until)
        except AccessRefusedError as error:
            failure = CalendarError("calendar_reconnect_needed", str(error))
        except GoogleUnavailableError as error:
            failure = CalendarError("calendar_unavailable", str(error))
        except CalendarError as error:
            failure = error
        if failure.problem != "calendar_not_connected":
            logger.warning("a calendar could not be asked", extra={"tenant_id": str(tenant_id), "reason": str(failure)})
        raise failure


def make_calendars(settings: Settings) -> Calendars:
    """Return the calendars of all tenants, as the settings say they are reached. Connects nowhere."""
    return Calendars(GoogleClient(settings), Cipher(settings.encryption_keys), timeout=settings.google_timeout)


def merge(intervals: Iterable[Interval], starts_at: datetime, ends_at: datetime) -> list[Interval]:
    """Return what is taken between two times, in order, without overlaps and without parts outside."""
    merged: list[Interval] = []
    for one in sorted(intervals, key=lambda one: one.starts_at):
        begin, end = max(one.starts_at, starts_at), min(one.ends_at, ends_at)
        if begin >= end:
            continue
        if merged and begin <= merged[-1].ends_at:
            begin, end = merged[-1].starts_at, max(end, merged.pop().ends_at)
        merged.append(Interval(starts_at=begin, ends_at=end))
    return merged


async def _read_bookings(
    session: AsyncSession, tenant_id: uuid.UUID, starts_at: datetime, ends_at: datetime
) -> list[Interval]:
    query = select(Booking.starts_at, Booking.ends_at).where(
        Booking.tenant_id == tenant_id,
        Booking.status == "confirmed",
        Booking.starts_at < ends_at,
        Booking.ends_at > starts_at,
    )
    rows = (await session.execute(query)).all()
    await session.close()
    return [Interval(starts_at=row.starts_at, ends_at=row.ends_at) for row in rows]
