from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.services.reminder_text import compose

LINK = "https://buy.stripe.com/test_00g3cX8Zk5sT6f2dQQ"
STARTS_AT = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


def text(**values):
    given = {
        "business": "Studio Nord",
        "amount": Decimal("100.00"),
        "currency": "eur",
        "link": LINK,
        "starts_at": STARTS_AT,
        "timezone": "Europe/Berlin",
    }
    return compose(**(given | values))


def test_text_says_who_wants_what_for_when_and_where_to_pay():
    assert text() == f"Studio Nord: please pay 100.00 EUR for your booking on Sun 29 Mar, 14:30: {LINK}"


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"timezone": "America/New_York"}, "Sun 29 Mar, 08:30"),
        ({"timezone": "Pacific/Kiritimati"}, "Mon 30 Mar, 02:30"),
        ({"timezone": "Mars/Olympus"}, "Sun 29 Mar, 12:30"),
        ({"timezone": "../secret"}, "Sun 29 Mar, 12:30"),
        ({"starts_at": datetime(9999, 12, 31, 23, 0, tzinfo=UTC), "timezone": "Asia/Tokyo"}, "Fri 31 Dec, 23:00"),
        ({"amount": Decimal("5000.00"), "currency": "jpy"}, "pay 5000 JPY"),
        ({"amount": Decimal("99999999.99")}, "pay 99999999.99 EUR"),
        ({"business": "Café Łódź\n\u202eevil\x07"}, "Café Lodz evil:"),
        ({"business": "Ana\u2019s {nails}"}, "Ana's {nails}:"),
        ({"business": "花屋"}, "花屋:"),
    ],
)
def test_text_is_exact_in(values, part):
    assert part in text(**values)


@pytest.mark.parametrize("business", ["A" * 200, "{" * 200, "Ä" * 59, "word " * 40])
def test_long_name_is_cut_so_that_one_segment_is_enough(business):
    written = text(business=business)

    assert written.endswith(LINK)
    assert sum(2 if character in "^{}\\[~]|€" else 1 for character in written) <= 160


def test_link_is_whole_however_long_it_is():
    link = "https://pay.example/" + "x" * 300

    assert text(business="A" * 200, link=link).endswith(link)
    assert text(business="A" * 200, link=link).startswith("A" * 17 + "...")
