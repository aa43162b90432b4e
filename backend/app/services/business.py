"""Owns the settings of a business: reading them, changing them, and the rules between them."""

import uuid

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ApiError, invalid_field
from app.models.business import Business, BusinessUpdate
from app.models.calendar import CalendarState
from app.models.tables import BusinessSettings, Tenant
from app.reads import Reads
from app.security import Identity
from app.services.auth import CurrentUser, invalid_token

_PHONE_INDEX = "business_settings_phone_number_key"
#: Every table is found by its primary key.
_READ = """
SELECT tenants.id, tenants.name, settings.timezone, settings.phone_number, settings.receptionist_enabled,
       settings.greeting, calendar.tenant_id IS NOT NULL, calendar.account,
       greatest(tenants.updated_at, settings.updated_at)
FROM users
JOIN tenants ON tenants.id = users.tenant_id
LEFT JOIN business_settings AS settings ON settings.tenant_id = users.tenant_id
LEFT JOIN calendar_connections AS calendar ON calendar.tenant_id = users.tenant_id
WHERE users.id = %s AND users.tenant_id = %s AND users.is_active
"""


async def read_business(reads: Reads, identity: Identity, *, calendar_available: bool) -> Business:
    """Return the settings of the business of an active user, in one query.

    Raise a 401 when the user may not come in (any more), and a 404 when the business has no settings.
    """
    row = await reads.fetch_row(_READ, (identity.user_id, identity.tenant_id))
    if row is None:
        raise invalid_token()
    business, name, timezone, phone_number, receptionist_enabled, greeting, connected, account, updated_at = row
    if timezone is None:
        raise _no_settings()
    return Business(
        id=business,
        name=name,
        timezone=timezone,
        phone_number=phone_number,
        receptionist_enabled=receptionist_enabled,
        greeting=greeting,
        calendar=_describe_calendar(calendar_available, connected, account),
        updated_at=updated_at,
    )


async def update_business(session: AsyncSession, user: CurrentUser, update: BusinessUpdate) -> None:
    """Change the settings of the user's tenant.

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
    tenant, settings = await _lock(session, user.tenant_id)
    for name, value in update.given.items():
        setattr(tenant if name == "name" else settings, name, value)
    if settings.receptionist_enabled and settings.phone_number is None:
        raise invalid_field("receptionist_enabled", "needs a phone_number")
    try:
        await session.flush()
    except IntegrityError as error:
        raise _conflict(error) from error
    await session.commit()


async def _lock(session: AsyncSession, tenant_id: uuid.UUID) -> tuple[Tenant, BusinessSettings]:
    query = (
        select(Tenant, BusinessSettings)
        .join(BusinessSettings, BusinessSettings.tenant_id == Tenant.id)
        .where(Tenant.id == tenant_id)
        .with_for_update()
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise _no_settings()
    tenant, settings = row
    return tenant, settings


def _describe_calendar(available: bool, connected: bool, account: str | None) -> CalendarState:
    # Tokens that are kept are of no use where Google is not configured (any more).
    connected = available and connected
    return CalendarState(available=available, connected=connected, account=account if connected else None)


def _no_settings() -> ApiError:
    return ApiError(
        404, "not_found", "This business has no settings.", action="Create the account with app.create_user."
    )


def _conflict(error: IntegrityError) -> Exception:
    if _PHONE_INDEX in str(error.orig):
        return ApiError(
            409,
            "phone_number_taken",
            "Another business uses this phone number.",
            action="Choose another phone number.",
        )
    return error
