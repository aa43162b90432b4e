"""Bookings: booked, listed, paid by a signed webhook, cancelled; and no slot twice.

Everything that is booked is cancelled again, years ahead of any real booking.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairlead.verification.api import AnswerError, Api, Reply
from fairlead.verification.endtoend import NotChecked
from fairlead.verification.phases import InPhase

SUITE_ORDER = 4
BOOKINGS, PAYMENTS, WEBHOOK = "/api/bookings", "/api/payments", "/api/webhooks/stripe"
_SECRET = "VERIFY_STRIPE_WEBHOOK_SECRET"
_NOT_CONFIGURED = "the service says that Stripe is not configured"
#: How long, in seconds, is waited before it is looked for what came of a request whose answer was lost, each time.
_PAUSES = (0.0, 0.5, 1.5)

#: `with asked(api, make_request(mark)) as reply: …`
Asked = Callable[[Api, dict[str, Any]], AbstractContextManager[Reply]]

#: `with booked(amount="12.50") as booking: …`
Booked = Callable[..., AbstractContextManager[dict[str, Any]]]


def make_request(mark: str, **values: Any) -> dict[str, Any]:
    """Make the request for a booking in a slot that nobody else takes."""
    minutes = secrets.randbelow(5 * 365 * 24 * 12) * 5
    starts_at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=3650, minutes=minutes)
    return {"customer_name": mark, "starts_at": starts_at.isoformat(), "duration_minutes": 5, **values}


def find_made(by: Api, request: dict[str, Any], reply: Reply | None) -> list[str]:
    """Return the ids of what was booked: the answer says so or, where it was lost or is none, its slot does."""
    if reply is not None and 400 <= reply.status < 500:
        return []
    if reply is not None and reply.status < 300:
        with contextlib.suppress(AnswerError, KeyError):
            return [reply.object(reply.status)["id"]]
    try:
        starts_at = datetime.fromisoformat(request["starts_at"]).astimezone(UTC)
    except ValueError:
        return []
    window = {"from": starts_at.isoformat(), "to": (starts_at + timedelta(minutes=5)).isoformat()}
    for pause in _PAUSES if reply is None else (0.0,):
        time.sleep(pause)
        there = by.get(BOOKINGS, params=window | {"status": "confirmed"}).object()["items"]
        if found := [one["id"] for one in there if one["customer_name"] == request["customer_name"]]:
            return found
    return []


@pytest.fixture
def asked(phase: InPhase, undone: Any) -> Asked:
    """Give what asks for a booking and cancels at the end what came of it, also when no answer did."""

    @contextlib.contextmanager
    def ask(by: Api, request: dict[str, Any]) -> Iterator[Reply]:
        reply: Reply | None = None

        def cancel() -> None:
            with phase("persistence"):
                for booking_id in find_made(by, request, reply):
                    assert by.post(f"{BOOKINGS}/{booking_id}/cancel").object()["status"] == "cancelled"

        with undone(cancel):
            with phase("update"):
                reply = by.post(BOOKINGS, request)
            yield reply

    return ask


@pytest.fixture
def booked(account: Api, asked: Asked, phase: InPhase, mark: str) -> Booked:
    """Give what books a slot and cancels it at the end, also when the check is broken off."""

    @contextlib.contextmanager
    def book(**values: Any) -> Iterator[dict[str, Any]]:
        with asked(account, make_request(mark, **values)) as reply:
            with phase("update"):
                booking = reply.object(201)
            yield booking

    return book


@pytest.fixture
def paid_booking(account: Api, booked: Booked, phase: InPhase, not_checked: NotChecked) -> Iterator[tuple[Any, Any]]:
    """Give a booking with its pending payment, where the service has Stripe."""
    with booked(amount="12.50", currency="eur") as booking:
        with phase("integration"):
            reply = account.post(f"{BOOKINGS}/{booking['id']}/payment-link")
            payment = None if reply.status == 503 else reply.object(201)
            if payment is None and reply.problem(503)["error"] != "payments_not_configured":
                reply.expect(201)
        if payment is None:
            not_checked(_NOT_CONFIGURED, integration="stripe")
        yield booking, payment


@pytest.mark.smoke
def test_a_booking_is_kept_listed_and_cancelled(account: Api, booked: Booked, phase: InPhase, mark: str) -> None:
    with booked(notes=f"note {mark}") as booking:
        path = f"{BOOKINGS}/{booking['id']}"
        with phase("persistence"):
            read = account.get(path).object()
            assert read == booking
            assert (read["status"], read["customer_name"], read["notes"]) == ("confirmed", mark, f"note {mark}")
            window = {"from": booking["starts_at"], "to": booking["ends_at"]}
            listed = account.get(BOOKINGS, params=window).object()["items"]
            assert booking["id"] in [one["id"] for one in listed]
    with phase("state"):
        assert account.get(path).object()["status"] == "cancelled"
        assert account.post(f"{path}/cancel").object()["status"] == "cancelled", "cancelling twice is no error"


@pytest.mark.smoke
@pytest.mark.phase("authentication")
def test_nobody_books_without_a_token(api: Api, asked: Asked, mark: str) -> None:
    with asked(api, make_request(mark)) as reply:
        reply.problem(401, code="not_authenticated")
    api.get(BOOKINGS).problem(401, code="not_authenticated")


def test_no_slot_is_booked_twice_unless_it_was_cancelled(
    account: Api, asked: Asked, booked: Booked, phase: InPhase
) -> None:
    with booked() as booking:
        same = {name: booking[name] for name in ("customer_name", "starts_at")} | {"duration_minutes": 5}
        with asked(account, same) as reply, phase("state"):
            reply.problem(409, code="slot_taken")
    with booked(starts_at=booking["starts_at"]) as again:
        assert again["id"] != booking["id"]


def test_the_list_is_read_page_by_page(account: Api, booked: Booked, phase: InPhase) -> None:
    with booked() as first:
        later = datetime.fromisoformat(first["ends_at"]) + timedelta(hours=1)
        with booked(starts_at=later.isoformat()) as second, phase("fetch"):
            window = {"from": first["starts_at"], "to": second["ends_at"], "status": "confirmed", "limit": 1}
            pages, cursor = [], None
            while len(pages) < 20 and (cursor or not pages):
                page = account.get(BOOKINGS, params=window | ({"cursor": cursor} if cursor else {})).object()
                pages.append([one["id"] for one in page["items"]])
                cursor = page["next_cursor"]
            assert all(len(page) <= 1 for page in pages)
            seen = [one for page in pages for one in page]
            assert seen.index(second["id"]) < seen.index(first["id"]), "the newest start comes first"
            assert len(seen) == len(set(seen)), "a booking stands on two pages"
    with phase("fetch"):
        account.get(BOOKINGS, params={"cursor": "no cursor"}).problem(422)


@pytest.mark.parametrize(
    "wrong",
    [
        {"starts_at": "2031-02-30T10:00:00Z"},
        {"starts_at": "2031-02-20T10:00:00"},
        {"duration_minutes": 0},
        {"duration_minutes": 1441},
        {"customer_name": ""},
        {"amount": "-1"},
        {"amount": "0"},
        {"amount": "NaN"},
        {"amount": "1.005"},
        {"amount": "1000000000000000000"},
        {"amount": "10.00", "currency": "euro"},
        {"unknown": 1},
    ],
)
@pytest.mark.phase("update")
def test_what_cannot_be_booked_is_refused(account: Api, asked: Asked, mark: str, wrong: dict[str, Any]) -> None:
    with asked(account, make_request(mark, **wrong)) as reply:
        reply.problem(422)


@pytest.mark.phase("fetch")
def test_what_is_unknown_is_not_found(account: Api) -> None:
    for path in (f"{BOOKINGS}/{uuid.uuid4()}", f"{PAYMENTS}/{uuid.uuid4()}"):
        account.get(path).problem(404, code="not_found")
    account.post(f"{BOOKINGS}/{uuid.uuid4()}/cancel").problem(404, code="not_found")


def test_a_payment_link_is_made_once(account: Api, paid_booking: Any, phase: InPhase) -> None:
    booking, payment = paid_booking
    with phase("integration"):
        assert payment["payment_link_url"].startswith("http")
        assert (payment["status"], payment["amount"], payment["currency"]) == ("pending", "12.50", "eur")
        again = account.post(f"{BOOKINGS}/{booking['id']}/payment-link").object(200)
        assert (again["id"], again["payment_link_url"]) == (payment["id"], payment["payment_link_url"])
    with phase("state"):
        assert account.get(f"{BOOKINGS}/{booking['id']}").object()["payment_status"] == "pending"


def test_a_booking_is_paid_by_a_signed_webhook(
    api: Api, account: Api, paid_booking: Any, phase: InPhase, not_checked: NotChecked
) -> None:
    booking, payment = paid_booking
    secret = os.environ.get(_SECRET)
    if not secret:
        not_checked(f"{_SECRET} is not set, so no webhook can be signed", integration="stripe-webhook")
    with phase("fetch"):
        event = make_event(payment, business_id=account.get("/api/business/me").object()["id"])
    with phase("integration"):
        _send(api, event, secret="whsec_not_the_one").problem(400, code="invalid_signature")
        _send(api, event, secret=secret, age=3600).problem(400, code="invalid_signature")
    with phase("state"):
        assert account.get(f"{PAYMENTS}/{payment['id']}").object()["status"] == "pending"
    with phase("integration"):
        _send(api, event, secret=secret).object()
    with phase("persistence"):
        paid = account.get(f"{PAYMENTS}/{payment['id']}").object()
        assert (paid["status"], paid["amount"]) == ("paid", "12.50")
        assert account.get(f"{BOOKINGS}/{booking['id']}").object()["payment_status"] == "paid"
    with phase("state"):
        _send(api, event, secret=secret).object()
        assert account.get(f"{PAYMENTS}/{payment['id']}").object() == paid, "the same event twice changes something"


@pytest.mark.smoke
@pytest.mark.phase("integration")
def test_a_webhook_that_nobody_signed_is_refused(api: Api, not_checked: NotChecked) -> None:
    reply = api.post(WEBHOOK, {"id": "evt_unsigned", "type": "checkout.session.completed"})
    if reply.status != 503:
        reply.problem(400, code="invalid_signature")
        return
    reply.problem(503, code="payments_not_configured")
    not_checked(_NOT_CONFIGURED, integration="stripe")


def make_event(payment: dict[str, Any], *, business_id: str) -> bytes:
    """Make the event that Stripe sends when a checkout is paid; the metadata are those of the payment link."""
    mark = uuid.uuid4().hex
    session = {
        "id": f"cs_test_{mark}",
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": f"pi_{mark}",
        "amount_total": 1250,
        "currency": "eur",
        "livemode": False,
        "metadata": {"payment_id": payment["id"], "tenant_id": business_id},
    }
    event = {
        "id": f"evt_{mark}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "type": "checkout.session.completed",
        "data": {"object": session},
    }
    return json.dumps(event).encode()


def _send(api: Api, event: bytes, *, secret: str, age: int = 0) -> Reply:
    """Send an event signed as Stripe signs it: HMAC-SHA256 over the time and the body."""
    stamp = int(time.time()) - age
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + event, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={stamp},v1={signature}"}
    return api.request("POST", WEBHOOK, content=event, headers=headers)
