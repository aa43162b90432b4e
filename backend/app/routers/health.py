"""Owns the probes: is the process alive, and can it serve?"""

from fastapi import APIRouter, Response

from app.dependencies import PartsDependency
from app.models.health import Health, Liveness

router = APIRouter(tags=["health"])

_RETRY = {"Retry-After": "5"}


@router.get("/api/health", responses={503: {"model": Health}}, response_model=Health)
@router.get("/api/v1/health", responses={503: {"model": Health}}, response_model=Health, operation_id="health_v1")
async def health(parts: PartsDependency) -> Response:
    """Say whether the backend can serve: 200 when every check passes or warns, 503 when one fails."""
    report = await parts.health.report(parts.database)
    if report.healthy:
        return Response(report.body, media_type="application/json")
    return Response(report.body, 503, headers=_RETRY, media_type="application/json")


@router.get("/api/live")
async def live() -> Liveness:
    """Say that the process answers, and nothing about what it depends on."""
    return Liveness()
