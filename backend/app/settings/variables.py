"""Owns how a variable is declared, and the rules that several of them share."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_core.core_schema import ValidationInfo

from app.placeholders import lacks_variety, reads_like_a_placeholder

MISSING = "is missing"

_JWT_KEY_LENGTH = 32
_ENCRYPTION_KEY_BYTES = 32
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")


def variable(default: Any, *, expected: str, purpose: str, **limits: Any) -> Any:
    """Declare a variable: what its value should look like, what it does, and pydantic's own limits on it."""
    return Field(default=default, description=expected, json_schema_extra={"purpose": purpose}, **limits)


def is_strict(info: ValidationInfo) -> bool:
    """Say whether defaults and placeholders are refused."""
    # A misspelt ENVIRONMENT counts as strict, so that one message can name everything that production would refuse.
    return info.data.get("environment") != "development"


def generated_unless_strict(info: ValidationInfo, generated: str) -> SecretStr:
    """Return a secret made up for this process; raise `ValueError` where that is not good enough."""
    if is_strict(info):
        raise ValueError(f"{MISSING}; a secret is generated in development only")
    return SecretStr(generated)


def split_secrets(value: SecretStr) -> tuple[str, ...]:
    """Return the secrets of a list separated by commas."""
    return tuple(part.strip() for part in value.get_secret_value().split(",") if part.strip())


def check_signing_key(text: str, *, strict: bool) -> None:
    """Raise `ValueError` unless `text` can sign tokens."""
    if len(text) < _JWT_KEY_LENGTH:
        raise ValueError(f"has {len(text)} characters")
    if strict:
        refuse_placeholder(text)


def refuse_placeholder(text: str) -> None:
    """Raise `ValueError` where nobody chose a secret at random."""
    if reads_like_a_placeholder(text) or lacks_variety(text.encode()):
        raise ValueError("is a placeholder, not a secret")


def decode_encryption_key(text: str) -> bytes:
    """Return the 32 bytes of a key in base64, with either alphabet; raise `ValueError` when it holds anything else."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if len(key) != _ENCRYPTION_KEY_BYTES:
        raise ValueError(f"holds {len(key)} bytes, not {_ENCRYPTION_KEY_BYTES}")
    return key


def check_encryption_key(text: str, *, strict: bool) -> None:
    """Raise `ValueError` unless `text` can encrypt."""
    key = decode_encryption_key(text)
    if strict and (lacks_variety(key) or reads_like_a_placeholder(key.decode("ascii", "replace"))):
        raise ValueError("is a placeholder, not a secret")


def check_address(text: str, *, strict: bool) -> str:
    """Return an HTTP address without its last slash; raise `ValueError` where secrets would travel in the clear."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is not an address")
    if parts.username or parts.password:
        raise ValueError("contains a name or a password")
    if strict and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("does not begin with https://")
    return text.strip().rstrip("/")


def check_rate(text: str) -> str:
    """Return a limit such as 600/minute, or off; raise `ValueError` when it is neither."""
    text = text.strip().lower()
    if text != "off" and not _RATE.fullmatch(text):
        raise ValueError("is not a limit")
    return text


def check_together(value: SecretStr, info: ValidationInfo, others: Iterable[str]) -> SecretStr:
    """Raise `ValueError` unless a variable and those declared before it that belong to it are all given, or none."""
    given = bool(value.get_secret_value())
    for name in others:
        other = info.data.get(name)
        if isinstance(other, SecretStr) and bool(other.get_secret_value()) != given:
            raise ValueError(f"is given without {name.upper()}" if given else f"{MISSING}; {name.upper()} needs it")
    return value
