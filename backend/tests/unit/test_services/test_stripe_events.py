import itertools
import uuid

import pytest

from app.services.stripe_events import next_status, read_message
from app.services.stripe_service import StripeEvent

STATUSES = ("pending", "paid", "failed", "cancelled", "refunded")
OUTCOMES = ("paid", "failed", "refunded")
PAYMENT, TENANT = uuid.uuid4(), uuid.uuid4()
OURS = {"metadata": {"payment_id": str(PAYMENT), "tenant_id": str(TENANT)}}


def event(kind: str, subject: dict) -> StripeEvent:
    return StripeEvent.model_validate({"id": "evt_1", "type": kind, "created": 1, "data": {"object": subject}})


@pytest.mark.parametrize("outcomes", list(itertools.permutations(OUTCOMES)))
def test_a_payment_ends_alike_in_whatever_order_its_events_come(outcomes):
    """Once money was given back, nothing that arrives late says otherwise."""
    status = "pending"
    for outcome in outcomes:
        status = next_status(status, outcome) or status

    assert status == "refunded"


@pytest.mark.parametrize("order", list(itertools.permutations(("paid", "failed"))))
def test_a_payment_that_was_made_stays_made(order):
    status = "pending"
    for outcome in order:
        status = next_status(status, outcome) or status

    assert status == "paid"


@pytest.mark.parametrize(("status", "outcome"), list(itertools.product(STATUSES, OUTCOMES)))
def test_hearing_it_again_changes_nothing(status, outcome):
    once = next_status(status, outcome) or status

    assert next_status(once, outcome) is None


@pytest.mark.parametrize(
    ("kind", "subject", "outcome"),
    [
        ("checkout.session.completed", OURS | {"payment_status": "paid", "amount_total": 5}, "paid"),
        ("checkout.session.completed", OURS | {"payment_status": "unpaid", "amount_total": 5}, "begun"),
        ("checkout.session.async_payment_succeeded", OURS | {"payment_status": "paid", "amount_total": 5}, "paid"),
        ("checkout.session.async_payment_failed", OURS | {"payment_status": "unpaid", "amount_total": 5}, "failed"),
        ("charge.refunded", OURS | {"refunded": True, "amount": 5}, "refunded"),
        ("charge.refunded", OURS | {"refunded": False, "amount": 5}, None),
        ("charge.refunded", OURS | {"amount": 5}, None),
        ("charge.succeeded", OURS | {"amount": 5}, None),
        ("checkout.session.completed", {"payment_status": "paid", "amount_total": 5}, None),
        ("checkout.session.completed", {"metadata": {"payment_id": str(PAYMENT)}}, None),
        ("checkout.session.completed", {"metadata": {"payment_id": 1, "tenant_id": 2}}, None),
    ],
)
def test_an_event_says_something_of_a_payment_of_ours_or_nothing(kind, subject, outcome):
    message = read_message(event(kind, subject))

    if outcome is None:
        assert message is None
    else:
        assert message is not None
        assert (message.outcome, message.payment_id, message.tenant_id, message.amount) == (outcome, PAYMENT, TENANT, 5)
