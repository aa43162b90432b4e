"""Owns what the routes ask for: the parts of the application, a database session, the user behind the token."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncSession

from app.build_info import BuildInfo
from app.db import Database
from app.errors import not_authenticated
from app.logs import caller
from app.observation.tracing import Tracing
from app.security import Identity
from app.services.assistant import Assistant
from app.services.auth import Authenticator, CurrentUser
from app.services.calendar import Calendars
from app.services.counting import Counts
from app.services.health import HealthMonitor
from app.services.payments import PaymentRequests
from app.services.stripe_service import PaymentLinks
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What one application is made of."""

    settings: Settings
    build: BuildInfo
    database: Database
    authenticator: Authenticator
    counts: Counts
    health: HealthMonitor
    tracing: Tracing | None
    links: PaymentLinks | None
    payment_requests: PaymentRequests
    calendars: Calendars
    assistant: Assistant | None


_bearer = HTTPBearer(auto_error=False, description="The access token that /api/auth/login returns")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def find_parts(request: Request) -> Parts:
    """Return the parts of the application that answers `request`."""
    parts: Parts = request.app.state.parts
    return parts


async def get_parts(request: Request) -> Parts:
    """Return the parts of the application that answers `request`."""
    return find_parts(request)


PartsDependency = Annotated[Parts, Depends(get_parts)]


async def get_session(parts: PartsDependency) -> AsyncIterator[AsyncSession]:
    """Open a database session until the route returns: a client that takes its answer slowly holds no connection."""
    async with parts.database.session() as session:
        yield session


SessionDependency = Annotated[AsyncSession, Depends(get_session, scope="function")]


class _IdentityBearer(SecurityBase):
    """Finds whom the bearer token was issued to; a 401 without a valid one.

    Whether that user may still come in is for the route to find out, within the query that it makes anyway. It is a
    scheme itself, and not a function that depends on one: each dependency costs as much as what this one does.
    """

    model = _bearer.model
    scheme_name = _bearer.scheme_name

    async def __call__(self, request: Request) -> Identity:
        # The middleware has read the same token, for the log and the limits.
        identity = caller.get()
        if identity is not None:
            return identity
        credentials = await _bearer(request)
        if credentials is None:
            raise not_authenticated()
        return find_parts(request).authenticator.identify(credentials.credentials)


IdentityDependency = Annotated[Identity, Depends(_IdentityBearer())]


async def get_user(parts: PartsDependency, credentials: _Credentials) -> CurrentUser:
    """Return the active user behind the bearer token; raise a 401 without a valid one."""
    if credentials is None:
        raise not_authenticated()
    return await parts.authenticator.find_user(parts.database.reads, credentials.credentials)


UserDependency = Annotated[CurrentUser, Depends(get_user)]
