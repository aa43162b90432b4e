"""Owns the shapes of the answers of probes."""

from typing import Literal

from pydantic import BaseModel


class Check(BaseModel):
    """The outcome of one check; `output` says what is wrong when it did not pass."""

    status: Literal["pass", "warn", "fail"]
    duration_ms: float
    output: str | None = None


class Health(BaseModel):
    """Whether the backend can serve, each check by name, and which version answers."""

    status: Literal["pass", "warn", "fail"]
    checks: dict[str, Check]
    version: str


class Liveness(BaseModel):
    """The process answers; nothing else was asked."""

    status: Literal["pass"] = "pass"
