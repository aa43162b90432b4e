"""Owns the shapes of logging in."""

from typing import Literal

from pydantic import BaseModel

from app.models.values import Email, Password, RequestModel


class LoginRequest(RequestModel):
    """What a user logs in with."""

    email: Email
    password: Password


class LoginAnswer(BaseModel):
    """An access token and how many seconds it lives."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  (the token's type, not a token)
    expires_in: int
