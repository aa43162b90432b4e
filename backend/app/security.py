"""Owns passwords and access tokens."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher

ISSUER = "maya-backend"
AUDIENCE = "maya-api"
_ALGORITHM = "HS256"
_REQUIRED = ("exp", "iat", "aud", "iss", "sub", "tenant_id")
#: One hash takes 64 MiB: this bounds what simultaneous logins may take of the machine.
_CONCURRENT_HASHES = 4
_MOST_REMEMBERED = 4096


class InvalidTokenError(Exception):
    """A token is malformed, expired, forged or meant for someone else."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token was issued to."""

    user_id: uuid.UUID
    tenant_id: uuid.UUID


def _now() -> datetime:
    return datetime.now(UTC)


def key_id(key: str) -> str:
    """Return the short name of a signing key that its tokens carry; the key cannot be told from it."""
    return hashlib.sha256(b"maya signing key: " + key.encode()).hexdigest()[:12]


class Tokens:
    """Issues access tokens with the first of its keys, and reads those of all."""

    def __init__(
        self,
        keys: Sequence[str],
        *,
        lifetime: int,
        now: Callable[[], datetime] = _now,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Sign with the first of `keys`; tokens live for `lifetime` seconds."""
        self._keys = {key_id(key): key for key in keys}
        self._signing = key_id(keys[0])
        self._now = now
        self._clock = clock
        self._read: dict[str, tuple[Identity, float]] = {}
        self.lifetime = lifetime

    def issue(self, identity: Identity) -> str:
        """Return a signed token for `identity`."""
        now = self._now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(identity.user_id),
            "tenant_id": str(identity.tenant_id),
            "iat": now,
            "exp": now + timedelta(seconds=self.lifetime),
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self._keys[self._signing], algorithm=_ALGORITHM, headers={"kid": self._signing})

    def read(self, token: str) -> Identity:
        """Return whom `token` was issued to; raise `InvalidTokenError` unless every claim holds.

        A token that was read before is looked up, since nothing but its expiry can change: keys stay for a process's
        life. Whether the user may still come in is the database's to say, at every request.
        """
        known = self._read.get(token)
        if known is not None and self._clock() < known[1]:
            return known[0]
        identity, expiry = self._verify(token)
        if len(self._read) >= _MOST_REMEMBERED:
            # The oldest goes; one that is still used is verified once more.
            del self._read[next(iter(self._read))]
        self._read[token] = identity, expiry
        return identity

    def _verify(self, token: str) -> tuple[Identity, float]:
        try:
            name = jwt.get_unverified_header(token).get("kid")
            # Tokens issued before keys had names carry none; there are as many keys to try as were configured.
            keys = list(self._keys.values()) if name is None else [self._keys[name]]
            claims = _decode(token, keys)
            return Identity(uuid.UUID(claims["sub"]), uuid.UUID(claims["tenant_id"])), float(claims["exp"])
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            self._read.pop(token, None)
            raise InvalidTokenError from None


def _decode(token: str, keys: Sequence[str]) -> dict[str, Any]:
    for key in keys[:-1]:
        try:
            return _decode(token, [key])
        except jwt.InvalidSignatureError:
            continue
    claims: dict[str, Any] = jwt.decode(
        token,
        keys[-1],
        algorithms=[_ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": list(_REQUIRED)},
    )
    return claims


class Passwords:
    """Hashes and checks passwords with argon2id, off the event loop."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        """Hash with `hasher`; without one, with the parameters that pwdlib recommends."""
        self._hash = PasswordHash((hasher or Argon2Hasher(),))
        self._slots = asyncio.Semaphore(_CONCURRENT_HASHES)
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        async with self._slots:
            return await asyncio.to_thread(self._hash.hash, password)

    async def verify(self, password: str, kept: str | None) -> bool:
        """Say whether `password` belongs to the hash `kept`; None costs the same work and is always False."""
        if self._decoy is None:
            self._decoy = await self.hash(uuid.uuid4().hex)
        async with self._slots:
            matches = await asyncio.to_thread(self._matches, password, kept or self._decoy)
        return matches and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Say whether the hash `kept` was made with other parameters than those of today."""
        return self._hash.current_hasher.check_needs_rehash(kept)

    def _matches(self, password: str, kept: str) -> bool:
        try:
            return self._hash.verify(password, kept)
        except PwdlibError:
            return False
