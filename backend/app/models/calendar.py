"""Owns the shapes of connecting a calendar and of what is learnt from it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

CalendarProblem = Literal["calendar_not_connected", "calendar_reconnect_needed", "calendar_unavailable"]


class CalendarState(BaseModel):
    """Whether calendars can be connected here, whether this business has connected one, and whose it is."""

    model_config = ConfigDict(frozen=True)

    available: bool
    connected: bool
    account: str | None


class CalendarStart(BaseModel):
    """Where the business goes to agree."""

    available: Literal[True] = True
    authorization_url: str


class CalendarNotConfigured(BaseModel):
    """Why no calendar can be connected here."""

    available: Literal[False] = False
    error: Literal["calendar_not_configured"] = "calendar_not_configured"
    detail: str


class CalendarConnected(BaseModel):
    """The calendar is connected; `account` is null where Google did not say whose it is."""

    connected: Literal[True] = True
    account: str | None


class Interval(BaseModel):
    """A time that is taken, from `starts_at` up to `ends_at`."""

    model_config = ConfigDict(frozen=True)

    starts_at: datetime
    ends_at: datetime


class Availability(BaseModel):
    """When the business is busy, in order and without overlaps.

    `calendar_checked` says whether the connected calendar was asked; when not, `calendar_problem` says why.
    """

    busy: list[Interval]
    calendar_checked: bool
    calendar_problem: CalendarProblem | None
