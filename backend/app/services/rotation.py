"""Owns the replacing of the encryption key: what a previous key encrypted is encrypted with the current one.

A few rows at a time, each few in a transaction of their own: what was done stays done when this is interrupted, and
doing it again finds only what is left. Rows are locked while they are changed, so that a token which is renewed at the
same time is not written over.
"""

import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.models.tables import CalendarConnection, OAuthState
from app.services.encryption import Cipher, DecryptionError, Place

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """How many values were encrypted again, were already current, and cannot be decrypted with any key."""

    encrypted: int = 0
    current: int = 0
    lost: int = 0

    def plus(self, other: "Progress") -> "Progress":
        """Return the sum of both."""
        return Progress(self.encrypted + other.encrypted, self.current + other.current, self.lost + other.lost)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A table that keeps encrypted values: its key, and the columns that hold them."""

    table: type[CalendarConnection] | type[OAuthState]
    key: InstrumentedAttribute[Any]
    columns: tuple[str, ...]

    def select(self, after: Any, size: int) -> Select[Any]:
        """Return the query for the next rows in the order of the key."""
        columns = [getattr(self.table, column) for column in self.columns]
        query = select(self.key.label("key"), self.table.tenant_id, *columns).order_by(self.key).limit(size)
        return (query if after is None else query.where(self.key > after)).with_for_update()


#: Every encrypted column. One that is missing here would be lost with its key: a test compares with the tables.
SUBJECTS: Final = (
    _Subject(CalendarConnection, CalendarConnection.tenant_id, ("refresh_token", "access_token")),
    _Subject(OAuthState, OAuthState.state_hash, ("code_verifier",)),
)


async def rotate(session: AsyncSession, cipher: Cipher, *, batch_size: int = BATCH_SIZE) -> AsyncIterator[Progress]:
    """Encrypt everything again that the current key did not; yield what was done, after each batch is committed."""
    for subject in SUBJECTS:
        after: Any = None
        while rows := (await session.execute(subject.select(after, batch_size))).all():
            progress = Progress()
            for row in rows:
                progress = progress.plus(await _rotate_row(session, cipher, subject, row))
            await session.commit()
            yield progress
            after = rows[-1].key


async def _rotate_row(session: AsyncSession, cipher: Cipher, subject: _Subject, row: Row[Any]) -> Progress:
    changed: dict[str, bytes] = {}
    current = lost = 0
    for column in subject.columns:
        try:
            value = _encrypt_again(cipher, row.tenant_id, subject.table.__tablename__, column, getattr(row, column))
        except DecryptionError as error:
            lost += 1
            facts = {"table": subject.table.__tablename__, "column": column, "tenant_id": str(row.tenant_id)}
            logger.warning("a value cannot be decrypted", extra={**facts, "reason": str(error)})
            continue
        if value is None:
            current += 1
        else:
            changed[column] = value
    if changed:
        statement = update(subject.table).where(subject.key == row.key).values(**changed)
        await session.execute(statement, execution_options={"synchronize_session": False})
    return Progress(len(changed), current, lost)


def _encrypt_again(cipher: Cipher, tenant_id: uuid.UUID, table: str, column: str, value: bytes) -> bytes | None:
    """Return the value under the current key, or None when it is under it already; raise `DecryptionError`."""
    place = Place(tenant_id, table, column)
    plain = cipher.decrypt(value, place)
    return None if cipher.is_current(value) else cipher.encrypt(plain, place)
