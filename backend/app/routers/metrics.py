"""Owns `/metrics`: the figures of this process, for those who may see them."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from app.dependencies import Parts, PartsDependency
from app.errors import ApiError
from app.observation.metrics import CONTENT_TYPE, METRICS, render
from app.services.reminders import count_reminders

router = APIRouter(tags=["metrics"])

_bearer = HTTPBearer(auto_error=False, scheme_name="MetricsToken", description="METRICS_TOKEN")


@router.get("/metrics", include_in_schema=False)
async def metrics(
    parts: PartsDependency, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Response:
    """Return the figures of this process in Prometheus' text format."""
    _authorise(parts, credentials)
    database = parts.database
    METRICS.tell_connections("sessions", in_use=database.sessions_in_use, idle=database.sessions_idle)
    METRICS.tell_connections("reads", in_use=database.reads.in_use, idle=database.reads.idle)
    METRICS.tell_build(parts.build.version, parts.build.revision)
    METRICS.tell_reminders(await count_reminders(database.reads, delay=parts.settings.reminder_delay))
    return Response(render(), media_type=CONTENT_TYPE)


def _authorise(parts: Parts, credentials: HTTPAuthorizationCredentials | None) -> None:
    expected = parts.settings.metrics_token.get_secret_value()
    if not expected:
        if parts.settings.environment != "development":
            raise HTTPException(404)
        return
    given = credentials.credentials if credentials is not None else ""
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise ApiError(
            401,
            "not_authenticated",
            "This needs the token for metrics.",
            action="Send METRICS_TOKEN as: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": 'Bearer realm="maya-metrics"'},
        )
