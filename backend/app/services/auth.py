"""Owns who may come in: logging in with a password, and finding the user behind a token."""

import logging
import uuid
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError, not_authenticated
from app.models.auth import LoginAnswer
from app.models.tables import User
from app.observation.metrics import METRICS
from app.reads import Reads
from app.security import Identity, InvalidTokenError, Passwords, Tokens
from app.services.throttle import FailureThrottle

logger = logging.getLogger(__name__)

_FIND_USER = "SELECT role FROM users WHERE id = %s AND tenant_id = %s AND is_active"


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The active user behind a token, as the database has it now."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    role: str


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Logs users in and recognises their tokens."""

    passwords: Passwords
    tokens: Tokens
    throttle: FailureThrottle

    async def log_in(self, session: AsyncSession, *, email: str, password: str, client: str) -> LoginAnswer:
        """Return a token for the user with this email and password.

        An unknown email, a wrong password and a disabled user get the same answer after the same work: 401. Too many
        attempts at one email from one `client` that failed, or are not decided yet, get 429.
        """
        user = await session.scalar(select(User).where(func.lower(User.email) == func.lower(email)))
        # The connection goes back to the pool before the slow hash; what was read stays readable.
        await session.close()
        # Counted before the hash, so that attempts at the same time count too, and taken back by a success.
        attempts = f"{client} {email.lower()}"
        if wait := await self.throttle.count(attempts):
            METRICS.logins.labels("throttled").inc()
            raise _too_many(wait)
        matches = await self.passwords.verify(password, user.password_hash if user else None)
        if user is None or not matches or not user.is_active:
            METRICS.logins.labels("refused").inc()
            raise _wrong_credentials()
        await self.throttle.forget(attempts)
        METRICS.logins.labels("accepted").inc()
        if self.passwords.is_outdated(user.password_hash):
            await self._hash_again(session, user, password)
        token = self.tokens.issue(Identity(user.id, user.tenant_id))
        return LoginAnswer(access_token=token, expires_in=self.tokens.lifetime)

    async def find_user(self, reads: Reads, token: str) -> CurrentUser:
        """Return the active user whom `token` was issued to; raise a 401 otherwise."""
        identity = self.identify(token)
        row = await reads.fetch_row(_FIND_USER, (identity.user_id, identity.tenant_id))
        if row is None:
            raise invalid_token()
        return CurrentUser(identity.user_id, identity.tenant_id, row[0])

    def identify(self, token: str) -> Identity:
        """Return whom `token` was issued to, without asking whether that user may still come in; raise a 401."""
        try:
            return self.tokens.read(token)
        except InvalidTokenError:
            raise invalid_token() from None

    def recognise(self, token: str) -> Identity | None:
        """Return whom `token` was issued to, or None when it is not valid."""
        try:
            return self.tokens.read(token)
        except InvalidTokenError:
            return None

    async def _hash_again(self, session: AsyncSession, user: User, password: str) -> None:
        replaced = await self.passwords.hash(password)
        # A password that was changed meanwhile stays.
        kept = (User.id == user.id, User.password_hash == user.password_hash)
        await session.execute(update(User).where(*kept).values(password_hash=replaced))
        await session.commit()
        logger.info("a password was hashed again, with the parameters of today", extra={"user": str(user.id)})


def invalid_token() -> ApiError:
    """Make the answer for a token that is not, or no longer, good."""
    return not_authenticated("The access token is not valid or has expired.")


def _too_many(wait: int) -> ApiError:
    return ApiError(
        429,
        "too_many_attempts",
        "Too many attempts to log in to this account failed, or are being made at the same time.",
        action=f"Wait {wait} seconds, then try again.",
        headers={"Retry-After": str(wait)},
    )


def _wrong_credentials() -> ApiError:
    return ApiError(
        401,
        "invalid_credentials",
        "The email address or the password is wrong.",
        action="Check both and try again.",
        headers={"WWW-Authenticate": 'Bearer realm="maya"'},
    )
