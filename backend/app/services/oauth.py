"""Owns how a business connects its calendar: the attempt that begins here, and the answer that Google sends back with.

An attempt is one row. Its key is a hash over the state, which travels through Google, and over a secret of the browser
that began it, which stays in a cookie there: an answer that arrives in another browser finds nothing. The row is
deleted by the first answer that finds it, so an attempt is used once, whatever became of it.

Source: RFC 6749 10.12 and RFC 9700 4.7 (forged answers), RFC 7636 (PKCE).
"""

import base64
import hashlib
import logging
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import SecretStr
from sqlalchemy import and_, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError
from app.models.calendar import CalendarConnected
from app.models.tables import OAuthState, User
from app.services.calendar_tokens import CalendarTokens
from app.services.encryption import Cipher, DecryptionError, Place
from app.services.google import GoogleClient, GoogleUnavailableError, Grant, GrantRefusedError

logger = logging.getLogger(__name__)

#: Seconds in which a business has to agree.
LIFETIME: Final = 600
_SECRET_BYTES: Final = 32
_VERIFIER_BYTES: Final = 48
_MOST_CLEANED: Final = 100
_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{43}")
#: Errors of RFC 6749 4.1.2.1 that say that Google failed; with all others it refused.
_FAILED: Final = frozenset({"server_error", "temporarily_unavailable"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where to send the browser, and the secret to leave with it."""

    authorization_url: str
    browser: str


@dataclass(frozen=True, slots=True)
class _Claimed:
    tenant_id: uuid.UUID
    verifier: SecretStr


class CalendarAuthorization:
    """Begins and ends the attempts of all tenants."""

    def __init__(self, google: GoogleClient, cipher: Cipher, tokens: CalendarTokens) -> None:
        self._google = google
        self._cipher = cipher
        self._tokens = tokens

    async def start(
        self, session: AsyncSession, *, tenant_id: uuid.UUID, user_id: uuid.UUID, browser: str | None
    ) -> Attempt:
        """Begin an attempt of a user; `browser` is the secret that an earlier one left."""
        if browser is None or not _BROWSER.fullmatch(browser):
            browser = secrets.token_urlsafe(_SECRET_BYTES)
        state = secrets.token_urlsafe(_SECRET_BYTES)
        verifier = secrets.token_urlsafe(_VERIFIER_BYTES)
        await _clean(session)
        session.add(
            OAuthState(
                state_hash=_hash(state, browser),
                tenant_id=tenant_id,
                user_id=user_id,
                code_verifier=self._cipher.encrypt(verifier, verifier_place(tenant_id)),
                expires_at=func.now() + timedelta(seconds=LIFETIME),
            )
        )
        await session.commit()
        url = self._google.authorization_url(state=state, challenge=_challenge(verifier))
        return Attempt(url, browser)

    async def finish(
        self, session: AsyncSession, *, state: str, browser: str, code: str, error: str
    ) -> CalendarConnected:
        """Connect the calendar that an answer of Google's brings a `code` for.

        Raise a 400 when nobody waits for this answer, or when it is a refusal; a 502 when Google failed.
        """
        claimed = await self._claim(session, state, browser)
        if claimed is None:
            raise _invalid_state()
        if error in _FAILED:
            raise _unavailable()
        if error or not code:
            raise _refused("The business did not agree." if error == "access_denied" else "Google sent no code.")
        grant = await self._exchange(claimed, code)
        try:
            await self._tokens.keep(session, claimed.tenant_id, grant)
            await session.commit()
        except IntegrityError:
            # The business was deleted while Google was asked.
            raise _invalid_state() from None
        logger.info("a calendar was connected", extra={"tenant_id": str(claimed.tenant_id)})
        return CalendarConnected(account=grant.account)

    async def _claim(self, session: AsyncSession, state: str, browser: str) -> _Claimed | None:
        """Use an attempt up; None unless it is there, in time, and its user may still connect a calendar."""
        if not self._google.is_configured:
            return None
        may_connect = and_(User.is_active, User.role == "owner", User.tenant_id == OAuthState.tenant_id)
        statement = (
            delete(OAuthState)
            .where(OAuthState.state_hash == _hash(state, browser), User.id == OAuthState.user_id)
            .returning(
                OAuthState.tenant_id,
                OAuthState.code_verifier,
                and_(OAuthState.expires_at > func.now(), may_connect).label("good"),
            )
            .execution_options(synchronize_session=False)
        )
        row = (await session.execute(statement)).one_or_none()
        await session.commit()
        await session.close()
        if row is None or not row.good:
            return None
        try:
            verifier = self._cipher.decrypt(row.code_verifier, verifier_place(row.tenant_id))
        except DecryptionError as error:
            logger.warning("an attempt to connect a calendar cannot be read", extra={"reason": str(error)})
            return None
        return _Claimed(row.tenant_id, SecretStr(verifier))

    async def _exchange(self, claimed: _Claimed, code: str) -> Grant:
        tenant = str(claimed.tenant_id)
        try:
            return await self._google.exchange(code, verifier=claimed.verifier, until=self._google.deadline())
        except GrantRefusedError as error:
            logger.info("Google refused to connect a calendar", extra={"tenant_id": tenant, "reason": str(error)})
            raise _refused(error.explanation) from None
        except GoogleUnavailableError as error:
            logger.warning("Google failed to connect a calendar", extra={"tenant_id": tenant, "reason": str(error)})
            raise _unavailable() from None


def verifier_place(tenant_id: uuid.UUID) -> Place:
    """Return where the PKCE verifiers of a tenant are kept."""
    return Place(tenant_id, OAuthState.__tablename__, "code_verifier")


async def _clean(session: AsyncSession) -> None:
    """Delete attempts that nobody finished, a few at a time; what another process is deleting is left to it."""
    expired = (
        select(OAuthState.state_hash)
        .where(OAuthState.expires_at < func.now())
        .limit(_MOST_CLEANED)
        .with_for_update(skip_locked=True)
    )
    statement = delete(OAuthState).where(OAuthState.state_hash.in_(expired))
    await session.execute(statement.execution_options(synchronize_session=False))


def _hash(state: str, browser: str) -> bytes:
    # Neither part can run into the other: the first is hashed to a fixed length.
    return hashlib.sha256(hashlib.sha256(state.encode()).digest() + browser.encode()).digest()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _invalid_state() -> ApiError:
    return ApiError(
        400,
        "invalid_state",
        "Nobody waits for this answer: it was used, is too old, or belongs to another browser.",
        action="Start again at /oauth/google/start, and finish in the same browser.",
    )


def _refused(explanation: str) -> ApiError:
    return ApiError(
        400,
        "authorization_refused",
        f"The calendar is not connected. {explanation}",
        action="Start again at /oauth/google/start, and agree to everything that Google asks.",
    )


def _unavailable() -> ApiError:
    return ApiError(
        502,
        "calendar_unavailable",
        "The calendar is not connected: Google gave no usable answer.",
        action="Start again at /oauth/google/start in a few minutes.",
    )
