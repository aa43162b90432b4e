"""Owns what the running release knows of its own build: the content of build-info.json."""

import json
import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

logger = logging.getLogger(__name__)

NAME = "maya-backend"
UNKNOWN = "unknown"


class BuildInfoError(Exception):
    """build-info.json is there but cannot be used."""


class BuildInfo(BaseModel):
    """The facts of one build, as the build wrote them. Absent facts are None."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = NAME
    version: str = Field(default=UNKNOWN, min_length=1)
    revision: str | None = None
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    branch: str | None = None
    build_number: str | int | None = None
    build_time: str | None = None


def load_build_info(path: Path) -> BuildInfo:
    """Read build-info.json at `path`; without the file every fact is unknown. Raise `BuildInfoError` when malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        logger.info("no build information: this is a working tree, not a release", extra={"path": str(path)})
        return BuildInfo()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, f"it cannot be read ({type(error).__name__})") from None
    try:
        facts: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not JSON") from None
    if not isinstance(facts, dict):
        raise _unusable(path, "it is not a JSON object")
    try:
        return BuildInfo.model_validate(facts | {"digest": facts.get("digest") or None})
    except ValidationError as error:
        wrong = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
        raise _unusable(path, f"these members are malformed: {wrong}") from None


def _unusable(path: Path, reason: str) -> BuildInfoError:
    return BuildInfoError(
        f"The backend cannot start: {path} does not describe a build: {reason}.\n"
        "Build the bundle again, or point BUILD_INFO at the right file."
    )
