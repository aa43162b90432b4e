"""Owns the rules for the values in requests, whatever the request is about."""

import functools
import re
import zoneinfo
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)

from app.money import CURRENCIES, parse_amount

_E164 = r"^\+[1-9][0-9]{6,14}$"
_LONGEST_PASSWORD = 1024
_LONGEST_EMAIL = 254
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_FIRST_YEAR = 2000
_LAST_YEAR = 2199


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


def _parse_timestamp(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with its offset, such as 2030-01-31T09:00:00+01:00")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time that exists") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


def _check_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("must be a currency of ISO 4217 in lower case, such as eur")
    return value


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

Notes = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_text)]
#: A time as RFC 3339 writes it, turned to UTC.
Timestamp = Annotated[
    datetime, BeforeValidator(_parse_timestamp), WithJsonSchema({"type": "string", "format": "date-time"})
]
#: An amount of money; the document says what a client should send, and a number with decimals is taken too.
Amount = Annotated[
    Decimal,
    BeforeValidator(parse_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(0\.[5-9][0-9]?|[1-9][0-9]{0,7}(\.[0-9]{1,2})?)$"},
                {"type": "number", "minimum": 0.5, "maximum": 99_999_999.99},
            ],
            "description": "An amount with two decimals at most, best as a string: 100.00",
        }
    ),
]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$"), AfterValidator(_check_currency)]


class RequestModel(BaseModel):
    """What every request has in common: known fields only, and exactly their types."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)
