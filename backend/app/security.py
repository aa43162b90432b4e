"""Owns passwords and access tokens."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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


class InvalidTokenError(Exception):
    """A token is malformed, expired, forged or meant for someone else."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token was issued to."""

    user_id: uuid.UUID
    tenant_id: uuid.UUID


def _now() -> datetime:
    return datetime.now(UTC)


class Tokens:
    """Issues and reads access tokens signed with one key."""

    def __init__(self, key: str, *, lifetime: int, now: Callable[[], datetime] = _now) -> None:
        """Sign with `key`; tokens live for `lifetime` seconds."""
        self._key = key
        self._now = now
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
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Identity:
        """Return whom `token` was issued to; raise `InvalidTokenError` unless every claim holds."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": list(_REQUIRED)},
            )
            return Identity(uuid.UUID(claims["sub"]), uuid.UUID(claims["tenant_id"]))
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise InvalidTokenError from None


class Passwords:
    """Hashes and checks passwords with argon2id, off the event loop."""

    def __init__(self) -> None:
        self._hash = PasswordHash((Argon2Hasher(),))
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

    def _matches(self, password: str, kept: str) -> bool:
        try:
            return self._hash.verify(password, kept)
        except PwdlibError:
            return False
