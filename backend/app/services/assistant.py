"""Owns the assistant's answer to a caller: from the business's settings, within its day's limit of cost.

No connection to the database is held while the model is asked.
"""

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from app.db import UNAVAILABLE, Database, explain
from app.errors import ApiError
from app.models.assistant import Reply, ReplyRequest, clean
from app.services.assistant_budget import Prices, Reservation, Usage, reserve, settle
from app.services.assistant_model import (
    MOST_ATTEMPTS,
    Answer,
    Attempts,
    Model,
    ModelTimeoutError,
    ModelUnavailableError,
)
from app.services.assistant_prompt import DECLINED, Facts, cut, write_rules
from app.settings import Settings

logger = logging.getLogger(__name__)

_FIND_FACTS = """
SELECT t.name, coalesce(s.timezone, 'UTC'), coalesce(s.greeting, ''), coalesce(s.receptionist_enabled, false)
FROM tenants t LEFT JOIN business_settings s ON s.tenant_id = t.id WHERE t.id = %s
"""
#: Tokens that the vendor adds to what is sent. A token is one byte at least, so bytes are the most that there can be.
_OVERHEAD: Final = 200
_RETRY_AFTER: Final = "5"


def _now() -> datetime:
    return datetime.now(UTC)


def connect_assistant(settings: Settings) -> "Assistant | None":
    """Return the assistant as the settings say, or None where it is not configured."""
    return Assistant(settings, Model(settings)) if settings.anthropic_api_key.get_secret_value() else None


class Assistant:
    """Answers callers by a model."""

    def __init__(self, settings: Settings, model: Model, *, now: Callable[[], datetime] = _now) -> None:
        """Take the limit and the prices from `settings`."""
        self.model = model
        self._limit = settings.assistant_daily_cost_limit
        self._prices = Prices(settings.assistant_input_price, settings.assistant_output_price)
        self._most_output = settings.assistant_max_tokens
        self._now = now
        self._writing: set[asyncio.Task[None]] = set()

    async def reply(self, database: Database, tenant_id: uuid.UUID, request: ReplyRequest) -> Reply:
        """Answer a caller of a business; raise a 429 over its limit, a 503 or a 504 when the model fails."""
        row = await database.reads.fetch_row(_FIND_FACTS, (tenant_id,))
        if row is None:
            raise ApiError(404, "not_found", "There is no such business.", action="Log in again.")
        rules = write_rules(Facts(*row), now=self._now(), caller_known=request.caller is not None)
        most = Usage(len(rules.encode()) + len(request.message.encode()) + _OVERHEAD, self._most_output)
        attempts, answer = Attempts(), None
        reservation = await self._reserve(database, tenant_id, Usage().plus(most, times=MOST_ATTEMPTS))
        try:
            answer = await self._ask(rules, request.message, attempts)
        finally:
            told = answer.usage if answer is not None and answer.usage is not None else Usage()
            usage = told.plus(most, times=attempts.untold)
            # Whoever is cancelled does not wait for the database; the writing goes on without it.
            await asyncio.shield(self._keep(self._settle(database, reservation, usage, answered=answer is not None)))
        return _render(answer)

    async def _ask(self, rules: str, message: str, attempts: Attempts) -> Answer:
        try:
            return await self.model.ask(rules=rules, message=message, attempts=attempts)
        except ModelTimeoutError:
            raise ApiError(
                504, "assistant_timeout", "The assistant did not answer in time.", action="Try again."
            ) from None
        except ModelUnavailableError as error:
            logger.warning("the assistant is not available", extra={"reason": str(error)})
            raise _unavailable() from None

    async def _reserve(self, database: Database, tenant_id: uuid.UUID, most: Usage) -> Reservation:
        now = self._now()
        reservation = await reserve(database, tenant_id, self._prices.cost(most), limit=self._limit, now=now)
        if reservation is None:
            raise _limit_reached(now)
        return reservation

    async def _settle(self, database: Database, reservation: Reservation, usage: Usage, *, answered: bool) -> None:
        try:
            await settle(database, reservation, usage, cost=self._prices.cost(usage), answered=answered)
        except (*UNAVAILABLE, SQLAlchemyError) as error:
            logger.error(  # noqa: TRY400 - an outage is told in one line
                "what was asked of the model could not be written down; its reservation stays",
                extra={"tenant_id": str(reservation.tenant_id), "reason": explain(error)},
            )

    def _keep(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def close(self) -> None:
        """Finish what is being written and close the connections."""
        if self._writing:
            await asyncio.wait(self._writing)
        await self.model.close()


def _render(answer: Answer) -> Reply:
    text, was_cut = cut(clean(answer.text))
    if answer.stopped == "declined":
        return Reply(reply=DECLINED, model=answer.model, stopped="end")
    if not text:
        logger.warning("the assistant is not available", extra={"reason": "the answer is empty"})
        raise _unavailable()
    return Reply(reply=text, model=answer.model, stopped="length" if was_cut or answer.stopped == "length" else "end")


def not_configured() -> ApiError:
    """Make the answer where there is no assistant."""
    return ApiError(
        503,
        "assistant_not_configured",
        "There is no assistant: it is not configured here.",
        action="Set ANTHROPIC_API_KEY, then start the backend again.",
    )


def _unavailable() -> ApiError:
    return ApiError(
        503,
        "assistant_unavailable",
        "The assistant is not available at the moment.",
        action=f"Try again in {_RETRY_AFTER} seconds.",
        headers={"Retry-After": _RETRY_AFTER},
    )


def _limit_reached(now: datetime) -> ApiError:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    seconds = max(math.ceil((midnight - now).total_seconds()), 1)
    return ApiError(
        429,
        "assistant_limit_reached",
        "The assistant has cost this business as much today as it may.",
        action="Try again after midnight UTC, or raise ASSISTANT_DAILY_COST_LIMIT.",
        headers={"Retry-After": str(seconds)},
    )
