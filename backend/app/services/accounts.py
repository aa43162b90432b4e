"""Owns how a business comes into being: a tenant, its settings and its owner, all or none."""

import uuid

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.tables import BusinessSettings, Tenant, User

_EMAIL_INDEX = "users_email_lower_key"


class EmailTakenError(Exception):
    """A user with this email address exists already."""


async def create_account(
    session: AsyncSession, *, business: str, email: str, user_name: str, password_hash: str
) -> uuid.UUID:
    """Create a tenant named `business` with its owner, and return the tenant's id; raise `EmailTakenError`."""
    tenant = Tenant(name=business)
    session.add(tenant)
    await session.flush()
    session.add(BusinessSettings(tenant_id=tenant.id))
    session.add(User(tenant_id=tenant.id, email=email, name=user_name, password_hash=password_hash))
    try:
        await session.commit()
    except IntegrityError as error:
        if _EMAIL_INDEX in str(error.orig):
            raise EmailTakenError(email) from None
        raise
    return tenant.id
