"""Owns how Google's answers are read: what they hold, and what their errors mean for us. Nothing here is sent.

An answer is believed only as far as it makes sense: text that cannot be a token, a time that does not exist, a grant
without what was asked for are errors here, not surprises in the database later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from jwt.types import Options
from pydantic import SecretStr

from app.models.calendar import Interval

_ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
_LONGEST_TOKEN: Final = 4096
_LONGEST_ACCOUNT: Final = 254
_LONGEST_LIFETIME: Final = 86_400
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
#: Reasons of a 403 that mean: the business did not agree to this, or does not any more.
_NOT_AGREED: Final = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})


class GoogleError(Exception):
    """Google did not do what it was asked. The message says why, without secrets, for the log."""


class GoogleUnavailableError(GoogleError):
    """Google failed, was too slow, made no sense or did not accept this service: nothing the business could change."""


class GrantRefusedError(GoogleError):
    """The code or the refresh token is not good, or not good for what is needed: the business has to agree again.

    `explanation` is a sentence for the business.
    """

    def __init__(self, message: str, *, explanation: str) -> None:
        super().__init__(message)
        self.explanation = explanation


class AccessRefusedError(GoogleError):
    """The access token is not accepted; with `final` a new one will not be either."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True, slots=True)
class RefreshedToken:
    """An access token and the seconds it lives; `refresh_token` where Google replaced that too."""

    access_token: SecretStr
    lifetime: int
    refresh_token: SecretStr | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a business agreed to; `account` is its email address, where Google said so."""

    access_token: SecretStr
    lifetime: int
    refresh_token: SecretStr
    scopes: str
    account: str | None


def read_grant(answer: Any, *, client_id: str, needed: str) -> Grant:
    """Return what a code was exchanged for; raise `GrantRefusedError` unless it lasts and holds the scope `needed`."""
    token = read_refreshed(answer)
    scopes = str(answer.get("scope", "")).split()
    if needed not in scopes:
        raise GrantRefusedError(
            "the scope for free and busy times was not granted",
            explanation="Access to the calendar's free and busy times was not given.",
        )
    if token.refresh_token is None:
        raise GrantRefusedError("there is no refresh token", explanation="Google gave no lasting access.")
    return Grant(
        access_token=token.access_token,
        lifetime=token.lifetime,
        refresh_token=token.refresh_token,
        scopes=" ".join(sorted(scope for scope in scopes if scope.isascii() and scope.isprintable())),
        account=_read_account(answer.get("id_token"), client_id=client_id),
    )


def read_refreshed(answer: Any) -> RefreshedToken:
    """Return the tokens of an answer; raise `GoogleUnavailableError` when it makes no sense."""
    if not isinstance(answer, dict):
        raise _senseless("the token endpoint's")
    access_token = _read_token(answer.get("access_token"))
    lifetime = answer.get("expires_in")
    if access_token is None or not isinstance(lifetime, int) or isinstance(lifetime, bool) or lifetime < 1:
        raise _senseless("the token endpoint's")
    refresh_token = _read_token(answer.get("refresh_token"))
    return RefreshedToken(access_token, min(lifetime, _LONGEST_LIFETIME), refresh_token)


def read_busy(answer: Any, *, calendar: str) -> list[Interval]:
    """Return the busy times of `calendar`; raise `GoogleUnavailableError` when the answer does not hold them."""
    try:
        found = answer["calendars"][calendar]
        if found.get("errors"):
            raise GoogleUnavailableError(f"the calendar cannot be read ({_word(found['errors'][0].get('reason'))})")
        return [Interval(starts_at=_read_time(one["start"]), ends_at=_read_time(one["end"])) for one in found["busy"]]
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        raise _senseless("the calendar's") from None


def read_token_failure(status: int, content: Any) -> GoogleError:
    """Return what an error of the token or revocation endpoint means."""
    code = _word(content.get("error")) if isinstance(content, Mapping) else "no reason"
    if status == _BAD_REQUEST and code in {"invalid_grant", "invalid_token"}:
        return GrantRefusedError(
            f"status {status}, {code}", explanation="Google does not accept this agreement, or it was withdrawn."
        )
    return GoogleUnavailableError(f"status {status}, {code}")


def read_access_failure(status: int, content: Any) -> GoogleError:
    """Return what an error of the Calendar API means."""
    reason = _read_reason(content)
    if status == _UNAUTHORIZED:
        return AccessRefusedError(f"status {status}, {reason}")
    if status == _FORBIDDEN and reason in _NOT_AGREED:
        return AccessRefusedError(f"status {status}, {reason}", final=True)
    return GoogleUnavailableError(f"status {status}, {reason}")


def _read_reason(content: Any) -> str:
    error = content.get("error") if isinstance(content, Mapping) else None
    if not isinstance(error, Mapping):
        return "no reason"
    for name in ("errors", "details"):
        items = error.get(name)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, Mapping) and item.get("reason"):
                return _word(item["reason"])
    return _word(error.get("status"))


def _word(value: Any) -> str:
    """Return a code such as invalid_grant, which may go into the log; nothing that could be anything else."""
    if isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum() and len(value) <= 64:
        return value
    return "no reason"


def _read_token(value: Any) -> SecretStr | None:
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TOKEN and value.isascii() and value.isprintable():
        return SecretStr(value)
    return None


def _read_time(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    return moment.astimezone(UTC)


def _read_account(id_token: Any, *, client_id: str) -> str | None:
    """Return the email address that an ID token tells, None when it tells none. It is shown, and decides nothing."""
    if not isinstance(id_token, str):
        return None
    checks: Options = {"verify_signature": False, "verify_aud": True, "verify_iss": True, "verify_exp": True}
    try:
        claims = jwt.decode(id_token, options=checks, audience=client_id, issuer=_ISSUERS, leeway=60)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    email = claims.get("email")
    if isinstance(email, str) and 0 < len(email) <= _LONGEST_ACCOUNT and email.isprintable():
        return email
    return None


def _senseless(whose: str) -> GoogleUnavailableError:
    return GoogleUnavailableError(f"{whose} answer makes no sense")
