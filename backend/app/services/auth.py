"""Owns who may come in: logging in with a password, and finding the user behind a token."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError, not_authenticated
from app.models.messages import LoginAnswer
from app.models.tables import User
from app.security import Identity, InvalidTokenError, Passwords, Tokens
from app.services.throttle import FailureThrottle


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Logs users in and recognises their tokens."""

    passwords: Passwords
    tokens: Tokens
    throttle: FailureThrottle

    async def log_in(self, session: AsyncSession, *, email: str, password: str, client: str) -> LoginAnswer:
        """Return a token for the user with this email and password.

        An unknown email, a wrong password and a disabled user get the same answer after the same work: 401. Too many
        failures for one email from one `client` get 429.
        """
        key = f"{client} {email.lower()}"
        if wait := self.throttle.retry_after(key):
            raise ApiError(
                429,
                "too_many_attempts",
                "Too many failed logins for this account.",
                action=f"Wait {wait} seconds, then try again.",
                headers={"Retry-After": str(wait)},
            )
        user = await session.scalar(select(User).where(func.lower(User.email) == func.lower(email)))
        # The connection goes back to the pool before the slow hash; what was read stays readable.
        await session.close()
        matches = await self.passwords.verify(password, user.password_hash if user else None)
        if user is None or not matches or not user.is_active:
            self.throttle.record_failure(key)
            raise ApiError(
                401,
                "invalid_credentials",
                "The email address or the password is wrong.",
                action="Check both and try again.",
                headers={"WWW-Authenticate": 'Bearer realm="maya"'},
            )
        self.throttle.forget(key)
        token = self.tokens.issue(Identity(user.id, user.tenant_id))
        return LoginAnswer(access_token=token, expires_in=self.tokens.lifetime)

    async def find_user(self, session: AsyncSession, token: str) -> User:
        """Return the active user whom `token` was issued to; raise a 401 otherwise."""
        try:
            identity = self.tokens.read(token)
        except InvalidTokenError:
            raise not_authenticated("The access token is not valid or has expired.") from None
        user = await session.get(User, identity.user_id)
        if user is None or not user.is_active or user.tenant_id != identity.tenant_id:
            raise not_authenticated("The access token is not valid or has expired.")
        return user
