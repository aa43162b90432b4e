"""Owns the settings of the business that the token belongs to."""

from typing import Any, Final

from fastapi import APIRouter, Request

from app.dependencies import IdentityDependency, Parts, PartsDependency, SessionDependency, UserDependency, find_parts
from app.exact_json import ExactRoute
from app.models.business import Business, BusinessUpdate
from app.security import Identity
from app.services.business import read_business, update_business

router = APIRouter(prefix="/api/business", tags=["business"], route_class=ExactRoute)

_NO_SETTINGS: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "This business has no settings."}}
_TAKEN: Final[dict[int | str, dict[str, Any]]] = {409: {"description": "Another business uses this phone number."}}


@router.get("/me", responses=_NO_SETTINGS)
async def read_settings(identity: IdentityDependency, request: Request) -> Business:
    """Return the settings of the user's business."""
    return await _read(find_parts(request), identity)


@router.put("/me", responses=_NO_SETTINGS | _TAKEN)
async def update_settings(
    update: BusinessUpdate, user: UserDependency, session: SessionDependency, parts: PartsDependency
) -> Business:
    """Change the settings that are given and return all of them."""
    await update_business(session, user, update)
    return await _read(parts, Identity(user.id, user.tenant_id))


async def _read(parts: Parts, identity: Identity) -> Business:
    available = bool(parts.settings.google_client_id.get_secret_value())
    return await read_business(parts.database.reads, identity, calendar_available=available)
