"""Owns the settings of the business that the token belongs to."""

from fastapi import APIRouter, Response

from app.dependencies import SessionDependency, UserDependency
from app.models.messages import Business, BusinessUpdate
from app.services.business import read_business, update_business

router = APIRouter(prefix="/api/business", tags=["business"])


@router.get("/me")
async def read_settings(user: UserDependency, session: SessionDependency, response: Response) -> Business:
    """Return the settings of the user's business."""
    response.headers["Cache-Control"] = "no-store"
    return await read_business(session, user.tenant_id)


@router.put("/me")
async def update_settings(
    update: BusinessUpdate, user: UserDependency, session: SessionDependency, response: Response
) -> Business:
    """Change the settings that are given and return all of them."""
    response.headers["Cache-Control"] = "no-store"
    return await update_business(session, user, update)
