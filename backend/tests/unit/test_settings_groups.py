"""The variables of each integration: what they should look like, and which ones need each other."""

import base64

import pytest

from app.settings import SettingsError, load_settings

URL = "postgresql://maya:s3cr3t-Zq81@db.internal:5432/maya"
JWT_KEYS = ["Zk3v9QpL1xT7mB5sR2wY8nC4hJ6gD0fA-uEiOq", "Aq9w8Ez7r6Ty5u4Io3p2Qs1d0Fg-hJkLmWxCvBn"]
ENCRYPTION_KEYS = [
    "d1uXhZ0mG4sQy7RkVb9TjE2oNcL5aWfP8iKzMtU3xHg=",
    base64.b64encode(bytes(range(7, 71, 2))).decode(),
]
WEBHOOK_SECRETS = ["whsec_Vn3kQ8pT5xLw", "whsec_hB7mZ2rJ9cYd"]
STRIPE = {"STRIPE_API_KEY": "sk_live_Canary77", "STRIPE_WEBHOOK_SECRET": ", ".join(WEBHOOK_SECRETS)}
TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0a" * 16,
    "TWILIO_AUTH_TOKEN": "Canary77",
    "TWILIO_FROM_NUMBER": "+4930123456",
}
GOOGLE = {
    "GOOGLE_CLIENT_ID": "1.apps.googleusercontent.com",
    "GOOGLE_CLIENT_SECRET": "Canary77",
    "PUBLIC_URL": "https://maya.example/",
}


@pytest.fixture
def production(monkeypatch):
    def set_variables(values):
        base = {
            "ENVIRONMENT": "production",
            "DATABASE_URL": URL,
            "JWT_SECRET_KEY": JWT_KEYS[0],
            "ENCRYPTION_KEY": ENCRYPTION_KEYS[0],
        }
        for name, value in (base | values).items():
            if value is not None:
                monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize("values", [{}, STRIPE, TWILIO, GOOGLE, {**STRIPE, **TWILIO, **GOOGLE}])
def test_integrations_are_there_whole_or_not_at_all(production, values):
    production(values)

    settings = load_settings()

    assert settings.webhook_secrets == (tuple(WEBHOOK_SECRETS) if "STRIPE_API_KEY" in values else ())
    assert "Canary77" not in repr(settings)


@pytest.mark.parametrize(
    ("values", "variable", "reason"),
    [
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": None}, "STRIPE_WEBHOOK_SECRET", "is missing; STRIPE_API_KEY needs it"),
        ({**STRIPE, "STRIPE_API_KEY": None}, "STRIPE_WEBHOOK_SECRET", "is given without STRIPE_API_KEY"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": "Canary77"}, "STRIPE_WEBHOOK_SECRET", "is not a signing secret of Stripe"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": "whsec_changeme"}, "STRIPE_WEBHOOK_SECRET", "is a placeholder"),
        (
            {**STRIPE, "STRIPE_WEBHOOK_SECRET": f"{WEBHOOK_SECRETS[0]},whsec_xyxyxy"},
            "STRIPE_WEBHOOK_SECRET",
            "is a placeholder",
        ),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": "whsec_"}, "STRIPE_WEBHOOK_SECRET", "is a placeholder"),
        ({**STRIPE, "STRIPE_API_KEY": "pk_live_Canary77"}, "STRIPE_API_KEY", "is not a secret key of Stripe"),
        ({**TWILIO, "TWILIO_AUTH_TOKEN": None}, "TWILIO_AUTH_TOKEN", "is missing; TWILIO_ACCOUNT_SID needs it"),
        ({**TWILIO, "TWILIO_FROM_NUMBER": None}, "TWILIO_FROM_NUMBER", "is missing; TWILIO_ACCOUNT_SID needs it"),
        ({**TWILIO, "TWILIO_FROM_NUMBER": "030 1"}, "TWILIO_FROM_NUMBER", "is not a number in E.164"),
        ({**TWILIO, "TWILIO_ACCOUNT_SID": "Canary77"}, "TWILIO_ACCOUNT_SID", "is not the id of an account"),
        ({**GOOGLE, "GOOGLE_CLIENT_SECRET": None}, "GOOGLE_CLIENT_SECRET", "is missing; GOOGLE_CLIENT_ID needs it"),
        ({**GOOGLE, "PUBLIC_URL": None}, "PUBLIC_URL", "is missing; GOOGLE_CLIENT_ID needs it"),
        ({**GOOGLE, "PUBLIC_URL": "http://maya.example"}, "PUBLIC_URL", "does not begin with https://"),
        ({"STRIPE_API_BASE": "http://stripe.example"}, "STRIPE_API_BASE", "does not begin with https://"),
        ({"STRIPE_API_BASE": "https://u:Canary77@h"}, "STRIPE_API_BASE", "contains a name or a password"),
        ({"ANTHROPIC_BASE_URL": "anthropic"}, "ANTHROPIC_BASE_URL", "is not an address"),
        ({"ASSISTANT_DAILY_COST_LIMIT": "NaN"}, "ASSISTANT_DAILY_COST_LIMIT", "is 'NaN'"),
        ({"RATE_LIMIT": "many"}, "RATE_LIMIT", "is not a limit"),
        ({"RATE_LIMIT": "0/minute"}, "RATE_LIMIT", "is not a limit"),
        ({"REDIS_URL": "http://:Canary77@cache"}, "REDIS_URL", "is not an address of Redis"),
        ({"METRICS_TOKEN": "Canary77"}, "METRICS_TOKEN", "has 8 characters"),
        ({"METRICS_TOKEN": "changemechangeme"}, "METRICS_TOKEN", "is a placeholder"),
        ({"METRICS_TOKEN": "a" * 40}, "METRICS_TOKEN", "is a placeholder"),
        ({"SENTRY_DSN": "https://Canary77"}, "SENTRY_DSN", "is not a DSN"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT", "is not an address"),
        ({"JWT_PREVIOUS_KEYS": f"{JWT_KEYS[1]},Canary77"}, "JWT_PREVIOUS_KEYS", "has 8 characters"),
        ({"ENCRYPTION_PREVIOUS_KEYS": "Canary77"}, "ENCRYPTION_PREVIOUS_KEYS", "holds 6 bytes, not 32"),
    ],
)
def test_what_is_malformed_or_missing_is_named_without_its_value(production, values, variable, reason):
    production(values)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert f"  {variable} {reason}" in str(caught.value)
    assert "Canary77" not in str(caught.value)


def test_earlier_keys_come_after_the_one_that_is_used(production):
    production({"JWT_PREVIOUS_KEYS": JWT_KEYS[1], "ENCRYPTION_PREVIOUS_KEYS": ENCRYPTION_KEYS[1]})

    settings = load_settings()

    assert settings.signing_keys == tuple(JWT_KEYS)
    assert settings.encryption_keys == tuple(base64.b64decode(key) for key in ENCRYPTION_KEYS)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9999", "http://[::1]:9999", "http://localhost:9999/"])
def test_a_vendor_on_this_machine_may_be_asked_in_the_clear(production, address):
    production({"STRIPE_API_BASE": address})

    assert load_settings().stripe_api_base == address.rstrip("/")
