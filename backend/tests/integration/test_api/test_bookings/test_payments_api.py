import asyncio
import json
import logging
import uuid

import pytest
from sqlalchemy import select, text, update

from app.models import tables
from app.services.payments import _lock_payable, _open_payment
from app.services.stripe_service import PaymentsUnavailableError, StripeService
from backend.tests.vendors.stripe_server import API_KEY, error
from backend.tests.vendors.vendor_server import Answer, Cut, Drip, Garbage, Hang, answer_json

pytestmark = pytest.mark.anyio

PATH = "/api/bookings"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """The SDK tries again at once."""
    monkeypatch.setattr("app.services.stripe_transport.anyio.sleep", lambda _: asyncio.sleep(0))


@pytest.fixture
def book(client, authorized):
    async def book(**values) -> dict:
        request = {
            "customer_name": "Canary Customer",
            "customer_phone": "+4930123456",
            "starts_at": "2030-01-31T09:00:00Z",
            "duration_minutes": 30,
            "amount": "100.00",
        }
        response = await client.post(PATH, headers=authorized, json=request | values)
        assert response.status_code == 201, response.text
        return response.json()

    return book


@pytest.fixture
def ask(client, authorized):
    async def ask(booking: dict):
        return await client.post(f"{PATH}/{booking['id']}/payment-link", headers=authorized)

    return ask


@pytest.fixture
def query(app):
    async def query(statement):
        async with app.state.parts.database.session() as session:
            return (await session.execute(statement)).all()

    return query


def payments_of(booking: dict):
    return (
        select(tables.Payment.status, tables.Payment.payment_link_id)
        .where(tables.Payment.booking_id == uuid.UUID(booking["id"]))
        .order_by(tables.Payment.created_at)
    )


def reminders_of(booking: dict):
    return (
        select(tables.PaymentReminder.status, tables.PaymentReminder.phone_number)
        .join(tables.Payment, tables.Payment.id == tables.PaymentReminder.payment_id)
        .where(tables.Payment.booking_id == uuid.UUID(booking["id"]))
    )


async def test_a_payment_link_is_made_once(client, authorized, stripe, business, book, ask, query):
    booking = await book()

    made, again = await ask(booking), await ask(booking)

    assert (made.status_code, again.status_code) == (201, 200), made.text
    payment = made.json()
    assert again.json() == payment
    assert payment["payment_link_url"] == stripe.links[0]["url"]
    assert {name: payment[name] for name in ("booking_id", "status", "amount", "currency", "paid_at")} == {
        "booking_id": booking["id"],
        "status": "pending",
        "amount": "100.00",
        "currency": "eur",
        "paid_at": None,
    }
    assert made.headers["cache-control"] == "no-store"
    got = await client.get(f"/api/payments/{payment['id']}", headers=authorized)
    assert (got.status_code, got.json(), got.headers["cache-control"]) == (200, payment, "no-store")
    assert (await client.get(f"{PATH}/{booking['id']}", headers=authorized)).json()["payment_status"] == "pending"
    assert await query(reminders_of(booking)) == [("pending", "+4930123456")]

    (request,) = stripe.requests
    metadata = {"payment_id": payment["id"], "tenant_id": str(business.tenant_id)}
    assert request.headers["idempotency-key"] == f"payment-{payment['id']}"
    assert request.form == {
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "10000",
        "line_items[0][price_data][product_data][name]": f"Booking {booking['reference']}",
        "line_items[0][quantity]": "1",
        "restrictions[completed_sessions][limit]": "1",
        **{f"metadata[{name}]": value for name, value in metadata.items()},
        **{f"payment_intent_data[metadata][{name}]": value for name, value in metadata.items()},
    }


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [("19.99", "eur", "1999"), ("1000", "jpy", "1000"), ("10.05", "kwd", "10050"), ("5", "isk", "500")],
)
async def test_stripe_is_asked_in_the_smallest_unit(stripe, book, ask, amount, currency, units):
    made = await ask(await book(amount=amount, currency=currency))

    assert made.status_code == 201, made.text
    assert stripe.requests[0].form["line_items[0][price_data][unit_amount]"] == units


async def test_without_a_telephone_nobody_is_reminded(book, ask, query):
    booking = await book(customer_phone=None)

    assert (await ask(booking)).status_code == 201
    assert await query(reminders_of(booking)) == []


async def test_many_calls_at_once_make_one_payment_and_one_link(stripe, book, ask, query):
    booking = await book()

    answers = await asyncio.gather(*(ask(booking) for _ in range(12)))

    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert len({answer.text for answer in answers}) == 1
    assert len(stripe.links) == 1
    assert len(await query(payments_of(booking))) == 1
    assert len(await query(reminders_of(booking))) == 1


async def test_what_a_crash_left_the_next_call_completes(app, stripe, book, ask, query):
    """The link was made, and the process died before it wrote it down."""
    booking = await book()
    first = (await ask(booking)).json()
    async with app.state.parts.database.session() as session:
        await session.execute(
            update(tables.Payment)
            .where(tables.Payment.id == uuid.UUID(first["id"]))
            .values(payment_link_id=None, payment_link_url=None)
        )
        await session.commit()

    second = await ask(booking)

    assert (second.status_code, second.json()) == (201, first)
    assert len(stripe.links) == 1
    assert len(await query(payments_of(booking))) == 1


@pytest.mark.parametrize(
    ("values", "cancelled", "code"), [({"amount": None}, False, "nothing_to_pay"), ({}, True, "booking_cancelled")]
)
async def test_what_cannot_be_paid_gets_no_link(client, authorized, stripe, book, ask, query, values, cancelled, code):
    booking = await book(**values)
    if cancelled:
        await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)

    response = await ask(booking)

    assert (response.status_code, response.json()["error"]) == (409, code)
    assert (stripe.requests, await query(payments_of(booking))) == ((), [])


async def test_cancelling_withdraws_the_payment_its_link_and_its_reminder(client, authorized, stripe, book, ask, query):
    booking = await book()
    payment = (await ask(booking)).json()

    cancelled = await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)

    assert (cancelled.json()["status"], cancelled.json()["payment_status"]) == ("cancelled", "none")
    assert (await client.get(f"/api/payments/{payment['id']}", headers=authorized)).json()["status"] == "cancelled"
    assert [status for status, _ in await query(reminders_of(booking))] == ["cancelled"]
    assert [link["active"] for link in stripe.links] == [False]


async def test_cancelling_does_not_need_stripe(client, authorized, stripe, book, ask):
    booking = await book()
    await ask(booking)
    stripe.script(*[answer_json({"error": {"type": "api_error"}}, status=500)] * 3)

    cancelled = await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert [link["active"] for link in stripe.links] == [True]

    await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)
    assert [link["active"] for link in stripe.links] == [False]


async def test_a_booking_cancelled_while_its_link_is_made_leaves_no_open_link(
    client, authorized, stripe, book, ask, query, monkeypatch
):
    booking = await book()
    original = stripe.handle

    def cancel_first(request):
        if request.path == "/v1/payment_links":
            cancelling = client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)
            asyncio.run_coroutine_threadsafe(cancelling, loop).result(20)
        return original(request)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(stripe, "handle", cancel_first)

    response = await ask(booking)

    assert (response.status_code, response.json()["error"]) == (409, "payment_changed")
    assert [link["active"] for link in stripe.links] == [False]
    assert await query(payments_of(booking)) == [("cancelled", None)]
    assert await query(reminders_of(booking)) == []


async def test_a_payment_that_is_over_when_its_link_arrives_is_not_given_out(
    app, stripe, book, ask, query, monkeypatch
):
    """Another call had kept the same link already."""
    booking = await book()
    original = stripe.handle

    async def keep_and_withdraw() -> None:
        (link,) = stripe.links
        async with app.state.parts.database.session() as session:
            await session.execute(
                update(tables.Payment)
                .where(tables.Payment.booking_id == uuid.UUID(booking["id"]))
                .values(status="cancelled", payment_link_id=link["id"], payment_link_url=link["url"])
            )
            await session.commit()

    def withdraw_then_answer(request):
        answer = original(request)
        if request.path == "/v1/payment_links":
            asyncio.run_coroutine_threadsafe(keep_and_withdraw(), loop).result(20)
        return answer

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(stripe, "handle", withdraw_then_answer)

    response = await ask(booking)

    assert (response.status_code, response.json().get("error")) == (409, "payment_changed")
    assert [link["active"] for link in stripe.links] == [False]


async def test_a_payment_is_not_given_up_under_the_hands_of_another_call(app, business, book, ask, query, monkeypatch):
    booking = await book()
    asked, locked = asyncio.Event(), asyncio.Event()

    async def fail_late(*_: object, **__: object) -> None:
        asked.set()
        await locked.wait()
        raise PaymentsUnavailableError("HTTP 500", settled=True)

    async def wait_until_it_waits() -> None:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not giving_up.done() and not await query(text(waiting)):
            pass

    monkeypatch.setattr(app.state.parts.links, "create", fail_late)
    giving_up = asyncio.create_task(ask(booking))
    await asked.wait()
    ((before,),) = await query(select(tables.Payment.id).where(tables.Payment.booking_id == uuid.UUID(booking["id"])))
    async with app.state.parts.database.session() as session:
        mine = await _lock_payable(session, business.tenant_id, uuid.UUID(booking["id"]))
        locked.set()
        await wait_until_it_waits()
        kept = await _open_payment(session, mine)
        await session.commit()

    assert (kept.id, kept.status) == (before, "pending")
    assert (await giving_up).status_code == 503
    assert [row.status for row in await query(payments_of(booking))] == ["cancelled"]


async def test_no_connection_is_held_while_stripe_is_asked(app, stripe, book, ask, monkeypatch):
    booking = await book()
    original = stripe.handle
    held = []

    def look(request):
        held.append(app.state.parts.database._engine.pool.checkedout())
        return original(request)

    monkeypatch.setattr(stripe, "handle", look)

    assert (await ask(booking)).status_code == 201
    assert held == [0]


FAILURES = {
    "declined": (error(402, "card_error", f"canary {API_KEY}", code="card_declined"), 502, "payment_refused", "failed"),
    "invalid": (
        error(400, "invalid_request_error", "canary", code="amount_too_large"),
        502,
        "payment_refused",
        "failed",
    ),
    "unknown": (error(404, "invalid_request_error", "canary"), 502, "payment_refused", "failed"),
    "bad key": (error(401, "invalid_request_error", f"canary {API_KEY}"), 503, "payments_unavailable", "pending"),
    "not allowed": (error(403, "invalid_request_error", f"canary {API_KEY}"), 503, "payments_unavailable", "pending"),
    "too many": (error(429, "invalid_request_error", "canary"), 503, "payments_unavailable", "pending"),
    "in use": (error(409, "invalid_request_error", "canary"), 503, "payments_unavailable", "pending"),
    "changed": (error(400, "idempotency_error", "canary"), 503, "payments_unavailable", "cancelled"),
    "failing": (error(500, "api_error", "canary"), 503, "payments_unavailable", "cancelled"),
    "away": (Answer(503, b"<html>canary</html>"), 503, "payments_unavailable", "cancelled"),
    "cut": (Cut(answer_json({"id": "canary"}), after=4), 503, "payments_unavailable", "pending"),
    "not http": (Garbage(), 503, "payments_unavailable", "pending"),
    "not json": (Answer(200, b"\xff\x00 canary"), 503, "payments_unavailable", "pending"),
    "empty": (Answer(200), 503, "payments_unavailable", "pending"),
    "null": (Answer(200, b"null"), 503, "payments_unavailable", "pending"),
    "a list": (Answer(200, b"[]"), 503, "payments_unavailable", "pending"),
    "a number": (Answer(200, b"1"), 503, "payments_unavailable", "pending"),
    "no link": (Answer(200, b"{}"), 503, "payments_unavailable", "pending"),
    "an odd link": (answer_json({"id": 1, "url": ["canary"]}), 503, "payments_unavailable", "pending"),
    "a bad address": (
        answer_json({"id": "plink_1", "url": "javascript:canary"}),
        503,
        "payments_unavailable",
        "pending",
    ),
    "a null in the id": (answer_json({"id": "plink_\0", "url": "https://x"}), 503, "payments_unavailable", "pending"),
    "a surrogate in the id": (
        answer_json({"id": "plink_\ud800", "url": "https://x"}),
        503,
        "payments_unavailable",
        "pending",
    ),
    "a null in the address": (
        answer_json({"id": "plink_1", "url": "https://x/\0"}),
        503,
        "payments_unavailable",
        "pending",
    ),
    "deep": (Answer(200, b"[" * 100_000), 503, "payments_unavailable", "pending"),
    "an odd error": (answer_json({"error": "canary"}, status=400), 503, "payments_unavailable", "pending"),
    "no error": (answer_json({"error": None}, status=402), 503, "payments_unavailable", "pending"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_whatever_stripe_answers_is_answered_in_form(stripe, book, ask, query, caplog, failure):
    caplog.set_level(logging.DEBUG)
    reply, status, code, left = FAILURES[failure]
    booking = await book()
    stripe.script(reply, reply, reply)

    response = await ask(booking)

    body = response.json()
    assert (response.status_code, body["error"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == (status == 503)
    assert body["message"]
    assert body["action"]
    assert [row.status for row in await query(payments_of(booking))] == [left]
    for canary in ("canary", API_KEY, API_KEY[-4:], "+4930123456", "Canary Customer"):
        assert canary not in response.text
        assert canary not in "\n".join(json.dumps(vars(record), default=str) for record in ours(caplog.records))

    stripe.script()
    stripe.clear()
    mended = await ask(booking)
    assert mended.status_code == 201, mended.text
    assert mended.json()["payment_link_url"] == stripe.links[0]["url"]


def ours(records):
    """The records that a service keeps: the loggers of the test's own server and client are not among them."""
    return [record for record in records if not record.name.startswith(("sqlalchemy", "asyncio"))]


@pytest.mark.parametrize("reply", [Hang(), Drip(answer_json({"id": "plink_1", "url": "https://x"}), pause=0.2)])
async def test_stripe_has_so_long_in_all(app, stripe, book, ask, query, monkeypatch, reply):
    booking = await book()
    stripe.script(reply, reply, reply)

    with monkeypatch.context() as impatient:
        impatient.setattr(app.state.parts.links, "_timeout", 0.4)
        response = await ask(booking)

    assert (response.status_code, response.json()["error"]) == (503, "payments_unavailable"), response.text
    assert [row.status for row in await query(payments_of(booking))] == ["pending"]
    stripe.clear()
    assert (await ask(booking)).status_code == 201


@pytest.fixture
def recorded(monkeypatch):
    """What is put on record of the calls of Stripe."""
    calls = []

    def record(vendor: str, outcome: str, *_: object, **__: object) -> None:
        calls.append((vendor, outcome))

    monkeypatch.setattr("app.services.stripe_service.CALLS.record", record)
    return calls


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (None, "ok"),
        (error(402, "card_error", "no", code="card_declined"), "refused"),
        (answer_json({}), "failed"),
        (answer_json({"id": "plink_1", "url": "javascript:x"}), "failed"),
    ],
    ids=["a link", "declined", "nothing", "no address"],
)
async def test_a_call_is_good_on_record_when_its_answer_made_sense(stripe, book, ask, recorded, reply, outcome):
    booking = await book()
    stripe.script(*([reply] if reply else []))

    await ask(booking)

    assert recorded == [("stripe", outcome)]


async def test_a_call_that_was_cancelled_is_not_on_record_as_good(app, stripe, recorded):
    stripe.script(Hang())
    deactivating = asyncio.create_task(app.state.parts.links.deactivate("plink_1"))
    await asyncio.to_thread(stripe.wait_for_requests, 1)
    deactivating.cancel()
    await asyncio.wait({deactivating})
    stripe.release()

    assert (deactivating.cancelled(), recorded) == (True, [])


async def test_a_stripe_that_is_gone_is_unavailable(stripe, book, ask):
    booking = await book()
    stripe.__exit__()

    response = await ask(booking)

    assert (response.status_code, response.json()["error"]) == (503, "payments_unavailable")


async def test_a_failure_that_passes_is_tried_again(stripe, book, ask):
    stripe.script(error(500, "api_error", "once"), Cut(Answer(body=b"half of it"), after=1))

    assert (await ask(await book())).status_code == 201
    assert len({request.headers["idempotency-key"] for request in stripe.wait_for_requests(3)}) == 1


async def test_a_refused_payment_is_told_and_can_be_asked_for_again(client, authorized, stripe, book, ask, query):
    booking = await book()
    stripe.script(error(402, "card_error", "no", code="card_declined"))
    assert (await ask(booking)).status_code == 502
    path = f"{PATH}/{booking['id']}"

    assert (await client.get(path, headers=authorized)).json()["payment_status"] == "failed"
    assert (await ask(booking)).status_code == 201
    assert (await client.get(path, headers=authorized)).json()["payment_status"] == "pending"
    assert [row.status for row in await query(payments_of(booking))] == ["failed", "pending"]
    assert len({request.headers["idempotency-key"] for request in stripe.requests}) == 2


async def test_an_unknown_payment_is_not_found(client, authorized):
    response = await client.get(f"/api/payments/{uuid.uuid4()}", headers=authorized)

    assert (response.status_code, response.json()["error"]) == (404, "not_found")


class TestWithoutStripe:
    @pytest.fixture
    def stripe_settings(self) -> dict[str, object]:
        return {"rate_limit": "off"}

    async def test_bookings_are_made_and_payments_are_not(self, app, client, authorized, book, ask, query):
        booking = await book()

        response = await ask(booking)

        assert (response.status_code, response.json()["error"]) == (503, "payments_not_configured")
        assert "STRIPE_API_KEY" in response.json()["action"]
        assert await query(payments_of(booking)) == []
        assert (await client.post(f"{PATH}/{booking['id']}/cancel", headers=authorized)).status_code == 200

    async def test_events_are_not_taken(self, client):
        response = await client.post("/api/webhooks/stripe", content=b"{}")

        assert (response.status_code, response.json()["error"]) == (503, "payments_not_configured")


async def test_a_payment_goes_with_its_tenant(app, business, book, ask, query):
    await ask(await book())
    async with app.state.parts.database.session() as session:
        await session.execute(text("DELETE FROM tenants WHERE id = :id"), {"id": business.tenant_id})
        await session.commit()

    assert await query(select(tables.Payment.id).where(tables.Payment.tenant_id == business.tenant_id)) == []


class TestScripts:
    """The call that scripts make, by the settings of the environment."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch, stripe, stripe_settings):
        monkeypatch.setenv("DATABASE_URL", "postgresql://maya:pw@127.0.0.1:1/maya")
        for name, value in stripe_settings.items():
            monkeypatch.setenv(name.upper(), str(value))

    @pytest.mark.parametrize(
        ("amount", "units"), [(100.00, "10000"), (19.99, "1999"), ("0.50", "50"), (7, "700"), (0.57, "57")]
    )
    def test_an_amount_and_a_description_make_a_link(self, stripe, amount, units):
        service = StripeService()

        result = service.create_payment_link(amount=amount, description="Test booking")

        assert result["payment_link_url"] == stripe.links[0]["url"]
        assert result["payment_link_id"] == stripe.links[0]["id"]
        assert stripe.requests[0].form["line_items[0][price_data][unit_amount]"] == units

    async def test_it_works_within_an_event_loop(self, stripe):
        result = StripeService().create_payment_link(100, "Test booking", currency="usd", metadata={"from": "a test"})

        assert result["payment_link_url"] == stripe.links[0]["url"]
        assert stripe.links[0]["metadata"] == {"from": "a test"}

    @pytest.mark.parametrize("amount", [0.1 + 0.2, 0, -1, float("nan"), float("inf"), 1e18, True, "1,00", None])
    def test_an_amount_that_cannot_be_paid_is_refused_before_stripe_is_asked(self, stripe, amount):
        with pytest.raises(ValueError, match="must"):
            StripeService().create_payment_link(amount=amount, description="Test booking")

        assert stripe.requests == ()

    def test_without_stripe_it_says_what_to_set(self, monkeypatch):
        from app.services.stripe_service import PaymentsError

        monkeypatch.delenv("STRIPE_API_KEY")
        monkeypatch.delenv("STRIPE_WEBHOOK_SECRET")

        with pytest.raises(PaymentsError, match="STRIPE_API_KEY"):
            StripeService().create_payment_link(amount=100.00, description="Test booking")
