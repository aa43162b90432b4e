"""Owns the variables of each subject beside the core: limits, integrations, and what watches the service."""

import re
from decimal import Decimal

from pydantic import SecretStr, field_validator
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings

from app.settings.variables import (
    MISSING,
    check_address,
    check_rate,
    check_together,
    is_strict,
    refuse_placeholder,
    split_secrets,
    variable,
)

_NONE = SecretStr("")
_TWILIO_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SIGNING = "whsec_"
_REDIS = ("redis://", "rediss://", "unix://")


class LimitSettings(BaseSettings):
    """Limits: how much one client may ask."""

    login_failure_limit: int = variable(
        10,
        ge=1,
        le=1000,
        expected="a whole number, 1 to 1000",
        purpose="failed logins of one account from one client before 429",
    )
    login_failure_window: int = variable(
        300,
        ge=1,
        le=86_400,
        expected="whole seconds, 1 to 86400",
        purpose="the seconds in which those failures are counted",
    )
    rate_limit: str = variable(
        "1200/minute",
        expected="a number and a period, such as 600/minute (second, minute, hour, day), or off",
        purpose="requests of one user, or of one address without a token, before 429",
    )
    rate_limit_login: str = variable(
        "60/minute",
        expected="a number and a period, such as 60/minute (second, minute, hour, day), or off",
        purpose="attempts to log in from one address before 429",
    )
    redis_url: SecretStr = variable(
        _NONE,
        expected="a Redis address: redis://:PASSWORD@HOST:6379/0",
        purpose="where limits are counted for all processes together; without it each counts for itself",
    )

    @field_validator("rate_limit", "rate_limit_login")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        return check_rate(value)

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and not text.startswith(_REDIS):
            raise ValueError("is not an address of Redis")
        return SecretStr(text)


class StripeSettings(BaseSettings):
    """Payments (Stripe)."""

    stripe_api_key: SecretStr = variable(
        _NONE, expected="a secret key of Stripe: sk_… or rk_…", purpose="makes payment links; without it there are none"
    )
    stripe_webhook_secret: SecretStr = variable(
        _NONE,
        expected="a signing secret of Stripe: whsec_…; several, separated by commas, while one replaces another",
        purpose="tells that a message at /api/webhooks/stripe is Stripe's",
    )
    stripe_api_base: str = variable(
        "https://api.stripe.com", expected="an https:// address", purpose="where Stripe is asked"
    )
    stripe_timeout: float = variable(
        8.0, gt=0, le=60, expected="seconds, more than 0, at most 60", purpose="how long Stripe may take to answer"
    )

    @field_validator("stripe_api_key")
    @classmethod
    def _check_stripe_api_key(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and not text.startswith(("sk_", "rk_")):
            raise ValueError("is not a secret key of Stripe")
        return SecretStr(text)

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _check_stripe_webhook_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        for secret in split_secrets(value):
            if not secret.startswith(_SIGNING):
                raise ValueError("is not a signing secret of Stripe")
            if is_strict(info):
                refuse_placeholder(secret.removeprefix(_SIGNING))
        return check_together(SecretStr(value.get_secret_value().strip()), info, ["stripe_api_key"])

    @field_validator("stripe_api_base")
    @classmethod
    def _check_stripe_api_base(cls, value: str, info: ValidationInfo) -> str:
        return check_address(value, strict=is_strict(info))


class TwilioSettings(BaseSettings):
    """Reminders by text message (Twilio)."""

    twilio_account_sid: SecretStr = variable(
        _NONE, expected="the id of a Twilio account: AC and 32 hexadecimal digits", purpose="whose messages they are"
    )
    twilio_auth_token: SecretStr = variable(
        _NONE, expected="the token of that account", purpose="sends text messages; without it none are sent"
    )
    twilio_from_number: str = variable(
        "", expected="a number in E.164: +4930123456", purpose="which number reminders come from"
    )
    twilio_api_base: str = variable(
        "https://api.twilio.com", expected="an https:// address", purpose="where Twilio is asked"
    )
    twilio_timeout: float = variable(
        8.0, gt=0, le=60, expected="seconds, more than 0, at most 60", purpose="how long Twilio may take to answer"
    )
    reminder_delay: int = variable(
        86_400,
        ge=0,
        le=2_592_000,
        expected="whole seconds, 0 to 2592000 (30 days)",
        purpose="how long after a payment link was made its reminder is due",
    )
    reminder_attempts: int = variable(
        6, ge=1, le=20, expected="a whole number, 1 to 20", purpose="how often a reminder is tried before it fails"
    )
    reminder_poll_interval: float = variable(
        5.0,
        gt=0,
        le=3600,
        expected="seconds, more than 0, at most 3600",
        purpose="how long the worker rests when nothing is due",
    )

    @field_validator("twilio_account_sid")
    @classmethod
    def _check_twilio_account_sid(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and not _TWILIO_SID.fullmatch(text):
            raise ValueError("is not the id of an account")
        return SecretStr(text)

    @field_validator("twilio_auth_token")
    @classmethod
    def _check_twilio_auth_token(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return check_together(SecretStr(value.get_secret_value().strip()), info, ["twilio_account_sid"])

    @field_validator("twilio_from_number")
    @classmethod
    def _check_twilio_from_number(cls, value: str, info: ValidationInfo) -> str:
        text = value.strip()
        check_together(SecretStr(text), info, ["twilio_account_sid"])
        if text and not _E164.fullmatch(text):
            raise ValueError("is not a number in E.164")
        return text

    @field_validator("twilio_api_base")
    @classmethod
    def _check_twilio_api_base(cls, value: str, info: ValidationInfo) -> str:
        return check_address(value, strict=is_strict(info))


class AssistantSettings(BaseSettings):
    """The assistant that answers callers (Anthropic)."""

    anthropic_api_key: SecretStr = variable(
        _NONE, expected="a key of Anthropic's API: sk-ant-…", purpose="answers callers; without it nobody does"
    )
    anthropic_base_url: str = variable(
        "https://api.anthropic.com", expected="an https:// address", purpose="where Anthropic is asked"
    )
    anthropic_model: str = variable(
        "claude-haiku-4-5", min_length=1, max_length=100, expected="the name of a model", purpose="which model answers"
    )
    assistant_timeout: float = variable(
        15.0, gt=0, le=120, expected="seconds, more than 0, at most 120", purpose="how long an answer may take in all"
    )
    assistant_max_tokens: int = variable(
        400, ge=16, le=4096, expected="a whole number, 16 to 4096", purpose="how long an answer may be, in tokens"
    )
    assistant_daily_cost_limit: Decimal = variable(
        Decimal("2.00"),
        ge=0,
        le=10_000,
        expected="US dollars, 0 to 10000",
        purpose="what the answers for one business may cost on one day (UTC)",
    )
    assistant_input_price: Decimal = variable(
        Decimal("1.00"), ge=0, le=1000, expected="US dollars, 0 to 1000", purpose="what a million tokens of input cost"
    )
    assistant_output_price: Decimal = variable(
        Decimal("5.00"), ge=0, le=1000, expected="US dollars, 0 to 1000", purpose="what a million tokens of output cost"
    )

    @field_validator("anthropic_api_key")
    @classmethod
    def _strip_anthropic_api_key(cls, value: SecretStr) -> SecretStr:
        return SecretStr(value.get_secret_value().strip())

    @field_validator("anthropic_base_url")
    @classmethod
    def _check_anthropic_base_url(cls, value: str, info: ValidationInfo) -> str:
        return check_address(value, strict=is_strict(info))


class CalendarSettings(BaseSettings):
    """The calendars that businesses connect (Google)."""

    google_client_id: SecretStr = variable(
        _NONE,
        expected="the id of an OAuth client of Google: ….apps.googleusercontent.com",
        purpose="connects calendars; without it none can be",
    )
    google_client_secret: SecretStr = variable(
        _NONE, expected="the secret of that client", purpose="proves to Google who asks"
    )
    google_authorization_url: str = variable(
        "https://accounts.google.com/o/oauth2/v2/auth",
        expected="an https:// address",
        purpose="where a business is sent to agree",
    )
    google_token_url: str = variable(
        "https://oauth2.googleapis.com/token", expected="an https:// address", purpose="where codes become tokens"
    )
    google_revoke_url: str = variable(
        "https://oauth2.googleapis.com/revoke", expected="an https:// address", purpose="where tokens are given back"
    )
    google_api_base: str = variable(
        "https://www.googleapis.com", expected="an https:// address", purpose="where calendars are read"
    )
    google_timeout: float = variable(
        5.0, gt=0, le=60, expected="seconds, more than 0, at most 60", purpose="how long Google may take to answer"
    )
    public_url: str = variable(
        "http://localhost:8000",
        expected="an https:// address",
        purpose="where the public reaches this service; calendars need it: Google sends people back there",
    )

    @field_validator("google_client_id")
    @classmethod
    def _strip_google_client_id(cls, value: SecretStr) -> SecretStr:
        return SecretStr(value.get_secret_value().strip())

    @field_validator("google_client_secret")
    @classmethod
    def _check_google_client_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return check_together(SecretStr(value.get_secret_value().strip()), info, ["google_client_id"])

    @field_validator("google_authorization_url", "google_token_url", "google_revoke_url", "google_api_base")
    @classmethod
    def _check_google_addresses(cls, value: str, info: ValidationInfo) -> str:
        return check_address(value, strict=is_strict(info))

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str, info: ValidationInfo) -> str:
        strict, client = is_strict(info), info.data.get("google_client_id")
        if strict and value == cls.model_fields["public_url"].default and client and client.get_secret_value():
            raise ValueError(f"{MISSING}; GOOGLE_CLIENT_ID needs it")
        return check_address(value, strict=strict)


class ObservationSettings(BaseSettings):
    """Health, metrics, errors and traces."""

    health_timeout: float = variable(
        3.0,
        gt=0,
        le=30,
        expected="seconds, more than 0, at most 30",
        purpose="seconds within which `/api/health` answers, whatever the database does",
    )
    health_cache_seconds: float = variable(
        1.0,
        ge=0,
        le=60,
        expected="seconds, 0 to 60",
        purpose="how long an answer of `/api/health` is given again before anything is asked",
    )
    metrics_token: SecretStr = variable(
        _NONE,
        min_length=0,
        expected="at least 16 characters",
        purpose="the bearer token that `/metrics` asks for; without one it is there in development only",
    )
    sentry_dsn: SecretStr = variable(
        _NONE, expected="the DSN of a Sentry project: https://KEY@HOST/ID", purpose="where errors are reported"
    )
    sentry_traces_sample_rate: float = variable(
        0.0, ge=0, le=1, expected="a number, 0 to 1", purpose="the share of requests that Sentry traces"
    )
    otel_exporter_otlp_endpoint: str = variable(
        "", expected="an http:// or https:// address", purpose="where OpenTelemetry's traces are sent (OTLP over HTTP)"
    )

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and len(text) < 16:
            raise ValueError(f"has {len(text)} characters")
        if text and is_strict(info):
            refuse_placeholder(text)
        return SecretStr(text)

    @field_validator("sentry_dsn")
    @classmethod
    def _check_sentry_dsn(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and not re.fullmatch(r"https?://[^@/\s]+@[^/\s]+/(?:[^\s]*/)?\d+", text):
            raise ValueError("is not a DSN")
        return SecretStr(text)

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _check_otel_endpoint(cls, value: str) -> str:
        return check_address(value, strict=False) if value.strip() else ""
