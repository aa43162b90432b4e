"""Owns the shapes of payments."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

PaymentStatus = Literal["pending", "paid", "failed", "cancelled", "refunded"]


class Payment(BaseModel):
    """What a customer is asked to pay for a booking, and where."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: uuid.UUID
    booking_id: uuid.UUID
    status: PaymentStatus
    amount: Decimal
    currency: str
    payment_link_url: str | None
    paid_at: datetime | None
    created_at: datetime


class WebhookReceipt(BaseModel):
    """The message arrived; the vendor need not send it again."""

    received: Literal[True] = True
