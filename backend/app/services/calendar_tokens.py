"""Owns the tokens of connected calendars: kept encrypted, renewed by one process at a time, forgotten when withdrawn.

Who renews a token first claims that in the row, for a little longer than Google may take. Others wait for the result
without a connection to the database, and so does the one that asks Google. A claim whose owner died ends by itself.
What comes of a renewal is written where its claim still stands: a connection made since has none, and the encryption
key may be replaced meanwhile.
"""

import asyncio
import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Delete, Row, Update, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.calendar import CalendarProblem
from app.models.tables import CalendarConnection
from app.services.encryption import Cipher, DecryptionError, Place
from app.services.google import GoogleClient, GoogleUnavailableError, Grant, GrantRefusedError, RefreshedToken

logger = logging.getLogger(__name__)

_TABLE: Final = CalendarConnection.__tablename__
#: A token that lives no longer than this is renewed first.
_MARGIN: Final = timedelta(seconds=60)
#: Beyond Google's deadline, what a claim leaves for the database's part of a renewal.
_CLAIM_MARGIN: Final = timedelta(seconds=5)
_POLL_INTERVAL: Final = 0.1


class CalendarError(Exception):
    """A business's calendar could not be asked; `problem` says why, for the business."""

    def __init__(self, problem: CalendarProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Kept:
    """The tokens of one connection as they are kept, and whether they will do for now."""

    refresh_token: bytes
    access_token: bytes
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to renew a tenant's token until a time, which no other claim has."""

    tenant_id: uuid.UUID
    until: datetime

    @property
    def stands(self) -> tuple[ColumnElement[bool], ...]:
        """What holds of the connection as long as nobody else has replaced, renewed or claimed it."""
        return CalendarConnection.tenant_id == self.tenant_id, CalendarConnection.refresh_claimed_until == self.until


def place(tenant_id: uuid.UUID, column: str) -> Place:
    """Return where a token of a tenant's connection is kept."""
    return Place(tenant_id, _TABLE, column)


class CalendarTokens:
    """Keeps the tokens of all tenants."""

    def __init__(self, google: GoogleClient, cipher: Cipher, *, claim_for: float) -> None:
        """Renew with `google` within `claim_for` seconds."""
        self._google = google
        self._cipher = cipher
        self._claim = timedelta(seconds=claim_for) + _CLAIM_MARGIN

    async def keep(self, session: AsyncSession, tenant_id: uuid.UUID, grant: Grant) -> None:
        """Keep what a business agreed to, in place of what was kept before. The caller commits."""
        values = {
            "account": grant.account,
            "scopes": grant.scopes,
            "refresh_token": self._encrypt(tenant_id, "refresh_token", grant.refresh_token),
            "access_token": self._encrypt(tenant_id, "access_token", grant.access_token),
            "access_token_expires_at": func.now() + timedelta(seconds=grant.lifetime),
            "refresh_claimed_until": None,
        }
        statement = insert(CalendarConnection).values(tenant_id=tenant_id, **values)
        await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=values))

    async def fetch(
        self, session: AsyncSession, tenant_id: uuid.UUID, *, until: float, refused: SecretStr | None = None
    ) -> SecretStr:
        """Return an access token that lives, other than `refused`; the session's transaction is over afterwards.

        Raise `CalendarError` when there is none, and none can be had before `until`.
        """
        while True:
            kept = await self._read(session, tenant_id)
            access_token = self._decrypt(tenant_id, "access_token", kept.access_token)
            if kept.is_fresh and access_token != refused:
                await session.close()
                return access_token
            if (claim := await self._claim_renewal(session, tenant_id, kept)) is not None:
                renewed = await self._renew(session, claim, kept, until=until)
                if renewed is not None:
                    return renewed
            elif asyncio.get_running_loop().time() + _POLL_INTERVAL > until:
                raise CalendarError("calendar_unavailable", "another process did not renew the token in time")
            else:
                await asyncio.sleep(_POLL_INTERVAL)

    async def forget(self, session: AsyncSession, tenant_id: uuid.UUID) -> SecretStr | None:
        """Delete a tenant's connection and commit.

        Return the token to give back, None when there is none, it cannot be read, or another business has connected
        the same account: to Google both are one agreement, which ends with either token.
        """
        statement = (
            delete(CalendarConnection)
            .where(CalendarConnection.tenant_id == tenant_id)
            .returning(CalendarConnection.refresh_token, CalendarConnection.account)
        )
        row = (await session.execute(statement)).one_or_none()
        if row is None:
            return None
        shared = row.account is not None and await session.scalar(
            select(select(CalendarConnection.tenant_id).where(CalendarConnection.account == row.account).exists())
        )
        await session.commit()
        try:
            return None if shared else self._decrypt(tenant_id, "refresh_token", row.refresh_token)
        except CalendarError:
            return None

    async def _read(self, session: AsyncSession, tenant_id: uuid.UUID) -> _Kept:
        query = select(
            CalendarConnection.refresh_token,
            CalendarConnection.access_token,
            CalendarConnection.access_token_expires_at > func.now() + _MARGIN,
        ).where(CalendarConnection.tenant_id == tenant_id)
        row = (await session.execute(query)).one_or_none()
        if row is None:
            raise CalendarError("calendar_not_connected", "no calendar is connected")
        return _Kept(*row)

    async def _claim_renewal(self, session: AsyncSession, tenant_id: uuid.UUID, kept: _Kept) -> _Claim | None:
        statement = update(CalendarConnection).where(
            CalendarConnection.tenant_id == tenant_id,
            CalendarConnection.refresh_token == kept.refresh_token,
            CalendarConnection.access_token == kept.access_token,
            or_(
                CalendarConnection.refresh_claimed_until.is_(None),
                CalendarConnection.refresh_claimed_until < func.now(),
            ),
        )
        row = await self._execute(session, statement.values(refresh_claimed_until=func.now() + self._claim))
        return None if row is None else _Claim(tenant_id, row.refresh_claimed_until)

    async def _renew(self, session: AsyncSession, claim: _Claim, kept: _Kept, *, until: float) -> SecretStr | None:
        """Return the new token, or None when the connection was replaced or deleted meanwhile."""
        try:
            refresh_token = self._decrypt(claim.tenant_id, "refresh_token", kept.refresh_token)
            renewed = await self._google.refresh(refresh_token, until=until)
        except GrantRefusedError as error:
            # The one that was refused, and not a connection that was made since.
            await self._execute(session, delete(CalendarConnection).where(*claim.stands))
            logger.warning(
                "a calendar was disconnected", extra={"tenant_id": str(claim.tenant_id), "reason": str(error)}
            )
            raise CalendarError("calendar_reconnect_needed", str(error)) from None
        except (GoogleUnavailableError, CalendarError) as error:
            release = update(CalendarConnection).where(*claim.stands).values(refresh_claimed_until=None)
            await self._execute(session, release)
            if isinstance(error, CalendarError):
                raise
            raise CalendarError("calendar_unavailable", str(error)) from None
        return renewed.access_token if await self._store(session, claim, renewed) else None

    async def _store(self, session: AsyncSession, claim: _Claim, renewed: RefreshedToken) -> bool:
        tenant_id = claim.tenant_id
        values = {
            "access_token": self._encrypt(tenant_id, "access_token", renewed.access_token),
            "access_token_expires_at": func.now() + timedelta(seconds=renewed.lifetime),
            "refresh_claimed_until": None,
        }
        if renewed.refresh_token is not None:
            values["refresh_token"] = self._encrypt(tenant_id, "refresh_token", renewed.refresh_token)
        statement = update(CalendarConnection).where(*claim.stands).values(**values)
        return await self._execute(session, statement) is not None

    @staticmethod
    async def _execute(session: AsyncSession, statement: Update | Delete) -> Row[Any] | None:
        """Change a tenant's connection and commit; return its claim, or None where it was not there to change."""
        returning = statement.returning(CalendarConnection.refresh_claimed_until)
        result = await session.execute(returning, execution_options={"synchronize_session": False})
        row = result.one_or_none()
        await session.commit()
        await session.close()
        return row

    def _encrypt(self, tenant_id: uuid.UUID, column: str, token: SecretStr) -> bytes:
        return self._cipher.encrypt(token.get_secret_value(), place(tenant_id, column))

    def _decrypt(self, tenant_id: uuid.UUID, column: str, value: bytes) -> SecretStr:
        try:
            return SecretStr(self._cipher.decrypt(value, place(tenant_id, column)))
        except DecryptionError as error:
            logger.error(  # noqa: TRY400 - the traceback would add nothing
                "a calendar's token cannot be decrypted", extra={"tenant_id": str(tenant_id), "reason": str(error)}
            )
            raise CalendarError("calendar_reconnect_needed", str(error)) from None
