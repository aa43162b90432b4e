"""Owns the answer to "which build is this?"."""

from fastapi import APIRouter, Response

from app.build_info import BuildInfo
from app.dependencies import PartsDependency

router = APIRouter(tags=["version"])


@router.get("/api/v1/version")
async def version(parts: PartsDependency, response: Response) -> BuildInfo:
    """Name the build that answers: version, revision, digest, branch, build number and time."""
    response.headers["Cache-Control"] = "no-store"
    return parts.build
