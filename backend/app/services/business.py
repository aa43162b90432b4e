"""Owns the settings of a business: reading them, changing them, and the rules between them."""

import uuid

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError, invalid_field
from app.models.messages import Business, BusinessUpdate
from app.models.tables import BusinessSettings, Tenant, User

_PHONE_INDEX = "business_settings_phone_number_key"


async def read_business(session: AsyncSession, tenant_id: uuid.UUID) -> Business:
    """Return the settings of a tenant; raise a 404 when it has none."""
    tenant, settings = await _load(session, tenant_id)
    return _render(tenant, settings)


async def update_business(session: AsyncSession, user: User, update: BusinessUpdate) -> Business:
    """Change the settings of the user's tenant and return all of them.

    Raise a 403 unless the user is an owner, a 422 when the settings would contradict each other, and a 409 when another
    business has the phone number.
    """
    if user.role != "owner":
        raise ApiError(
            403,
            "forbidden",
            "Only an owner may change the settings of a business.",
            action="Ask an owner of the business to make the change.",
        )
    tenant, settings = await _load(session, user.tenant_id, lock=True)
    for name, value in update.given.items():
        setattr(tenant if name == "name" else settings, name, value)
    if settings.receptionist_enabled and settings.phone_number is None:
        raise invalid_field("receptionist_enabled", "needs a phone_number")
    try:
        await session.flush()
    except IntegrityError as error:
        raise _conflict(error) from error
    # A trigger sets updated_at.
    await session.refresh(tenant)
    await session.refresh(settings)
    business = _render(tenant, settings)
    await session.commit()
    return business


async def _load(session: AsyncSession, tenant_id: uuid.UUID, *, lock: bool = False) -> tuple[Tenant, BusinessSettings]:
    query = (
        select(Tenant, BusinessSettings)
        .join(BusinessSettings, BusinessSettings.tenant_id == Tenant.id)
        .where(Tenant.id == tenant_id)
    )
    if lock:
        query = query.with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise ApiError(
            404, "not_found", "This business has no settings.", action="Create the account with app.create_user."
        )
    tenant, settings = row
    return tenant, settings


def _conflict(error: IntegrityError) -> Exception:
    if _PHONE_INDEX in str(error.orig):
        return ApiError(
            409,
            "phone_number_taken",
            "Another business uses this phone number.",
            action="Choose another phone number.",
        )
    return error


def _render(tenant: Tenant, settings: BusinessSettings) -> Business:
    return Business(
        id=tenant.id,
        name=tenant.name,
        timezone=settings.timezone,
        phone_number=settings.phone_number,
        receptionist_enabled=settings.receptionist_enabled,
        greeting=settings.greeting,
        updated_at=max(tenant.updated_at, settings.updated_at),
    )
