import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from app.db import Database
from app.models.tables import CalendarConnection, User
from app.observation.vendors import CALLS
from app.services.encryption import Cipher
from app.services.rotation import rotate
from backend.tests.vendors.vendor_server import Answer, Cut, Garbage, Hang, answer_json

pytestmark = pytest.mark.anyio

STATE, AVAILABILITY, BOOKINGS = "/api/calendar", "/api/calendar/availability", "/api/bookings"
NOT_CONNECTED = {"available": True, "connected": False, "account": None}
FREE_BUSY, TOKEN, REVOKE = "/calendar/v3/freeBusy", "/token", "/revoke"
NINE = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=31)


#: What conftest.py gives every application.
OLD_KEY = base64.b64encode(bytes(range(32))).decode()


def state_of(google):
    return {"available": True, "connected": True, "account": google.account}


def at(minutes):
    return (NINE + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def booking(minutes, duration=30):
    return {"customer_name": "Zoë", "starts_at": at(minutes), "duration_minutes": duration}


def asked(google):
    return [request.path for request in google.requests]


def connection_of(account):
    return update(CalendarConnection).where(CalendarConnection.tenant_id == account.tenant_id)


@pytest.fixture
def let_expire(change, account):
    """Lets the access token that is kept come to its end."""

    async def let_expire() -> None:
        await change(connection_of(account).values(access_token_expires_at=func.now() + timedelta(seconds=30)))

    return let_expire


async def test_bookings_and_the_calendar_together_say_when_a_business_is_busy(client, connected, google, month):
    made = await client.post(BOOKINGS, json=booking(0), headers=connected)
    assert (made.status_code, made.json()["calendar_checked"]) == (201, True), made.text
    google.busy = [(at(120), at(180)), (at(20), at(60))]

    response = await client.get(AVAILABILITY, params=month, headers=connected)

    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert response.json() == {
        "busy": [{"starts_at": at(0), "ends_at": at(60)}, {"starts_at": at(120), "ends_at": at(180)}],
        "calendar_checked": True,
        "calendar_problem": None,
    }


async def test_without_a_connection_bookings_alone_are_told_and_google_is_not_asked(client, authorized, google, month):
    made = await client.post(BOOKINGS, json=booking(0), headers=authorized)
    cancelled = (await client.post(BOOKINGS, json=booking(60), headers=authorized)).json()
    await client.post(f"{BOOKINGS}/{cancelled['id']}/cancel", headers=authorized)

    response = await client.get(AVAILABILITY, params=month, headers=authorized)

    assert made.json()["calendar_checked"] is False
    assert response.json() == {
        "busy": [{"starts_at": at(0), "ends_at": at(30)}],
        "calendar_checked": False,
        "calendar_problem": "calendar_not_connected",
    }
    assert google.requests == ()


async def test_the_busy_times_of_one_business_are_not_anothers(client, connected, make_account, log_in, google, month):
    google.busy = [(at(0), at(30))]
    await client.post(BOOKINGS, json=booking(60), headers=connected)
    other = await log_in(await make_account())

    assert (await client.get(AVAILABILITY, params=month, headers=other)).json()["busy"] == []


SENSELESS = [
    (at(0), at(0)),
    (at(30), at(0)),
    (at(0), at(31 * 24 * 60 + 1)),
    ("2030-02-30T09:00:00Z", "2030-03-01T09:00:00Z"),
    ("2030-01-01T24:00:00Z", "2030-01-02T09:00:00Z"),
    ("0000-01-01T00:00:00Z", "0000-01-02T00:00:00Z"),
    ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-14:00"),
    ("2030-01-01T09:00:00", "2030-01-02T09:00:00"),
    ("2030-01-01", "2030-01-02"),
    ("1893456000", "1893459600"),
    ("NaN", "1e400"),
    ("'; DROP TABLE bookings; --", "\x00"),
    ("", ""),
]


async def test_a_range_that_makes_no_sense_is_refused(client, connected, google):
    for begin, end in SENSELESS:
        response = await client.get(AVAILABILITY, params={"from": begin, "to": end}, headers=connected)

        assert (response.status_code, response.json()["error"]) == (422, "validation_failed"), (begin, end)
    assert google.requests == ()


async def test_a_time_that_is_taken_in_the_calendar_is_not_booked(client, connected, google):
    google.busy = [(at(0), at(60))]

    refused = await client.post(BOOKINGS, json=booking(30), headers=connected)
    after = await client.post(BOOKINGS, json=booking(60), headers=connected)

    assert (refused.status_code, refused.json()["error"]) == (409, "calendar_busy")
    assert (after.status_code, after.json()["calendar_checked"]) == (201, True)


FAILURES = {
    "too many": answer_json({"error": {"errors": [{"reason": "rateLimitExceeded"}]}}, status=429),
    "broken": Answer(500, b"<html>"),
    "hanging": Hang(),
    "not HTTP": Garbage(),
    "not JSON": Answer(200, b"<html>welcome</html>"),
    "huge": answer_json({"calendars": {"primary": {"busy": []}}, "padding": "x" * 2_000_000}),
    "cut": Cut(Answer(200, b"{}" * 50), after=10),
    "without the calendar": answer_json({"calendars": {}}),
    "not read": answer_json({"calendars": {"primary": {"errors": [{"reason": "internalError"}]}}}),
}


async def test_google_failing_stops_no_booking_and_is_told(make_app, browse, client, connected, google, month):
    patient, impatient = client, browse(make_app(google_timeout=0.4))
    for count, (failure, reply) in enumerate(FAILURES.items(), start=1):
        # Only an answer that does not come is worth giving up on: a busy machine makes the others late.
        client = impatient if isinstance(reply, Hang) else patient
        google.script(reply, reply)

        made = await client.post(BOOKINGS, json=booking(60 * count), headers=connected)
        told = (await client.get(AVAILABILITY, params=month, headers=connected)).json()

        assert (made.status_code, made.json()["calendar_checked"]) == (201, False), failure
        assert (told["calendar_checked"], told["calendar_problem"]) == (False, "calendar_unavailable"), failure
        assert CALLS.find_failure("google"), failure
        CALLS.forget()
        assert len(told["busy"]) == count
    assert (await client.get(STATE, headers=connected)).json() == state_of(google)


@pytest.mark.parametrize("is_renewed_first", [False, True])
async def test_no_connection_to_the_database_waits_for_google(
    make_app, browse, connected, google, month, let_expire, is_renewed_first
):
    client = browse(make_app(google_timeout=30, database_pool_size=1, database_max_overflow=0, database_pool_timeout=5))
    if is_renewed_first:
        await let_expire()
    google.script(Hang())

    waiting = asyncio.create_task(client.get(AVAILABILITY, params=month, headers=connected))
    await asyncio.to_thread(google.wait_for_requests, 1)
    state = await client.get(STATE, headers=connected)
    still_waiting = not waiting.done()
    google.release()

    assert (state.status_code, still_waiting) == (200, True)
    assert asked(google)[0] == (TOKEN if is_renewed_first else FREE_BUSY)
    assert (await waiting).json()["calendar_problem"] == "calendar_unavailable"


async def test_what_google_leaves_with_one_business_is_not_sent_for_another(client, connected, google, month):
    google.script(answer_json({}, status=500, headers={"Set-Cookie": "NID=one-business; Path=/"}))

    for _ in range(2):
        await client.get(AVAILABILITY, params=month, headers=connected)

    assert asked(google) == [FREE_BUSY, FREE_BUSY]
    assert "cookie" not in google.requests[1].headers


async def test_a_token_at_its_end_is_renewed_first(client, connected, google, month, let_expire):
    await let_expire()

    first = await client.get(AVAILABILITY, params=month, headers=connected)
    second = await client.get(AVAILABILITY, params=month, headers=connected)

    assert (first.json()["calendar_checked"], second.json()["calendar_checked"]) == (True, True)
    assert asked(google) == [TOKEN, FREE_BUSY, FREE_BUSY]


async def test_a_token_that_google_does_not_take_any_more_is_renewed_once(client, connected, google, month):
    google.expire_access_tokens()

    response = await client.get(AVAILABILITY, params=month, headers=connected)

    assert response.json()["calendar_checked"] is True
    assert asked(google) == [FREE_BUSY, TOKEN, FREE_BUSY]


async def test_a_refresh_token_that_google_replaces_is_replaced(client, connected, google, month, let_expire):
    google.rotates_refresh_tokens = True

    for _ in range(3):
        await let_expire()
        assert (await client.get(AVAILABILITY, params=month, headers=connected)).json()["calendar_checked"] is True
    assert asked(google) == [TOKEN, FREE_BUSY] * 3


async def test_many_who_need_a_new_token_at_once_renew_it_once(make_app, browse, connected, google, month, let_expire):
    # A second renewal with the same refresh token would be refused.
    google.rotates_refresh_tokens = True
    await let_expire()
    processes = [browse(make_app()) for _ in range(3)]

    answers = await asyncio.gather(
        *(process.get(AVAILABILITY, params=month, headers=connected) for process in processes * 5)
    )

    assert [answer.json()["calendar_problem"] for answer in answers] == [None] * 15
    assert asked(google).count(TOKEN) == 1


async def test_a_renewal_that_nobody_finished_is_taken_over(client, account, connected, google, month, change):
    abandoned = connection_of(account).values(access_token_expires_at=func.now(), refresh_claimed_until=func.now())
    await change(abandoned)

    assert (await client.get(AVAILABILITY, params=month, headers=connected)).json()["calendar_checked"] is True


async def test_a_renewal_that_another_process_does_not_finish_is_not_waited_for_forever(
    make_app, browse, account, connected, google, month, change
):
    await change(
        connection_of(account).values(
            access_token_expires_at=func.now(), refresh_claimed_until=func.now() + timedelta(hours=1)
        )
    )
    client = browse(make_app(google_timeout=0.3))

    response = await client.get(AVAILABILITY, params=month, headers=connected)

    assert response.json()["calendar_problem"] == "calendar_unavailable"
    assert google.requests == ()


async def test_a_renewal_that_failed_is_tried_again_by_the_next(client, connected, google, month, let_expire):
    await let_expire()
    google.script(answer_json({}, status=503))

    failed = await client.get(AVAILABILITY, params=month, headers=connected)
    again = await client.get(AVAILABILITY, params=month, headers=connected)

    assert failed.json()["calendar_problem"] == "calendar_unavailable"
    assert again.json()["calendar_checked"] is True


async def test_a_calendar_that_was_withdrawn_is_disconnected_and_can_be_connected_again(
    client, account, connected, connect, google, month
):
    google.withdraw()

    first = await client.get(AVAILABILITY, params=month, headers=connected)
    second = await client.get(AVAILABILITY, params=month, headers=connected)

    problems = (first.json()["calendar_problem"], second.json()["calendar_problem"])
    assert problems == ("calendar_reconnect_needed", "calendar_not_connected")
    assert (await client.get(STATE, headers=connected)).json() == NOT_CONNECTED
    await connect(account, connected)
    assert (await client.get(AVAILABILITY, params=month, headers=connected)).json()["calendar_checked"] is True


@pytest.mark.parametrize("is_withdrawn", [True, False])
async def test_a_renewal_does_not_touch_a_connection_that_was_made_since(
    app, client, account, connected, connect, google, month, let_expire, is_withdrawn
):
    await let_expire()
    client_of_google = app.state.parts.calendars._google
    refresh = client_of_google.refresh

    async def reconnect_meanwhile(token, *, until):
        client_of_google.refresh = refresh
        if is_withdrawn:
            google.withdraw()
        google.account = f"new-{google.account}"
        await connect(account, connected)
        return await refresh(token, until=until)

    client_of_google.refresh = reconnect_meanwhile
    first = await client.get(AVAILABILITY, params=month, headers=connected)

    assert first.json()["calendar_problem"] == ("calendar_reconnect_needed" if is_withdrawn else None)
    assert (await client.get(STATE, headers=connected)).json() == state_of(google)
    assert (await client.get(AVAILABILITY, params=month, headers=connected)).json()["calendar_checked"] is True
    # The one that was made since was good all along: it was not renewed, and neither was it written over.
    assert asked(google).count(TOKEN) == 1


@pytest.mark.parametrize("refusal", [None, answer_json({}, status=503)], ids=["renewed", "failed"])
async def test_a_renewal_survives_the_replacing_of_the_encryption_key(
    make_app, browse, connected, google, month, let_expire, refusal
):
    new = base64.b64encode(bytes(range(32, 64))).decode()
    app = make_app(encryption_key=new, encryption_previous_keys=OLD_KEY)
    client, parts = browse(app), app.state.parts
    await let_expire()
    refresh = parts.calendars._google.refresh

    async def rotate_meanwhile(token, *, until):
        parts.calendars._google.refresh = refresh
        async with parts.database.session() as session:
            assert [step async for step in rotate(session, Cipher(parts.settings.encryption_keys))]
        return await refresh(token, until=until)

    parts.calendars._google.refresh = rotate_meanwhile
    if refusal is not None:
        google.script(refusal)
    told = (await client.get(AVAILABILITY, params=month, headers=connected)).json()
    again = (await client.get(AVAILABILITY, params=month, headers=connected)).json()

    assert told["calendar_problem"] == (None if refusal is None else "calendar_unavailable")
    assert again["calendar_problem"] is None
    assert asked(google).count(TOKEN) == (1 if refusal is None else 2)


async def test_access_that_was_cut_down_has_to_be_given_again(client, connected, google, month):
    google.script(answer_json({"error": {"errors": [{"reason": "insufficientPermissions"}]}}, status=403))

    response = await client.get(AVAILABILITY, params=month, headers=connected)

    assert response.json()["calendar_problem"] == "calendar_reconnect_needed"
    assert asked(google) == [FREE_BUSY]


async def test_tokens_that_were_copied_from_another_business_are_of_no_use(
    client, account, connected, make_account, log_in, connect, google, month, change, read
):
    other = await make_account()
    other_headers = await log_in(other)
    await connect(other, other_headers)
    query = select(CalendarConnection.refresh_token, CalendarConnection.access_token)
    ((refresh_token, access_token),) = await read(query.where(CalendarConnection.tenant_id == account.tenant_id))
    await change(connection_of(other).values(refresh_token=refresh_token, access_token=access_token))

    told = await client.get(AVAILABILITY, params=month, headers=other_headers)
    made = await client.post(BOOKINGS, json=booking(0), headers=other_headers)

    assert (told.status_code, told.json()["calendar_problem"]) == (200, "calendar_reconnect_needed")
    assert (made.status_code, made.json()["calendar_checked"]) == (201, False)
    assert (await client.delete(STATE, headers=other_headers)).status_code == 204
    assert google.requests == ()


async def test_a_refresh_token_that_cannot_be_read_leaves_no_claim(
    client, account, connected, google, month, change, read, let_expire
):
    await let_expire()
    await change(connection_of(account).values(refresh_token=b"\x01" + bytes(40)))

    for _ in range(2):
        told = await client.get(AVAILABILITY, params=month, headers=connected)
        assert told.json()["calendar_problem"] == "calendar_reconnect_needed"
    assert google.requests == ()
    mine = CalendarConnection.tenant_id == account.tenant_id
    assert await read(select(CalendarConnection.refresh_claimed_until).where(mine)) == [(None,)]


async def test_the_encryption_key_is_replaced_without_connecting_again(
    make_app, browse, account, connected, google, month, database_url
):
    new = base64.b64encode(bytes(range(32, 64))).decode()
    rotating = browse(make_app(encryption_key=new, encryption_previous_keys=OLD_KEY))
    alone = browse(make_app(encryption_key=new))

    async def problem_of(client):
        response = await client.get(AVAILABILITY, params=month, headers=connected)
        assert response.status_code == 200
        return response.json()["calendar_problem"]

    assert (await problem_of(rotating), await problem_of(alone)) == (None, "calendar_reconnect_needed")
    settings = make_app(encryption_key=new, encryption_previous_keys=OLD_KEY).state.parts.settings
    database = Database(settings)
    async with database.session() as session:
        steps = [step async for step in rotate(session, Cipher(settings.encryption_keys))]
    await database.close()
    assert sum(step.encrypted for step in steps) >= 2
    assert (await problem_of(rotating), await problem_of(alone)) == (None, None)


async def test_a_disconnected_calendar_is_forgotten_and_given_back(client, account, connected, google, month, read):
    response = await client.delete(STATE, headers=connected)

    assert (response.status_code, response.content, response.headers["cache-control"]) == (204, b"", "no-store")
    assert (await client.get(STATE, headers=connected)).json() == NOT_CONNECTED
    assert asked(google) == [REVOKE]
    assert google.requests[0].query == {}
    assert google.tokens == set()
    assert (await client.delete(STATE, headers=connected)).status_code == 204
    assert asked(google) == [REVOKE]


@pytest.mark.parametrize("reply", [Answer(500), Hang(), Garbage(), answer_json({"error": "invalid_token"}, status=400)])
async def test_a_calendar_is_forgotten_whatever_google_says(make_app, browse, connected, google, reply):
    client = browse(make_app(google_timeout=0.3))
    google.script(reply)

    assert (await client.delete(STATE, headers=connected)).status_code == 204
    assert (await client.get(STATE, headers=connected)).json() == NOT_CONNECTED


async def test_an_agreement_that_another_business_uses_too_is_not_ended(
    client, account, connected, make_account, log_in, connect, google, month
):
    other = await make_account()
    other_headers = await log_in(other)
    await connect(other, other_headers)
    assert (await client.delete(STATE, headers=connected)).status_code == 204

    assert google.requests == ()
    assert (await client.get(AVAILABILITY, params=month, headers=other_headers)).json()["calendar_checked"] is True


async def test_a_member_may_look_but_not_disconnect(client, account, connected, google, month, change):
    await change(update(User).where(User.email == account.email).values(role="member"))

    refused = await client.delete(STATE, headers=connected)

    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    assert (await client.get(STATE, headers=connected)).json() == state_of(google)
    assert (await client.get(AVAILABILITY, params=month, headers=connected)).status_code == 200


async def test_nobody_reads_a_calendar_without_a_token(client, month):
    for method, path in (("GET", STATE), ("DELETE", STATE), ("GET", AVAILABILITY)):
        response = await client.request(method, path, params=month)
        assert (response.status_code, response.json()["error"]) == (401, "not_authenticated")


async def test_what_is_kept_is_not_told_where_google_is_not_configured_any_more(make_app, browse, connected, month):
    client = browse(make_app(google_client_id="", google_client_secret=""))

    state = (await client.get(STATE, headers=connected)).json()
    told = (await client.get(AVAILABILITY, params=month, headers=connected)).json()

    assert state == {"available": False, "connected": False, "account": None}
    assert told["calendar_problem"] == "calendar_not_connected"
    assert (await client.delete(STATE, headers=connected)).status_code == 204
