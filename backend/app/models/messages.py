"""Owns the shapes of requests and answers, and the rules for each value in them."""

import functools
import uuid
import zoneinfo
from datetime import datetime
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

_E164 = r"^\+[1-9][0-9]{6,14}$"
_LONGEST_PASSWORD = 1024
_LONGEST_EMAIL = 254


@functools.cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _check_text(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain null characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain half a surrogate pair") from None
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    _check_text(value.get_secret_value())
    return value


def _check_timezone(value: str) -> str:
    if value not in _timezones():
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
    return value


def _check_email(value: str) -> str:
    try:
        # The reserved domain `test` is allowed: verification accounts live there and no mail is ever sent to them.
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueError(f"must be an email address: {error}") from None


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_check_text)
]
Greeting = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_check_text)]
Timezone = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_check_text), AfterValidator(_check_timezone)
]
PhoneNumber = Annotated[str, StringConstraints(max_length=16, pattern=_E164)]
Email = Annotated[
    str, StringConstraints(max_length=_LONGEST_EMAIL), AfterValidator(_check_text), AfterValidator(_check_email)
]
Password = Annotated[SecretStr, Field(min_length=1, max_length=_LONGEST_PASSWORD), AfterValidator(_check_secret)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)


class LoginRequest(_Request):
    """What a user logs in with."""

    email: Email
    password: Password


class LoginAnswer(BaseModel):
    """An access token and how many seconds it lives."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  (the token's type, not a token)
    expires_in: int


class BusinessUpdate(_Request):
    """The settings to change; one that is left out keeps its value, and `phone_number` may be null."""

    name: Name = ""
    timezone: Timezone = ""
    phone_number: PhoneNumber | None = None
    receptionist_enabled: bool = False
    greeting: Greeting = ""

    @property
    def given(self) -> dict[str, Any]:
        """The settings that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Business(BaseModel):
    """The settings of one business."""

    model_config = ConfigDict(frozen=True)

    id: uuid.UUID
    name: str
    timezone: str
    phone_number: str | None
    receptionist_enabled: bool
    greeting: str
    updated_at: datetime


class Check(BaseModel):
    """The outcome of one check; `output` says what is wrong when it did not pass."""

    status: Literal["pass", "warn", "fail"]
    duration_ms: float
    output: str | None = None


class Health(BaseModel):
    """Whether the backend can serve, each check by name, and which version answers."""

    status: Literal["pass", "warn", "fail"]
    checks: dict[str, Check]
    version: str


class Liveness(BaseModel):
    """The process answers; nothing else was asked."""

    status: Literal["pass"] = "pass"
