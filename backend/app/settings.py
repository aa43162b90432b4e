"""Owns the configuration: every variable the backend reads, what it should look like, and who may use a default."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.placeholders import is_default_password, lacks_variety, reads_like_a_placeholder

#: The folder that holds `app/`: the repository's `backend/`, or the root of a release.
ROOT = Path(__file__).resolve().parent.parent

Environment = Literal["development", "staging", "production"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_DRIVERS = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_SECRETS = frozenset({"DATABASE_URL", "JWT_SECRET_KEY", "ENCRYPTION_KEY"})
_JWT_KEY_LENGTH = 32
_ENCRYPTION_KEY_BYTES = 32
_MISSING = "is missing"


class SettingsError(Exception):
    """The configuration cannot be used. The message names every variable at fault and never a secret's value."""


class Settings(BaseSettings):
    """The whole configuration. A field's description says what its variable should look like."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    environment: Environment = Field(default="development", description="one of development, staging, production")
    database_url: SecretStr = Field(
        default=SecretStr(""), description="a PostgreSQL address: postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    )
    jwt_secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="at least 32 random characters, for instance from: "
        'python -c "import secrets; print(secrets.token_urlsafe(48))"',
    )
    encryption_key: SecretStr = Field(
        default=SecretStr(""),
        description="32 random bytes in base64 (44 characters), for instance from: "
        'python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"',
    )
    jwt_expiry_seconds: int = Field(
        default=3600, ge=60, le=2_592_000, description="whole seconds, 60 to 2592000 (30 days)"
    )
    database_pool_size: int = Field(default=5, ge=1, le=100, description="a whole number, 1 to 100")
    database_max_overflow: int = Field(default=5, ge=0, le=100, description="a whole number, 0 to 100")
    database_pool_timeout: float = Field(default=5.0, gt=0, le=60, description="seconds, more than 0, at most 60")
    database_connect_timeout: int = Field(default=5, ge=2, le=60, description="whole seconds, 2 to 60")
    database_statement_timeout: float = Field(
        default=10.0, gt=0, le=600, description="seconds, more than 0, at most 600"
    )
    database_startup_timeout: float = Field(default=30.0, ge=0, le=600, description="seconds, 0 to 600")
    health_timeout: float = Field(default=3.0, gt=0, le=30, description="seconds, more than 0, at most 30")
    login_failure_limit: int = Field(default=10, ge=1, le=1000, description="a whole number, 1 to 1000")
    login_failure_window: int = Field(default=300, ge=1, le=86_400, description="whole seconds, 1 to 86400")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins separated by commas: https://app.example.org,https://admin.example.org"
    )
    log_level: LogLevel = Field(default="INFO", description="one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    build_info: Path = Field(default=ROOT / "build-info.json", description="the path of a build-info.json")

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
            raise ValueError(_MISSING)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise ValueError("is not an address") from None
        if url.drivername not in _DRIVERS:
            raise ValueError("does not begin with postgresql://")
        if not url.database:
            raise ValueError("names no database")
        if _is_strict(info) and is_default_password(url.password or ""):
            raise ValueError("contains a password that is a default or a placeholder")
        return SecretStr(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))

    @field_validator("jwt_secret_key")
    @classmethod
    def _check_jwt_secret_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            return _generated_unless_strict(info, secrets.token_urlsafe(48))
        if len(text) < _JWT_KEY_LENGTH:
            raise ValueError(f"has {len(text)} characters")
        if _is_strict(info) and (reads_like_a_placeholder(text) or lacks_variety(text.encode())):
            raise ValueError("is a placeholder, not a secret")
        return SecretStr(text)

    @field_validator("encryption_key")
    @classmethod
    def _check_encryption_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            generated = base64.b64encode(secrets.token_bytes(_ENCRYPTION_KEY_BYTES)).decode()
            return _generated_unless_strict(info, generated)
        try:
            key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
        if len(key) != _ENCRYPTION_KEY_BYTES:
            raise ValueError(f"holds {len(key)} bytes, not {_ENCRYPTION_KEY_BYTES}")
        if _is_strict(info) and (lacks_variety(key) or reads_like_a_placeholder(key.decode("ascii", "replace"))):
            raise ValueError("is a placeholder, not a secret")
        return SecretStr(text)

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
            if origin == "*" and not _is_strict(info):
                continue
            scheme, separator, host = origin.partition("://")
            if scheme not in {"http", "https"} or not separator or not host or "/" in host or "*" in host:
                raise ValueError(f"contains {origin!r}, which is not an origin")
        return value

    @property
    def dsn(self) -> URL:
        """The database's address for SQLAlchemy; its text form hides the password."""
        return make_url(self.database_url.get_secret_value())


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
    elif name.upper() in _SECRETS:
        problem = "is malformed"
    else:
        problem = f"is {item['input']!r}" if isinstance(item.get("input"), str) else "is malformed"
    return f"{problem}. Expected: {Settings.model_fields[name.lower()].description}"


def _is_strict(info: ValidationInfo) -> bool:
    # A misspelt ENVIRONMENT counts as strict, so that one message can name everything that production would refuse.
    return info.data.get("environment") != "development"


def _generated_unless_strict(info: ValidationInfo, generated: str) -> SecretStr:
    if _is_strict(info):
        raise ValueError(f"{_MISSING}; a secret is generated in development only")
    return SecretStr(generated)
