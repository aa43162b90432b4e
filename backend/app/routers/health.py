"""Owns the probes: is the process alive, and can it serve?"""

from fastapi import APIRouter, Response

from app.dependencies import PartsDependency
from app.models.messages import Health, Liveness
from app.services.health import check_health

router = APIRouter(tags=["health"])

_NO_STORE = {"Cache-Control": "no-store"}


@router.get("/api/health", responses={503: {"model": Health}}, response_model_exclude_none=True)
@router.get(
    "/api/v1/health", responses={503: {"model": Health}}, response_model_exclude_none=True, operation_id="health_v1"
)
async def health(parts: PartsDependency, response: Response) -> Health:
    """Say whether the backend can serve: 200 when every check passes or warns, 503 when one fails."""
    report = await check_health(parts.database, version=parts.build.version, within=parts.settings.health_timeout)
    response.headers.update(_NO_STORE)
    if report.status == "fail":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return report


@router.get("/api/live")
async def live(response: Response) -> Liveness:
    """Say that the process answers, and nothing about what it depends on."""
    response.headers.update(_NO_STORE)
    return Liveness()
