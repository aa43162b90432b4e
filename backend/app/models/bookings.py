"""Owns the shapes of bookings."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.models.values import Amount, Currency, Email, Name, Notes, PhoneNumber, RequestModel, Timestamp
from app.money import count_minor_units

BookingStatus = Literal["confirmed", "cancelled"]

_DEFAULT_CURRENCY = "eur"


class BookingRequest(RequestModel):
    """An appointment to make; with an amount, the customer can be asked to pay it."""

    customer_name: Name
    customer_phone: PhoneNumber | None = None
    customer_email: Email | None = None
    starts_at: Timestamp
    duration_minutes: Annotated[int, Field(ge=5, le=1440)]
    notes: Notes = ""
    amount: Amount | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _check_price(self) -> Self:
        if self.amount is None:
            if self.currency is not None:
                raise ValueError("currency needs an amount")
        else:
            count_minor_units(self.amount, self.price_currency)
        return self

    @property
    def ends_at(self) -> datetime:
        """When the appointment is over."""
        return self.starts_at + timedelta(minutes=self.duration_minutes)

    @property
    def price_currency(self) -> str:
        """The currency of the amount."""
        return self.currency or _DEFAULT_CURRENCY


class Booking(BaseModel):
    """An appointment of a business, and how its payment stands."""

    model_config = ConfigDict(frozen=True)

    id: uuid.UUID
    reference: str
    status: BookingStatus
    customer_name: str
    customer_phone: str | None
    customer_email: str | None
    starts_at: datetime
    ends_at: datetime
    notes: str
    amount: Decimal | None
    currency: str | None
    payment_status: Literal["none", "pending", "paid", "failed", "refunded"]
    calendar_checked: bool
    created_at: datetime
    updated_at: datetime


class BookingPage(BaseModel):
    """Some bookings, and the cursor that asks for those after them; null at the end."""

    model_config = ConfigDict(frozen=True)

    items: list[Booking]
    next_cursor: str | None
