import asyncio
import json
import time
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app.models import tables
from backend.tests.vendors.stripe_server import WEBHOOK_SECRET, charge_of, error, event, session_of, sign
from backend.tests.vendors.twilio_server import ACCOUNT_SID, AUTH_TOKEN, FROM_NUMBER

pytestmark = pytest.mark.anyio

PATH = "/api/bookings"
COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
REFUNDED = "charge.refunded"
#: COMPLETED, and the money is still to come.
UNPAID = "unpaid"


@pytest.fixture
def pay(client, authorized):
    """Makes a booking, and asks for its payment."""
    begun = []

    async def pay(booking_id: str | None = None) -> dict:
        if booking_id is None:
            request = {
                "customer_name": "Ada",
                "customer_phone": "+4930123456",
                "starts_at": f"2030-01-{len(begun) + 1:02}T09:00:00Z",
                "duration_minutes": 30,
                "amount": "100.00",
            }
            begun.append(request)
            booking_id = (await client.post(PATH, headers=authorized, json=request)).json()["id"]
        response = await client.post(f"{PATH}/{booking_id}/payment-link", headers=authorized)
        assert response.status_code == 201, response.text
        return response.json()

    return pay


@pytest.fixture
def payment_status(client, authorized):
    async def payment_status(payment: dict) -> tuple[str, str]:
        """How the payment stands, and how its booking says it does."""
        told = (await client.get(f"/api/payments/{payment['id']}", headers=authorized)).json()
        assert (told["paid_at"] is not None) == (told["status"] in {"paid", "refunded"})
        booking = (await client.get(f"{PATH}/{payment['booking_id']}", headers=authorized)).json()
        return told["status"], booking["payment_status"]

    return payment_status


@pytest.fixture
def reminder_status(app):
    async def reminder_status(payment: dict) -> str | None:
        async with app.state.parts.database.session() as session:
            return await session.scalar(
                select(tables.PaymentReminder.status).where(
                    tables.PaymentReminder.payment_id == uuid.UUID(payment["id"])
                )
            )

    return reminder_status


def about(kind: str, payment: dict, tenant_id, *, amount: int = 10000, identity: str | None = None, **values) -> bytes:
    make = charge_of if kind == REFUNDED else session_of
    return event(kind, make(payment, tenant_id, amount=amount) | values, identity=identity)


async def test_a_completed_session_pays_the_booking(client, authorized, business, pay, tell, payment_status):
    payment = await pay()
    body = event(COMPLETED, session_of(payment, business.tenant_id, amount=10000), created=1_900_000_000)

    response = await tell(body)

    assert (response.status_code, response.json()) == (200, {"received": True})
    assert response.headers["cache-control"] == "no-store"
    assert await payment_status(payment) == ("paid", "paid")
    told = (await client.get(f"/api/payments/{payment['id']}", headers=authorized)).json()
    assert told["paid_at"] == "2030-03-17T17:46:40Z"


@pytest.mark.parametrize(
    ("kinds", "status", "reminder"),
    [
        ([], "pending", "pending"),
        ([COMPLETED], "paid", "cancelled"),
        ([SUCCEEDED], "paid", "cancelled"),
        ([FAILED], "failed", "cancelled"),
        ([COMPLETED, SUCCEEDED], "paid", "cancelled"),
        ([COMPLETED, REFUNDED], "refunded", "cancelled"),
        ([FAILED, SUCCEEDED], "paid", "cancelled"),
        # Out of order.
        ([REFUNDED], "refunded", "cancelled"),
        ([REFUNDED, COMPLETED], "refunded", "cancelled"),
        ([REFUNDED, FAILED, SUCCEEDED], "refunded", "cancelled"),
        ([SUCCEEDED, UNPAID], "paid", "cancelled"),
        # Paid by what takes days: nobody is reminded meanwhile.
        ([UNPAID], "pending", "cancelled"),
        ([UNPAID, SUCCEEDED], "paid", "cancelled"),
        ([UNPAID, FAILED], "failed", "cancelled"),
        ([COMPLETED, FAILED], "paid", "cancelled"),
        ([FAILED, REFUNDED], "refunded", "cancelled"),
        # Nothing to us.
        (["payment_link.created", "customer.deleted", "checkout.session.expired"], "pending", "pending"),
    ],
)
async def test_events_take_effect_in_whatever_order(
    business, pay, tell, payment_status, reminder_status, kinds, status, reminder
):
    payment = await pay()

    for kind in kinds:
        told = {"kind": COMPLETED, "payment_status": UNPAID} if kind == UNPAID else {"kind": kind}
        assert (await tell(about(payment=payment, tenant_id=business.tenant_id, **told))).status_code == 200

    assert await payment_status(payment) == (status, status)
    assert await reminder_status(payment) == reminder


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (COMPLETED, {"amount_total": 1}),
        (COMPLETED, {"amount_total": 10001}),
        (COMPLETED, {"amount_total": 100.0}),
        (COMPLETED, {"amount_total": True}),
        (COMPLETED, {"amount_total": "10000"}),
        (COMPLETED, {"amount_total": None}),
        (COMPLETED, {"currency": "jpy"}),
        (COMPLETED, {"currency": None}),
        (REFUNDED, {"amount": 1}),
        (REFUNDED, {"currency": "usd"}),
    ],
)
async def test_another_amount_than_was_asked_for_changes_nothing_and_is_reported(
    business, pay, tell, payment_status, caplog, kind, values
):
    payment = await pay()

    response = await tell(about(kind, payment, business.tenant_id, **values))

    assert response.status_code == 200
    assert await payment_status(payment) == ("pending", "pending")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.payment_id == payment["id"]
    assert "another amount" in record.message


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (COMPLETED, {"payment_status": "unpaid"}),
        (REFUNDED, {"refunded": False, "amount_refunded": 5000}),
        (COMPLETED, {"metadata": {}}),
        (COMPLETED, {"metadata": None}),
        (COMPLETED, {"metadata": ["payment_id"]}),
        (COMPLETED, {"metadata": {"payment_id": "1; DROP TABLE payments", "tenant_id": "x"}}),
        (COMPLETED, {"metadata": {"payment_id": 7, "tenant_id": None}}),
        (COMPLETED, {"metadata": {"payment_id": str(uuid.UUID(int=1)), "tenant_id": str(uuid.UUID(int=2))}}),
    ],
)
async def test_what_is_no_payment_of_ours_is_acknowledged(business, pay, tell, payment_status, kind, values):
    payment = await pay()

    response = await tell(about(kind, payment, business.tenant_id, **values))

    assert response.status_code == 200
    assert await payment_status(payment) == ("pending", "pending")


async def test_an_event_with_another_tenants_name_does_nothing(open_business, pay, tell, payment_status):
    payment = await pay()

    response = await tell(about(COMPLETED, payment, (await open_business()).tenant_id))

    assert response.status_code == 200
    assert await payment_status(payment) == ("pending", "pending")


async def test_the_same_event_twenty_times_at_once_takes_effect_once(app, business, pay, tell, payment_status):
    payment = await pay()
    identity = f"evt_{uuid.uuid4().hex}"
    body = about(COMPLETED, payment, business.tenant_id, identity=identity)

    answers = await asyncio.gather(*(tell(body) for _ in range(20)))

    assert [answer.status_code for answer in answers] == [200] * 20
    assert await payment_status(payment) == ("paid", "paid")
    async with app.state.parts.database.session() as session:
        kept = select(func.count()).select_from(tables.WebhookEvent).where(tables.WebhookEvent.id == identity)
        assert await session.scalar(kept) == 1


async def test_an_event_that_took_effect_never_does_again(app, business, pay, tell, payment_status):
    """Also when the payment would take it once more."""
    payment = await pay()
    body = about(FAILED, payment, business.tenant_id)
    await tell(body)
    async with app.state.parts.database.session() as session:
        kept = await session.get(tables.Payment, uuid.UUID(payment["id"]))
        kept.status = "pending"
        await session.commit()

    assert (await tell(body)).status_code == 200

    assert (await payment_status(payment))[0] == "pending"


async def test_events_of_long_ago_are_forgotten(app, business, pay, tell):
    payment = await pay()
    ages = {f"evt_{uuid.uuid4().hex}": timedelta(days=days) for days in (29, 31, 90)}
    async with app.state.parts.database.session() as session:
        session.add_all(
            tables.WebhookEvent(id=identity, type=COMPLETED, received_at=func.now() - age)
            for identity, age in ages.items()
        )
        await session.commit()

    await tell(about(COMPLETED, payment, business.tenant_id))

    async with app.state.parts.database.session() as session:
        kept = await session.scalars(select(tables.WebhookEvent.id).where(tables.WebhookEvent.id.in_(ages)))
        assert [ages[identity].days for identity in kept] == [29]


async def test_an_event_and_its_effect_are_kept_together_or_not_at_all(
    app, business, pay, tell, payment_status, monkeypatch
):
    payment = await pay()
    body = about(COMPLETED, payment, business.tenant_id)

    async def fail(*_: object, **__: object) -> None:
        raise ConnectionError("in the middle")

    with monkeypatch.context() as broken:
        broken.setattr("app.services.stripe_events.cancel_reminder", fail)
        assert (await tell(body)).status_code == 500
    assert await payment_status(payment) == ("pending", "pending")

    assert (await tell(body)).status_code == 200
    assert await payment_status(payment) == ("paid", "paid")


@pytest.mark.parametrize("again", [FAILED, COMPLETED])
async def test_different_events_of_a_payment_at_once_all_succeed(business, pay, tell, payment_status, again):
    payment = await pay()
    bodies = [about(kind, payment, business.tenant_id) for kind in (COMPLETED, SUCCEEDED, again, REFUNDED) * 3]

    answers = await asyncio.gather(*(tell(body) for body in bodies))

    assert {answer.status_code for answer in answers} == {200}
    assert await payment_status(payment) == ("refunded", "refunded")


async def test_a_late_payment_takes_the_place_of_the_one_made_after_it(
    stripe, business, pay, tell, payment_status, reminder_status
):
    """The first link failed, a second was made, and then the first was paid after all."""
    first = await pay()
    await tell(about(FAILED, first, business.tenant_id))
    second = await pay(first["booking_id"])

    await tell(about(SUCCEEDED, first, business.tenant_id))

    assert await payment_status(first) == ("paid", "paid")
    assert await payment_status(second) == ("cancelled", "paid")
    assert await reminder_status(second) == "cancelled"
    assert {link["url"]: link["active"] for link in stripe.links}[second["payment_link_url"]] is False


async def test_a_booking_paid_twice_is_reported(business, pay, tell, payment_status, caplog):
    first = await pay()
    await tell(about(FAILED, first, business.tenant_id))
    second = await pay(first["booking_id"])
    await tell(about(COMPLETED, second, business.tenant_id))

    assert (await tell(about(SUCCEEDED, first, business.tenant_id))).status_code == 200

    assert await payment_status(first) == ("failed", "paid")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.payment_id, "paid twice" in record.message) == (first["id"], True)


async def test_a_payment_of_a_cancelled_booking_is_kept_and_reported(
    client, authorized, stripe, business, pay, tell, payment_status, caplog
):
    payment = await pay()
    stripe.script(*[error(500, "api_error", "not now")] * 3)
    await client.post(f"{PATH}/{payment['booking_id']}/cancel", headers=authorized)

    assert (await tell(about(COMPLETED, payment, business.tenant_id))).status_code == 200

    assert await payment_status(payment) == ("paid", "paid")
    assert "a withdrawn payment was paid" in caplog.text


async def test_a_withdrawn_payment_that_was_given_back_already_is_not_reported(
    client, authorized, business, pay, tell, payment_status, caplog
):
    payment = await pay()
    await client.post(f"{PATH}/{payment['booking_id']}/cancel", headers=authorized)

    assert (await tell(about(REFUNDED, payment, business.tenant_id))).status_code == 200

    assert await payment_status(payment) == ("refunded", "refunded")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_paid_booking_is_not_paid_again(client, authorized, business, pay, tell):
    payment = await pay()
    await tell(about(COMPLETED, payment, business.tenant_id))

    response = await client.post(f"{PATH}/{payment['booking_id']}/payment-link", headers=authorized)

    assert (response.status_code, response.json()["error"]) == (409, "already_paid")


BODY = event(COMPLETED, {"id": "cs_1"}, identity="evt_1", created=1_900_000_000)


def signature_of(body: bytes, **how) -> str:
    return sign(body, **how)["Stripe-Signature"]


#: What is sent in place of the signature, made from the good one when the test runs.
FORGED = {
    "none": lambda good: None,
    "empty": lambda good: "",
    "no values": lambda good: "t=,v1=",
    "no signature at all": lambda good: "nothing",
    "another scheme": lambda good: good.replace("v1=", "v0="),
    "cut": lambda good: good[:-1],
    "longer": lambda good: good + "ü",
    "not ascii": lambda good: good.split("v1=")[0] + "v1=ü",
    "a huge time": lambda good: f"t={'9' * 5000},v1=00",
    "of another time": lambda good: f"t={int(time.time()) - 1},{good.split(',')[1]}",
    "old": lambda good: signature_of(BODY, at=int(time.time()) - 310),
    "of another secret": lambda good: signature_of(BODY, secret="whsec_another"),
    "of another body": lambda good: signature_of(BODY + b" "),
}

#: Signed, and still no event.
NO_EVENT = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "not json": b"not json",
    "not utf-8": b"\xff\xfe",
    "a number for id": b'{"id":1,"type":"x","created":1,"data":{"object":{}}}',
    "a null in the id": b'{"id":"evt_\\u0000","type":"x","created":1,"data":{"object":{}}}',
    "no id": b'{"id":"","type":"x","created":1,"data":{"object":{}}}',
    "before time began": b'{"id":"evt_1","type":"x","created":-1,"data":{"object":{}}}',
    "after all time": b'{"id":"evt_1","type":"x","created":1e400,"data":{"object":{}}}',
    "about a list": b'{"id":"evt_1","type":"x","created":1,"data":{"object":[]}}',
    "a long id": b'{"id":"' + b"e" * 256 + b'","type":"x","created":1,"data":{"object":{}}}',
    "deep": b"[" * 30_000,
}


@pytest.mark.parametrize("forged", FORGED)
async def test_what_stripe_did_not_sign_is_refused(client, forged):
    signature = FORGED[forged](signature_of(BODY))
    headers = {} if signature is None else {"Stripe-Signature": signature.encode()}

    response = await client.post("/api/webhooks/stripe", content=BODY, headers=headers)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_signature"), response.text
    assert WEBHOOK_SECRET not in response.text


async def test_what_stripe_signed_is_taken(tell):
    """What the test above refuses is refused for its signature, and not for something else."""
    assert (await tell(BODY)).status_code == 200
    assert (await tell(BODY, at=int(time.time()) - 200)).status_code == 200


@pytest.mark.parametrize("odd", NO_EVENT)
async def test_what_is_no_event_is_refused_whoever_signed_it(tell, odd):
    response = await tell(NO_EVENT[odd])

    assert (response.status_code, response.json()["error"]) == (400, "invalid_signature"), response.text


async def test_a_huge_event_is_refused(tell):
    assert (await tell(event(COMPLETED, {"filler": "x" * 70_000}))).status_code == 413


async def test_nothing_of_a_customer_is_logged(business, pay, tell, caplog):
    payment = await pay()
    await tell(about(COMPLETED, payment, business.tenant_id, amount_total=1))
    await tell(about(COMPLETED, payment, business.tenant_id))

    logged = "\n".join(json.dumps(vars(record), default=str) for record in caplog.records)
    for canary in ("customer-canary", "Canary Customer", "+4930123456", WEBHOOK_SECRET, payment["payment_link_url"]):
        assert canary not in logged


class TestSeveralSecrets:
    @pytest.fixture
    def stripe_settings(self, stripe_settings) -> dict[str, object]:
        return stripe_settings | {"stripe_webhook_secret": f"whsec_the-next, {WEBHOOK_SECRET}"}

    @pytest.mark.parametrize("secret", ["whsec_the-next", WEBHOOK_SECRET])
    async def test_each_may_sign_while_one_replaces_another(self, business, pay, tell, payment_status, secret):
        payment = await pay()

        response = await tell(about(COMPLETED, payment, business.tenant_id), secret=secret)

        assert response.status_code == 200
        assert await payment_status(payment) == ("paid", "paid")

    async def test_no_other_does(self, tell):
        assert (await tell(BODY, secret=f"whsec_the-next,{WEBHOOK_SECRET}")).status_code == 400


def read_figure(text: str, name: str, label: str) -> float:
    """What `/metrics` says of a name with this label."""
    found = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{name}{{") and label in line]
    return float(found[0]) if found else 0.0


async def test_what_became_of_messages_is_counted(client, business, pay, tell):
    payment = await pay()
    body = about(COMPLETED, payment, business.tenant_id)
    before = (await client.get("/metrics")).text
    await tell(body)
    await tell(body)
    await tell(event("payment_link.created", {}))
    await client.post("/api/webhooks/stripe", content=body)
    after = (await client.get("/metrics")).text

    for outcome in ("accepted", "repeated", "ignored", "refused"):
        label = f'outcome="{outcome}"'
        counted = read_figure(after, "maya_webhooks_total", label) - read_figure(before, "maya_webhooks_total", label)
        assert (outcome, counted) == (outcome, 1)


DELAY = timedelta(days=1)
#: What is changed of a reminder, and as what `/metrics` tells it.
ATTENTION = {
    "nobody took it": ({"due_at": func.now() - timedelta(minutes=11)}, "overdue"),
    "put off again and again": (
        {
            "due_at": func.now() + timedelta(minutes=9),
            "created_at": func.now() - DELAY - timedelta(minutes=11),
            "last_error": "Twilio answered 401 (code 20003)",
        },
        "overdue",
    ),
    "put off for the first time": (
        {
            "due_at": func.now() + timedelta(minutes=9),
            "created_at": func.now() - DELAY - timedelta(minutes=1),
            "last_error": "Twilio answered 429 (code 20429)",
        },
        None,
    ),
    "left by a worker": ({"status": "sending", "claimed_at": func.now() - timedelta(minutes=11)}, "doubtful"),
    "in hand": ({"status": "sending", "claimed_at": func.now()}, None),
    "failed": ({"status": "failed"}, "failed"),
    "unknown": ({"status": "unknown"}, "unknown"),
}


@pytest.mark.parametrize("case", ATTENTION)
async def test_reminders_that_need_attention_are_told(app, client, pay, case):
    values, told_as = ATTENTION[case]
    mine = tables.PaymentReminder.payment_id == uuid.UUID((await pay())["id"])
    before = (await client.get("/metrics")).text
    async with app.state.parts.database.session() as session:
        await session.execute(update(tables.PaymentReminder).where(mine).values(**values))
        await session.commit()
    after = (await client.get("/metrics")).text

    for state in ("overdue", "doubtful", "failed", "unknown"):
        label = f'state="{state}"'
        more = read_figure(after, "maya_reminders", label) - read_figure(before, "maya_reminders", label)
        assert (state, more) == (state, state == told_as)


class TestWithTwilio:
    @pytest.fixture
    def stripe_settings(self, stripe_settings) -> dict[str, object]:
        twilio = {"twilio_account_sid": ACCOUNT_SID, "twilio_auth_token": AUTH_TOKEN, "twilio_from_number": FROM_NUMBER}
        return stripe_settings | twilio | {"health_cache_seconds": 0}

    async def test_health_tells_of_reminders_that_do_not_go_out(self, app, client, pay):
        async def ask() -> tuple[int, dict]:
            response = await client.get("/api/health")
            return response.status_code, response.json()["checks"]["twilio"]

        async with app.state.parts.database.session() as session:
            # Other tests leave theirs in this database.
            await session.execute(update(tables.PaymentReminder).values(status="cancelled"))
            await session.commit()
        payment = await pay()
        assert await ask() == (200, {"status": "pass", "duration_ms": 0.0})

        mine = tables.PaymentReminder.payment_id == uuid.UUID(payment["id"])
        values, _ = ATTENTION["put off again and again"]
        async with app.state.parts.database.session() as session:
            await session.execute(update(tables.PaymentReminder).where(mine).values(**values))
            await session.commit()

        status, check = await ask()
        assert (status, check["status"]) == (200, "warn")
        assert check["output"] == "reminders are late by more than ten minutes"
