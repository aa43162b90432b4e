"""Owns what time it is for a business."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def localise(moment: datetime, timezone: str) -> datetime:
    """Return a moment in a time zone of the IANA database; in UTC where it cannot be told there."""
    try:
        return moment.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OverflowError):
        # A zone that this machine does not know, or the last day of the calendar.
        return moment.astimezone(UTC)
