"""Owns the way to Google and back, by which a business connects its calendar."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dependencies import PartsDependency, SessionDependency, UserDependency
from app.errors import ApiError
from app.models.calendar import CalendarConnected, CalendarNotConfigured, CalendarStart
from app.services.oauth import LIFETIME
from app.settings import Settings

router = APIRouter(prefix="/oauth/google", tags=["calendar"])

_NOT_CONFIGURED = (
    "This service has no client at Google, so no calendar can be connected. Everything else works without."
)


@router.get(
    "/start",
    response_model=CalendarStart | CalendarNotConfigured,
    responses={
        302: {"description": "To Google; with `Accept: application/json` the address comes in the body instead."},
        404: {"description": "There is no such business, or it is not the user's."},
    },
)
async def start(
    business_id: uuid.UUID,
    request: Request,
    response: Response,
    user: UserDependency,
    parts: PartsDependency,
    session: SessionDependency,
) -> Response | CalendarStart | CalendarNotConfigured:
    """Send the browser to Google, where the owner of a business agrees; without Google say so.

    The answer leaves a cookie, and only with it is the answer of Google accepted.
    """
    if business_id != user.tenant_id:
        raise ApiError(404, "not_found", "There is no such business.", action="Check the id of the business.")
    if user.role != "owner":
        raise ApiError(
            403,
            "forbidden",
            "Only an owner may connect the calendar of a business.",
            action="Ask an owner of the business to do so.",
        )
    if not parts.calendars.available:
        return CalendarNotConfigured(detail=_NOT_CONFIGURED)
    attempt = await parts.calendars.authorization.start(
        session, tenant_id=user.tenant_id, user_id=user.id, browser=request.cookies.get(_cookie(parts.settings))
    )
    if "application/json" in request.headers.get("accept", "").lower():
        _leave(response, attempt.browser, parts.settings)
        return CalendarStart(authorization_url=attempt.authorization_url)
    redirect = RedirectResponse(attempt.authorization_url, 302)
    _leave(redirect, attempt.browser, parts.settings)
    return redirect


@router.get(
    "/callback",
    responses={
        400: {"description": "Nobody waits for this answer (`invalid_state`), or it is a refusal."},
        502: {"description": "Google gave no usable answer."},
    },
)
async def finish(
    request: Request,
    parts: PartsDependency,
    session: SessionDependency,
    state: Annotated[str, Query(max_length=512)] = "",
    code: Annotated[str, Query(max_length=4096)] = "",
    error: Annotated[str, Query(max_length=512)] = "",
) -> CalendarConnected:
    """Connect the calendar that Google sends the browser back from: with a code, or with why there is none."""
    browser = request.cookies.get(_cookie(parts.settings), "")
    return await parts.calendars.authorization.finish(session, state=state, browser=browser, code=code, error=error)


def _is_secure(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")


def _cookie(settings: Settings) -> str:
    # A browser takes a cookie of this prefix from nobody but this very host, over TLS.
    return "__Host-maya-oauth" if _is_secure(settings) else "maya-oauth"


def _leave(response: Response, browser: str, settings: Settings) -> None:
    # Lax: it comes along when Google sends the browser back, and with nothing that another site asks for by itself.
    response.set_cookie(
        _cookie(settings),
        browser,
        max_age=LIFETIME,
        path="/",
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )
