"""Owns what the assistant may cost a business on one day (UTC), whatever asks at the same time.

The most that an answer can cost is reserved before the model is asked, by one statement that refuses what would pass
the limit, and replaced by what it did cost, or may have cost where nobody knows. A crash leaves its reservation, which
counts until the day is over.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_UP, Decimal
from typing import Final

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert

from app.db import Database
from app.models.tables import AssistantUsage

_MILLION: Final = Decimal(1_000_000)
_STEP: Final = Decimal("0.000001")
_KEEP: Final = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens were taken."""

    input_tokens: int = 0
    output_tokens: int = 0

    def plus(self, other: "Usage", *, times: int = 1) -> "Usage":
        """Return the sum of this one and so many `times` the other."""
        return Usage(self.input_tokens + times * other.input_tokens, self.output_tokens + times * other.output_tokens)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in US dollars."""

    input: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """Return what so many tokens cost, in US dollars, rounded up to a millionth."""
        dollars = (usage.input_tokens * self.input + usage.output_tokens * self.output) / _MILLION
        return dollars.quantize(_STEP, rounding=ROUND_UP)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Dollars of a tenant's day that are held for one answer."""

    tenant_id: uuid.UUID
    day: date
    amount: Decimal


async def reserve(
    database: Database, tenant_id: uuid.UUID, amount: Decimal, *, limit: Decimal, now: datetime
) -> Reservation | None:
    """Hold `amount` dollars of what a tenant's day may cost, or return None where they would pass `limit`."""
    if amount > limit:
        return None
    day = now.astimezone(UTC).date()
    taken = (
        insert(AssistantUsage)
        .values(tenant_id=tenant_id, day=day, reserved=amount)
        .on_conflict_do_update(
            index_elements=[AssistantUsage.tenant_id, AssistantUsage.day],
            set_={"reserved": AssistantUsage.reserved + amount},
            where=AssistantUsage.cost + AssistantUsage.reserved + amount <= limit,
        )
        .returning(AssistantUsage.day)
    )
    async with database.session() as session:
        row = (await session.execute(taken)).one_or_none()
        await session.commit()
    return None if row is None else Reservation(tenant_id, day, amount)


async def settle(database: Database, reservation: Reservation, usage: Usage, *, cost: Decimal, answered: bool) -> None:
    """Replace a reservation by what was used in its place, which is nothing where the model was not reached."""
    statement = (
        update(AssistantUsage)
        .where(AssistantUsage.tenant_id == reservation.tenant_id, AssistantUsage.day == reservation.day)
        .values(
            reserved=func.greatest(AssistantUsage.reserved - reservation.amount, 0),
            cost=AssistantUsage.cost + cost,
            answers=AssistantUsage.answers + int(answered),
            input_tokens=AssistantUsage.input_tokens + usage.input_tokens,
            output_tokens=AssistantUsage.output_tokens + usage.output_tokens,
        )
    )
    async with database.session() as session:
        await session.execute(statement, execution_options=_KEEP)
        await session.commit()
