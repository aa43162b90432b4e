"""Owns logging in."""

from fastapi import APIRouter, Request

from app.dependencies import PartsDependency, SessionDependency
from app.exact_json import ExactRoute
from app.models.auth import LoginAnswer, LoginRequest
from app.services.rates import name_address

router = APIRouter(prefix="/api/auth", tags=["auth"], route_class=ExactRoute)


@router.post("/login", responses={401: {"description": "The email address or the password is wrong."}})
async def login(
    credentials: LoginRequest, request: Request, parts: PartsDependency, session: SessionDependency
) -> LoginAnswer:
    """Exchange an email address and a password for an access token."""
    return await parts.authenticator.log_in(
        session,
        email=credentials.email,
        password=credentials.password.get_secret_value(),
        client=name_address(request.client.host) if request.client else "",
    )
