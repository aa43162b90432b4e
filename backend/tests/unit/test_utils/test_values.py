import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from app.errors import ApiError
from app.models.values import Timestamp
from app.services.booking_queries import decode_cursor, encode_cursor

TIMESTAMP = TypeAdapter(Timestamp)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T09:00:00Z", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31t09:00:00z", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31 09:00:00Z", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31T09:00:00+05:30", datetime(2030, 1, 31, 3, 30, tzinfo=UTC)),
        ("2030-01-31T09:00:00-00:00", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31T09:00:00.5Z", datetime(2030, 1, 31, 9, 0, 0, 500_000, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2199-12-31T23:59:59Z", datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2000-02-29T00:00:00Z", datetime(2000, 2, 29, tzinfo=UTC)),
        ("2100-02-29T00:00:00Z", None),
        ("2000-01-01T00:00:00+00:01", None),
        ("2030-01-31T24:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2030-01-31T09:00:00", None),
        (1738314000, None),
        (None, None),
        (datetime(2030, 1, 31, 9, tzinfo=UTC), None),
    ],
)
def test_a_time_is_one_that_exists_with_its_offset_and_turned_to_utc(text, moment):
    if moment is None:
        with pytest.raises(ValidationError, match="must be"):
            TIMESTAMP.validate_python(text)
        return

    read = TIMESTAMP.validate_python(text)

    assert (read, read.utcoffset()) == (moment, timedelta(0))


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 31, 9, 0, 0, 123_456, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2030, 1, 31, 9, tzinfo=timezone(timedelta(hours=5))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_a_cursor_leads_back_to_where_it_was_made(moment):
    identity = uuid.uuid4()

    assert decode_cursor(encode_cursor(moment, identity)) == (moment, identity)


@pytest.mark.parametrize(
    "cursor", ["", "0", "zz" * 24, "00" * 23, "00" * 25, "7f" + "ff" * 23, "80" + "00" * 23, "\u0661" * 48]
)
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(ApiError) as refused:
        decode_cursor(cursor)

    assert refused.value.status == 422
