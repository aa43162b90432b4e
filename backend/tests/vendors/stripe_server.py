"""Owns the loopback Stripe: payment links with idempotency as Stripe documents it, and events signed as Stripe's are.

A process of its own: `python -m backend.tests.vendors.stripe_server` prints its address.
"""

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from backend.tests.vendors.vendor_server import (
    Answer,
    Reply,
    VendorRequest,
    VendorServer,
    answer_json,
    run_until_terminated,
)

#: Not secrets of any account; canaries, which must never appear where they are not sent.
API_KEY = "sk_test_canary4eC39HqLyjWDarjtT1zdp7dc"
WEBHOOK_SECRET = "whsec_canary5WbX5kEWLlfzsGNjH64I8lO"

_LINKS = "/v1/payment_links"


class StripeServer(VendorServer):
    """Makes payment links in memory, and remembers the answer to each idempotency key."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[bytes, Answer]] = {}
        self._links: dict[str, dict[str, Any]] = {}

    @property
    def links(self) -> list[dict[str, Any]]:
        """The links that were made, as Stripe renders them."""
        with self._lock:
            return [dict(link) for link in self._links.values()]

    def handle(self, request: VendorRequest) -> Reply:
        """Answer as Stripe does."""
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return error(401, "invalid_request_error", f"Invalid API Key provided: {API_KEY[:8]}****{API_KEY[-4:]}")
        if request.method != "POST" or not request.path.startswith(_LINKS):
            return error(404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path})")
        key = request.headers.get("idempotency-key")
        with self._lock:
            if key is None or key not in self._answers:
                answer = self._update(request)
                if key is not None:
                    self._answers[key] = (request.body, answer)
                return answer
            body, answer = self._answers[key]
        if body != request.body:
            return error(
                400, "idempotency_error", "Keys for idempotent requests can only be used with the same values."
            )
        return Answer(answer.status, answer.body, {**answer.headers, "Idempotent-Replayed": "true"})

    def _update(self, request: VendorRequest) -> Answer:
        form = request.form
        if request.path != _LINKS:
            link = self._links.get(request.path.removeprefix(f"{_LINKS}/"))
            if link is None:
                return error(404, "invalid_request_error", "No such payment link", code="resource_missing")
            link["active"] = form.get("active", "true") == "true"
            return answer_json(link)
        if not form.get("line_items[0][price_data][unit_amount]", "").isdigit():
            return error(400, "invalid_request_error", "Invalid integer", code="parameter_invalid_integer")
        identity = f"plink_{uuid.uuid4().hex}"
        metadata = {name[len("metadata[") : -1]: value for name, value in form.items() if name.startswith("metadata[")}
        self._links[identity] = {
            "id": identity,
            "object": "payment_link",
            "active": True,
            "currency": form["line_items[0][price_data][currency]"],
            "livemode": False,
            "metadata": metadata,
            "url": f"https://buy.stripe.com/test_{identity[6:20]}",
        }
        return answer_json(self._links[identity], headers={"Request-Id": f"req_{uuid.uuid4().hex[:14]}"})


def error(status: int, kind: str, message: str, *, code: str | None = None) -> Answer:
    """Make an error as Stripe renders it."""
    content = {"error": {"type": kind, "message": message, **({"code": code} if code else {})}}
    return answer_json(content, status=status, headers={"Request-Id": "req_Dq2J6hZrVnUnUC"})


def event(kind: str, subject: Mapping[str, Any], *, identity: str | None = None, created: int | None = None) -> bytes:
    """Render an event as Stripe sends it."""
    content = {
        "id": identity or f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "api_version": "2026-01-28.clover",
        "created": created or int(time.time()),
        "data": {"object": dict(subject)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return json.dumps(content, indent=2).encode()


def session_of(
    payment: Mapping[str, Any], tenant_id: object, *, amount: int, payment_status: str = "paid"
) -> dict[str, Any]:
    """Make the checkout session in which a customer paid (or not) what the API calls `payment`."""
    return {
        "id": f"cs_test_{uuid.uuid4().hex}",
        "object": "checkout.session",
        "amount_total": amount,
        "currency": payment["currency"],
        "customer_details": {"email": "customer-canary@example.org", "name": "Canary Customer"},
        "metadata": {"payment_id": payment["id"], "tenant_id": str(tenant_id)},
        "mode": "payment",
        "payment_status": payment_status,
        "status": "complete",
    }


def charge_of(
    payment: Mapping[str, Any], tenant_id: object, *, amount: int, refunded: int | None = None
) -> dict[str, Any]:
    """Make the charge of a payment of which `refunded` (all, by default) was given back."""
    returned = amount if refunded is None else refunded
    return {
        "id": f"ch_{uuid.uuid4().hex}",
        "object": "charge",
        "amount": amount,
        "amount_refunded": returned,
        "currency": payment["currency"],
        "metadata": {"payment_id": payment["id"], "tenant_id": str(tenant_id)},
        "refunded": returned == amount,
        "status": "succeeded",
    }


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, at: int | None = None) -> dict[str, str]:
    """Return the headers of an event, signed as Stripe signs: HMAC-SHA256 over the time, a dot and the body.

    Source: https://docs.stripe.com/webhooks#verify-manually
    """
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={moment},v1={digest}", "Content-Type": "application/json"}


if __name__ == "__main__":
    run_until_terminated(StripeServer())
