"""Owns the configuration: every variable the backend reads, what it should look like, and who may use a default."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import SecretStr, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.placeholders import is_default_password
from app.settings.groups import (
    AssistantSettings,
    CalendarSettings,
    LimitSettings,
    ObservationSettings,
    StripeSettings,
    TwilioSettings,
)
from app.settings.variables import (
    MISSING,
    check_encryption_key,
    check_signing_key,
    decode_encryption_key,
    generated_unless_strict,
    is_strict,
    split_secrets,
    variable,
)

__all__ = ["ROOT", "Environment", "Settings", "SettingsError", "load_settings"]

#: The folder that holds `app/`: the repository's `backend/`, or the root of a release.
ROOT = Path(__file__).resolve().parent.parent.parent

Environment = Literal["development", "staging", "production"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_DRIVERS = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_KEY_FROM = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
_BYTES_FROM = 'python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"'


class SettingsError(Exception):
    """The configuration cannot be used. The message names every variable at fault and never a secret's value."""


class CoreSettings(BaseSettings):
    """The core. `environment` comes first: the rules of the others depend on it."""

    environment: Environment = variable(
        "development",
        expected="one of development, staging, production",
        purpose="how strict the configuration is; `/docs` and `/openapi.json` are served in development only",
    )
    database_url: SecretStr = variable(
        SecretStr(""),
        expected="a PostgreSQL address: postgresql://USER:PASSWORD@HOST:5432/DATABASE",
        purpose="where everything is kept; `postgres://` and `postgresql+psycopg://` are accepted too",
    )
    jwt_secret_key: SecretStr = variable(
        SecretStr(""),
        expected=f"at least 32 random characters, for instance from: {_KEY_FROM}",
        purpose="signs the access tokens; processes that serve the same address need the same key",
    )
    jwt_previous_keys: SecretStr = variable(
        SecretStr(""),
        expected="keys like JWT_SECRET_KEY, separated by commas",
        purpose="keys whose tokens are still accepted while `JWT_SECRET_KEY` is replaced",
    )
    encryption_key: SecretStr = variable(
        SecretStr(""),
        expected=f"32 random bytes in base64 (44 characters), for instance from: {_BYTES_FROM}",
        purpose="encrypts the secrets that are kept in the database (AES-256-GCM)",
    )
    encryption_previous_keys: SecretStr = variable(
        SecretStr(""),
        expected="keys like ENCRYPTION_KEY, separated by commas",
        purpose="keys that still decrypt while `ENCRYPTION_KEY` is replaced",
    )
    jwt_expiry_seconds: int = variable(
        3600,
        ge=60,
        le=2_592_000,
        expected="whole seconds, 60 to 2592000 (30 days)",
        purpose="how long an access token lives",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = variable(
        (),
        expected="origins separated by commas: https://app.example.org,https://admin.example.org",
        purpose="web pages of these origins may call the API; `*` in development only",
    )
    log_level: LogLevel = variable(
        "INFO",
        expected="one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
        purpose="the least severe messages that are logged",
    )
    build_info: Path = variable(
        ROOT / "build-info.json",
        expected="the path of a build-info.json",
        purpose="what `/api/v1/version` answers; without it every fact is unknown, and a malformed one stops the start",
    )

    @field_validator("environment", "log_level", mode="before")
    @classmethod
    def _ignore_case(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        return value.strip().upper() if info.field_name == "log_level" else value.strip().lower()

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            raise ValueError(MISSING)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise ValueError("is not an address") from None
        if url.drivername not in _DRIVERS:
            raise ValueError("does not begin with postgresql://")
        if not url.database:
            raise ValueError("names no database")
        if is_strict(info) and is_default_password(url.password or ""):
            raise ValueError("contains a password that is a default or a placeholder")
        return SecretStr(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))

    @field_validator("jwt_secret_key")
    @classmethod
    def _check_jwt_secret_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            return generated_unless_strict(info, secrets.token_urlsafe(48))
        check_signing_key(text, strict=is_strict(info))
        return SecretStr(text)

    @field_validator("encryption_key")
    @classmethod
    def _check_encryption_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            return generated_unless_strict(info, base64.b64encode(secrets.token_bytes(32)).decode())
        check_encryption_key(text, strict=is_strict(info))
        return SecretStr(text)

    @field_validator("jwt_previous_keys")
    @classmethod
    def _check_jwt_previous_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        for key in split_secrets(value):
            check_signing_key(key, strict=is_strict(info))
        return value

    @field_validator("encryption_previous_keys")
    @classmethod
    def _check_encryption_previous_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        for key in split_secrets(value):
            check_encryption_key(key, strict=is_strict(info))
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for origin in value:
            if origin == "*" and not is_strict(info):
                continue
            scheme, separator, host = origin.partition("://")
            if scheme not in {"http", "https"} or not separator or not host or "/" in host or "*" in host:
                raise ValueError(f"contains {origin!r}, which is not an origin")
        return value


class DatabaseSettings(BaseSettings):
    """The database."""

    database_pool_size: int = variable(
        5,
        ge=1,
        le=100,
        expected="a whole number, 1 to 100",
        purpose="connections that each process keeps open, and again as many that it opens for single reads",
    )
    database_max_overflow: int = variable(
        5,
        ge=0,
        le=100,
        expected="a whole number, 0 to 100",
        purpose="further connections that it opens under load: 15 in all, as these two are by default",
    )
    database_pool_timeout: float = variable(
        5.0,
        gt=0,
        le=60,
        expected="seconds, more than 0, at most 60",
        purpose="seconds that a request waits for a connection before 503",
    )
    database_connect_timeout: int = variable(
        5, ge=2, le=60, expected="whole seconds, 2 to 60", purpose="seconds that making a connection may take"
    )
    database_statement_timeout: float = variable(
        10.0,
        gt=0,
        le=600,
        expected="seconds, more than 0, at most 600",
        purpose="seconds after which PostgreSQL ends a statement",
    )
    database_startup_timeout: float = variable(
        30.0,
        ge=0,
        le=600,
        expected="seconds, 0 to 600",
        purpose="seconds to wait for the database at start-up before giving up",
    )


class Settings(
    ObservationSettings,
    CalendarSettings,
    AssistantSettings,
    TwilioSettings,
    StripeSettings,
    LimitSettings,
    DatabaseSettings,
    CoreSettings,
):
    """The whole configuration. A field's description says what its variable should look like.

    The fields of the last base come first, so that the rules of the others can look at them.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    @property
    def dsn(self) -> URL:
        """The database's address for SQLAlchemy; its text form hides the password."""
        return make_url(self.database_url.get_secret_value())

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys whose tokens are accepted; the first one signs."""
        return (self.jwt_secret_key.get_secret_value(), *split_secrets(self.jwt_previous_keys))

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The keys that decrypt, of 32 bytes each; the first one encrypts."""
        texts = (self.encryption_key.get_secret_value(), *split_secrets(self.encryption_previous_keys))
        return tuple(decode_encryption_key(text) for text in texts)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that Stripe may sign with; none when Stripe is not configured."""
        return split_secrets(self.stripe_webhook_secret)


def load_settings() -> Settings:
    """Read the configuration from the process's environment; raise `SettingsError` naming every variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=True):
        name = str(item["loc"][0])
        problems.setdefault(name.upper(), _describe(name, item))
    lines = [f"  {name} {problem}" for name, problem in problems.items()]
    count = "1 variable is" if len(lines) == 1 else f"{len(lines)} variables are"
    return "\n".join(
        [
            f"The backend cannot start: {count} missing or malformed.",
            *lines,
            "Set them in the environment, then start again. ENVIRONMENT_VARIABLES.md explains each one.",
        ]
    )


def _describe(name: str, item: Mapping[str, Any]) -> str:
    reason = item.get("ctx", {}).get("error")
    if isinstance(reason, ValueError):
        problem = str(reason)
    elif Settings.model_fields[name.lower()].annotation is SecretStr:
        problem = "is malformed"
    else:
        problem = f"is {item['input']!r}" if isinstance(item.get("input"), str) else "is malformed"
    return f"{problem}. Expected: {Settings.model_fields[name.lower()].description}"
