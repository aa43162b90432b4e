"""Owns reading payments, for the business that the token belongs to."""

import uuid

from fastapi import APIRouter

from app.dependencies import SessionDependency, UserDependency
from app.models.payments import Payment
from app.services.payments import fetch_payment

router = APIRouter(prefix="/api/payments", tags=["payments"])


@router.get("/{payment_id}")
async def read(payment_id: uuid.UUID, user: UserDependency, session: SessionDependency) -> Payment:
    """Return a payment."""
    return await fetch_payment(session, user.tenant_id, payment_id)
