"""Owns what the routes ask for: the parts of the application, a database session, the user behind the token."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.build_info import BuildInfo
from app.db import Database
from app.errors import not_authenticated
from app.models.tables import User
from app.services.auth import Authenticator
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What one application is made of."""

    settings: Settings
    build: BuildInfo
    database: Database
    authenticator: Authenticator


_bearer = HTTPBearer(auto_error=False, description="The access token that /api/auth/login returns")


def get_parts(request: Request) -> Parts:
    """Return the parts of the application that answers `request`."""
    parts: Parts = request.app.state.parts
    return parts


PartsDependency = Annotated[Parts, Depends(get_parts)]


async def get_session(parts: PartsDependency) -> AsyncIterator[AsyncSession]:
    """Open a database session for the length of a request."""
    async with parts.database.session() as session:
        yield session


SessionDependency = Annotated[AsyncSession, Depends(get_session)]


async def get_user(
    parts: PartsDependency,
    session: SessionDependency,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> User:
    """Return the user behind the bearer token; raise a 401 without a valid one."""
    if credentials is None:
        raise not_authenticated()
    return await parts.authenticator.find_user(session, credentials.credentials)


UserDependency = Annotated[User, Depends(get_user)]
