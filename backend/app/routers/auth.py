"""Owns logging in."""

from fastapi import APIRouter, Request, Response

from app.dependencies import PartsDependency, SessionDependency
from app.models.messages import LoginAnswer, LoginRequest

router = APIRouter(prefix="/api/auth", tags=["auth"])


@router.post("/login")
async def login(
    credentials: LoginRequest, request: Request, response: Response, parts: PartsDependency, session: SessionDependency
) -> LoginAnswer:
    """Exchange an email address and a password for an access token."""
    answer = await parts.authenticator.log_in(
        session,
        email=credentials.email,
        password=credentials.password.get_secret_value(),
        client=request.client.host if request.client else "",
    )
    response.headers["Cache-Control"] = "no-store"
    return answer
