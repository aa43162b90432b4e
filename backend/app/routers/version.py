"""Owns the answer to "which build is this?"."""

from fastapi import APIRouter

from app.build_info import BuildInfo
from app.dependencies import PartsDependency

router = APIRouter(tags=["version"])


@router.get("/api/v1/version")
async def version(parts: PartsDependency) -> BuildInfo:
    """Name the build that answers: version, revision, digest, branch, build number and time."""
    return parts.build
