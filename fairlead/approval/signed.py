"""Signed approvals: one line of text that says who approved which digest for which environment, and until when.

The line is `fairlead-approval.v1.PAYLOAD.SIGNATURE`: the payload is JSON, the signature an HMAC-SHA256 of all that
stands before it, both in base64url without padding. Whoever holds the key can approve, so the name in it is
that person's word.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fairlead._output import redact
from fairlead.approval.models import Approval, NotApprovedError, as_remark, render_moment
from fairlead.exceptions import ConfigurationError

KEY_VARIABLE: Final = "FAIRLEAD_APPROVAL_KEY"
TOKEN_VARIABLE: Final = "FAIRLEAD_APPROVAL"  # noqa: S105  # nosec B105 - the name of a variable

_PREFIX: Final = "fairlead-approval.v1"
_TOKEN: Final = re.compile(
    re.escape(_PREFIX) + r"\.(?P<payload>[A-Za-z0-9_-]{1,8000})\.(?P<signature>[A-Za-z0-9_-]{43})"
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SHORTEST_KEY: Final = 32
_MOST_KEYS: Final = 2
_LONGEST_VALIDITY: Final = 86_400
#: Two machines' clocks are never quite the same; in seconds.
_LARGEST_SKEW: Final = 60
_LAST_MOMENT: Final = 253_402_300_799
_KEY_HINT: Final = (
    f"put the same secret of 32 bytes or more into {KEY_VARIABLE} where it is signed and where it is checked"
)


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """An approval and the line that proves it."""

    approval: Approval
    token: str = field(repr=False)


def sign(
    environment_name: str,
    digest: str,
    *,
    approver: str,
    environ: Mapping[str, str],
    valid: int,
    reason: str = "",
    now: float | None = None,
) -> SignedApproval:
    """Approve the deploy of `digest` to an environment for `valid` seconds from `now`.

    It is signed with the first key in `FAIRLEAD_APPROVAL_KEY`. Raises `ConfigurationError` for a digest that is not a
    whole one, a validity of no or more than 86400 seconds, and a key that is missing or too short.
    """
    if not _DIGEST.fullmatch(digest):
        raise ConfigurationError(
            f"{digest!r} is no digest: an approval needs a whole one, sha256: and 64 hexadecimal digits",
            hint="invoke build prints the digest of the tree, invoke releases --json those of the releases",
        )
    if not 1 <= valid <= _LONGEST_VALIDITY:
        raise ConfigurationError(f"an approval is valid for 1 to {_LONGEST_VALIDITY} seconds, not {valid}")
    try:
        key = _read_keys(environ)[0]
    except ValueError as error:
        raise ConfigurationError(f"the approval cannot be signed: {error}", hint=_KEY_HINT) from None
    issued_at = int(time.time() if now is None else now)
    facts = {
        "environment": environment_name,
        "digest": digest,
        "approver": as_remark(approver) or "unknown",
        "issued_at": issued_at,
        "expires_at": issued_at + valid,
        "reason": as_remark(reason) or "",
        "nonce": secrets.token_urlsafe(12),
    }
    payload = _encode(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii"))
    return SignedApproval(_parse(payload), f"{_PREFIX}.{payload}.{_signature(key, payload)}")


def check(environment_name: str, digest: str, *, environ: Mapping[str, str], now: float | None = None) -> Approval:
    """Return the approval in `FAIRLEAD_APPROVAL` when it holds for this environment, this digest and this moment.

    `now` is in seconds since 1970. Raises `NotApprovedError` (16) with everything that is wrong with it.
    """
    try:
        approval = _verify(environ)
    except ValueError as error:
        problems = [str(error)]
    else:
        problems = _mismatches(approval, environment_name, digest, time.time() if now is None else now)
        if not problems:
            return approval
    raise NotApprovedError(
        f"no signed approval covers this deploy to {environment_name}",
        hint=f"invoke approve {digest} --env {environment_name}, and give its line to this job in {TOKEN_VARIABLE}",
        problems=tuple(problems),
    )


def _verify(environ: Mapping[str, str]) -> Approval:
    """Read the token once its signature is proven; raise `ValueError` saying what is wrong with it."""
    token = environ.get(TOKEN_VARIABLE, "").strip()
    redact.register(token)
    if not token:
        raise ValueError(f"{TOKEN_VARIABLE} is not set")
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ValueError(f"{TOKEN_VARIABLE} is malformed: it does not hold the line that invoke approve prints")
    signature = found["signature"].encode("ascii")
    matches = [
        hmac.compare_digest(_signature(key, found["payload"]).encode("ascii"), signature) for key in _read_keys(environ)
    ]
    if not any(matches):
        raise ValueError(
            f"the signature is wrong: it was altered, or signed with a key that {KEY_VARIABLE} does not hold"
        )
    return _parse(found["payload"])


def _mismatches(approval: Approval, environment_name: str, digest: str, now: float) -> list[str]:
    problems = []
    if approval.environment != environment_name:
        problems.append(f"it is for {approval.environment}, not for {environment_name}")
    if approval.digest != digest:
        problems.append(f"it is for another digest, {approval.digest}, not for {digest}")
    if approval.issued_at is not None and approval.issued_at > now + _LARGEST_SKEW:
        moment = render_moment(approval.issued_at)
        problems.append(f"it was issued in the future, at {moment}: the clock here or there is wrong")
    if approval.expires_at is None or now >= approval.expires_at:
        end = "never valid" if approval.expires_at is None else f"expired at {render_moment(approval.expires_at)}"
        problems.append(f"it {end}")
    return problems


def _read_keys(environ: Mapping[str, str]) -> list[bytes]:
    """Read the keys, the one to sign with first; raise `ValueError` unless each of them is long enough."""
    text = environ.get(KEY_VARIABLE, "").strip()
    redact.register(text)
    keys = [part.strip() for part in text.split(",") if part.strip()]
    for key in keys:
        redact.register(key)
    if not keys:
        raise ValueError(f"{KEY_VARIABLE} is not set")
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"{KEY_VARIABLE} holds {len(keys)} keys, separated by commas; two are allowed")
    encoded = [key.encode("utf-8", "surrogateescape") for key in keys]
    if any(len(key) < _SHORTEST_KEY for key in encoded):
        which = "a key" if len(keys) > 1 else "the key"
        raise ValueError(f"{which} in {KEY_VARIABLE} is too short: {_SHORTEST_KEY} bytes or more are needed")
    return encoded


def _signature(key: bytes, payload: str) -> str:
    """Sign the prefix too, so that a payload never counts under another version of the format."""
    return _encode(hmac.digest(key, f"{_PREFIX}.{payload}".encode("ascii"), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _parse(payload: str) -> Approval:
    """Read a payload whose signature was proven; raise `ValueError` where another program signed something else."""
    try:
        facts = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        environment, digest, approver, reason, nonce = (
            _text(facts[name]) for name in ("environment", "digest", "approver", "reason", "nonce")
        )
        issued_at, expires_at = (_moment(facts[name]) for name in ("issued_at", "expires_at"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("its payload is malformed, although the signature is right") from None
    return Approval(environment, approver, "signed", digest, issued_at, expires_at, reason or None, nonce)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LAST_MOMENT:
        raise TypeError
    return value
