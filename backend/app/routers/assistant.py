"""Owns the assistant that answers callers of the business that the token belongs to."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request

from app.dependencies import PartsDependency, UserDependency
from app.errors import ApiError
from app.exact_json import ExactRoute
from app.models.assistant import Reply, ReplyRequest
from app.services.assistant import not_configured

router = APIRouter(prefix="/api/assistant", tags=["assistant"], route_class=ExactRoute)

_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    429: {"description": "The assistant has cost this business as much today as it may."},
    503: {"description": "The assistant is not configured, or not available at the moment."},
    504: {"description": "The assistant did not answer in time."},
}


@router.post("/reply", responses=_FAILURES)
async def reply(body: ReplyRequest, request: Request, user: UserDependency, parts: PartsDependency) -> Reply:
    """Answer what a caller said, from the settings of the business."""
    if parts.assistant is None:
        raise not_configured()
    answering = asyncio.create_task(parts.assistant.reply(parts.database, user.tenant_id, body))
    leaving = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            # Nobody reads this. What was asked for stays counted: it may have to be paid for all the same.
            raise ApiError(503, "assistant_unavailable", "The caller has gone.", action="Ask again.")
        return await answering
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.wait({answering, leaving})


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
