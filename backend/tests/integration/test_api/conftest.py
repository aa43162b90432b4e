"""The loopback Stripe, and what connects an application to it."""

from collections.abc import Iterator

import pytest

from backend.tests.vendors.stripe_server import API_KEY, WEBHOOK_SECRET, StripeServer


@pytest.fixture
def stripe() -> Iterator[StripeServer]:
    with StripeServer() as server:
        yield server


@pytest.fixture
def stripe_settings(stripe: StripeServer) -> dict[str, object]:
    """What connects the application; a test module may override it."""
    return {
        "stripe_api_key": API_KEY,
        "stripe_webhook_secret": WEBHOOK_SECRET,
        "stripe_api_base": stripe.url,
        "stripe_timeout": 5.0,
        "rate_limit": "off",
    }
