import dataclasses
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select, text

from app.models.tables import Booking
from app.services.booking_queries import BookingFilter, select_page

pytestmark = pytest.mark.anyio

PATH = "/api/bookings"
NINE = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)


def at(minutes: int, *, duration: int = 30, **values) -> dict:
    """A request for a booking so many minutes after nine."""
    return {
        "customer_name": "Ada Lovelace",
        "starts_at": (NINE + timedelta(minutes=minutes)).isoformat(),
        "duration_minutes": duration,
    } | values


@pytest.fixture
def book(client, authorized):
    async def book(minutes: int = 0, **values) -> dict:
        response = await client.post(PATH, headers=authorized, json=at(minutes, **values))
        assert response.status_code == 201, response.text
        return response.json()

    return book


async def test_a_booking_is_made_and_read_back(client, authorized):
    request = {
        "customer_name": "  Zoë O'Brien ",
        "customer_phone": "+4930123456",
        "customer_email": "zoe@example.org",
        "starts_at": "2030-01-31T10:00:00+01:00",
        "duration_minutes": 45,
        "notes": "Grüße 👋",
        "amount": "19.90",
        "currency": "gbp",
    }

    made = await client.post(PATH, headers=authorized, json=request)

    assert made.status_code == 201, made.text
    body = made.json()
    assert made.headers["location"] == f"{PATH}/{body['id']}"
    assert made.headers["cache-control"] == "no-store"
    assert len(body["reference"]) == 8
    assert body["created_at"] == body["updated_at"]
    told = {name: body[name] for name in body.keys() - {"id", "reference", "created_at", "updated_at"}}
    assert told == {
        "status": "confirmed",
        "customer_name": "Zoë O'Brien",
        "customer_phone": "+4930123456",
        "customer_email": "zoe@example.org",
        "starts_at": "2030-01-31T09:00:00Z",
        "ends_at": "2030-01-31T09:45:00Z",
        "notes": "Grüße 👋",
        "amount": "19.90",
        "currency": "gbp",
        "payment_status": "none",
        "calendar_checked": False,
    }
    got = await client.get(made.headers["location"], headers=authorized)
    assert (got.status_code, got.json(), got.headers["cache-control"]) == (200, body, "no-store")


async def test_little_is_needed(book):
    booking = await book()

    assert (booking["amount"], booking["currency"], booking["notes"]) == (None, None, "")
    assert (booking["customer_phone"], booking["customer_email"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"amount": 100}, ("100.00", "eur")),
        ({"amount": 100.0}, ("100.00", "eur")),
        ({"amount": 19.99}, ("19.99", "eur")),
        ({"amount": "0.50"}, ("0.50", "eur")),
        ({"amount": "99999999.99"}, ("99999999.99", "eur")),
        ({"amount": "7.5", "currency": "usd"}, ("7.50", "usd")),
        ({"amount": "1000", "currency": "jpy"}, ("1000.00", "jpy")),
        ({"amount": "10.05", "currency": "kwd"}, ("10.05", "kwd")),
    ],
)
async def test_amounts_are_kept_exactly(book, given, kept):
    booking = await book(**given)

    assert (booking["amount"], booking["currency"]) == kept


@pytest.mark.parametrize(
    "given", [{"amount": "10.50", "currency": "jpy"}, {"currency": "eur"}, {"amount": None} | {"currency": "eur"}]
)
async def test_a_price_that_cannot_be_paid_is_refused(client, authorized, given):
    response = await client.post(PATH, headers=authorized, json=at(0, **given))

    assert (response.status_code, response.json()["error"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("minutes", "duration", "free"),
    [
        (0, 60, False),
        (-30, 31, False),
        (59, 5, False),
        (15, 15, False),
        (-60, 1440, False),
        (-1000, 1005, False),
        (-30, 30, True),
        (60, 30, True),
    ],
)
async def test_confirmed_bookings_never_overlap(client, authorized, book, minutes, duration, free):
    await book(0, duration=60)

    response = await client.post(PATH, headers=authorized, json=at(minutes, duration=duration))

    assert response.status_code == (201 if free else 409), response.text
    if not free:
        assert response.json()["error"] == "slot_taken"


async def test_the_same_time_of_another_business_is_free(client, book, open_business):
    other = (await open_business()).headers
    await book()

    assert (await client.post(PATH, headers=other, json=at(0))).status_code == 201


async def test_a_cancelled_booking_gives_its_time_back(client, authorized, book):
    booking = await book()

    cancelled = await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)
    again = await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json()["updated_at"] > booking["updated_at"]
    assert (again.status_code, again.json()) == (200, cancelled.json())
    await book()


async def test_a_reference_that_is_taken_is_replaced_by_another(app, book):
    """The database makes references; one that repeats itself is no reason to refuse a booking."""
    first = await book(0)
    async with app.state.parts.database.session() as session:
        await session.execute(
            text(
                "CREATE SEQUENCE made; CREATE FUNCTION repeat_reference() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF nextval('made') < 3 THEN NEW.reference := '{first['reference']}'; END IF; RETURN NEW; END $$"
            )
        )
        await session.execute(
            text("CREATE TRIGGER repeats BEFORE INSERT ON bookings FOR EACH ROW EXECUTE FUNCTION repeat_reference()")
        )
        await session.commit()
    try:
        second = await book(60)
    finally:
        async with app.state.parts.database.session() as session:
            await session.execute(text("DROP TRIGGER repeats ON bookings"))
            await session.execute(text("DROP FUNCTION repeat_reference"))
            await session.execute(text("DROP SEQUENCE made"))
            await session.commit()

    assert second["reference"] != first["reference"]


@pytest.mark.parametrize("action", ["", "/cancel", "/payment-link"])
async def test_an_unknown_booking_is_not_found(client, authorized, action):
    method = "POST" if action else "GET"

    response = await client.request(method, f"{PATH}/{uuid.uuid4()}{action}", headers=authorized)

    assert (response.status_code, response.json()["error"]) == (404, "not_found")


class BusyCalendar:
    """A calendar elsewhere that gives one answer."""

    def __init__(self, answer: bool | None) -> None:
        self.answer = answer
        self.asked: list[tuple] = []

    async def is_busy(self, session, tenant_id, starts_at, ends_at) -> bool | None:
        self.asked.append((tenant_id, starts_at, ends_at, session.in_transaction()))
        return self.answer


@pytest.mark.parametrize(("answer", "status", "checked"), [(False, 201, True), (None, 201, False), (True, 409, None)])
async def test_a_booking_looks_at_the_calendar(app, client, business, authorized, answer, status, checked):
    calendar = BusyCalendar(answer)
    app.state.parts = dataclasses.replace(app.state.parts, calendars=calendar)

    response = await client.post(PATH, headers=authorized, json=at(0))

    assert response.status_code == status, response.text
    assert calendar.asked == [(business.tenant_id, NINE, NINE + timedelta(minutes=30), False)]
    if status == 201:
        assert response.json()["calendar_checked"] is checked
    else:
        assert response.json()["error"] == "calendar_busy"
        page = await client.get(PATH, headers=authorized)
        assert page.json()["items"] == []


async def test_pages_hold_every_booking_once_latest_first(client, authorized, book):
    made = [(await book(60 * number))["id"] for number in range(7)]

    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await client.get(PATH, headers=authorized, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        assert page.status_code == 200, page.text
        seen += [item["id"] for item in page.json()["items"]]
        cursor, pages = page.json()["next_cursor"], pages + 1

    assert seen == made[::-1]
    assert pages == 3


async def test_a_page_that_is_just_full_is_the_last(client, authorized, book):
    await book(0)
    await book(60)

    page = (await client.get(PATH, headers=authorized, params={"limit": 2})).json()

    assert (len(page["items"]), page["next_cursor"]) == (2, None)


async def test_bookings_that_start_together_are_paged_by_their_ids(client, authorized, book):
    """Cancelled ones may share a time with others."""
    made = []
    for _ in range(4):
        booking = await book(0)
        await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)
        made.append(booking["id"])

    first = (await client.get(PATH, headers=authorized, params={"limit": 2})).json()
    rest = (await client.get(PATH, headers=authorized, params={"cursor": first["next_cursor"]})).json()

    assert [item["id"] for item in first["items"] + rest["items"]] == sorted(made, reverse=True)


async def test_what_is_booked_while_pages_are_read_moves_nothing(client, authorized, book):
    made = [(await book(60 * number))["id"] for number in range(4)]
    first = (await client.get(PATH, headers=authorized, params={"limit": 2})).json()

    await book(60 * 9)
    rest = (await client.get(PATH, headers=authorized, params={"cursor": first["next_cursor"]})).json()

    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [2, 1, 0]),
        ({"status": "confirmed"}, [2, 0]),
        ({"status": "cancelled"}, [1]),
        ({"from": "2030-01-31T10:00:00Z"}, [2, 1]),
        ({"from": "2030-01-31T11:00:00+01:00"}, [2, 1]),
        ({"to": "2030-01-31T10:00:00Z"}, [0]),
        ({"from": "2030-01-31T09:00:00Z", "to": "2030-01-31T11:00:00Z", "status": "confirmed"}, [0]),
        ({"from": "2031-01-01T00:00:00Z"}, []),
    ],
)
async def test_bookings_are_filtered(client, authorized, book, parameters, expected):
    made = [(await book(60 * number))["id"] for number in range(3)]
    await client.post(f"{PATH}/{made[1]}/cancel", headers=authorized)

    page = await client.get(PATH, headers=authorized, params=parameters)

    assert [item["id"] for item in page.json()["items"]] == [made[number] for number in expected]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"status": "late"},
        {"from": "2030-02-30T00:00:00Z"},
        {"from": "2030-01-31"},
        {"to": "2030-01-31T00:00:00"},
        {"to": "10000-01-01T00:00:00Z"},
        {"cursor": ""},
        {"cursor": "next"},
        {"cursor": "00" * 23},
        {"cursor": "7f" + "ff" * 23},
        {"cursor": "ü" * 48},
        {"cursor": "0" * 5000},
    ],
)
async def test_a_malformed_question_is_refused(client, authorized, parameters):
    response = await client.get(PATH, headers=authorized, params=parameters)

    assert (response.status_code, response.json()["error"]) == (422, "validation_failed"), response.text
    assert response.json()["errors"][0]["location"] == f"query.{next(iter(parameters))}"


@pytest.mark.parametrize("which", [BookingFilter(), BookingFilter(status="confirmed"), BookingFilter(until=NINE)])
@pytest.mark.parametrize("after", [None, (NINE + timedelta(hours=2000), uuid.UUID(int=2**128 - 1))])
async def test_a_page_of_a_filled_table_is_read_along_its_index(app, business, open_business, which, after):
    other = await open_business()
    async with app.state.parts.database.session() as session:
        for tenant_id in (business.tenant_id, other.tenant_id):
            await session.execute(
                text(
                    "INSERT INTO bookings (tenant_id, customer_name, starts_at, ends_at) SELECT :tenant_id, 'Many', "
                    "at, at + interval '30 minutes' FROM generate_series(timestamptz '2030-01-01', "
                    "timestamptz '2030-01-01' + interval '2000 hours', interval '1 hour') AS at"
                ),
                {"tenant_id": tenant_id},
            )
        await session.execute(text("ANALYZE bookings"))
        query = select_page(business.tenant_id, which, limit=20, after=after)
        compiled = query.compile(session.bind, compile_kwargs={"literal_binds": True})
        plan = "\n".join((await session.scalars(text("EXPLAIN " + str(compiled).replace(":", "\\:")))).all())

    assert "Index Scan using bookings_tenant_id_starts_at_idx" in plan, plan
    assert "Sort Key: bookings" not in plan, plan
    assert "Seq Scan on bookings" not in plan, plan


async def test_a_page_is_one_query(app, client, authorized, book):
    for number in range(3):
        await book(60 * number)
    statements = []
    engine = app.state.parts.database._engine.sync_engine

    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    await client.get(PATH, headers=authorized)

    assert len([statement for statement in statements if "bookings" in statement]) == 1
    assert len(statements) == 1


async def test_a_tenant_takes_its_bookings_along(app, business, book):
    await book()
    async with app.state.parts.database.session() as session:
        await session.execute(text("DELETE FROM tenants WHERE id = :id"), {"id": business.tenant_id})
        await session.commit()

        left = select(func.count()).select_from(Booking).where(Booking.tenant_id == business.tenant_id)
        assert await session.scalar(left) == 0
