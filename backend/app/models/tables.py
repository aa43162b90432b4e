"""Owns the mapping of the database's tables; the tables themselves are made by the migrations."""

import uuid
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import FetchedValue, ForeignKey, ForeignKeyConstraint, Numeric, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_GENERATED_ID = text("gen_random_uuid()")
_TIMESTAMP = TIMESTAMP(timezone=True)
_AMOUNT = Numeric(10, 2)
_COST = Numeric(12, 6)


class Table(DeclarativeBase):
    """The registry of all tables."""


class Tenant(Table):
    """A business that is a customer of MAYA."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=_GENERATED_ID)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class User(Table):
    """A person who may log in for one tenant; an owner may also change its settings."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=_GENERATED_ID)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(server_default="owner")
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class BusinessSettings(Table):
    """How the receptionist of one tenant behaves."""

    __tablename__ = "business_settings"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    phone_number: Mapped[str | None]
    receptionist_enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    greeting: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class CalendarConnection(Table):
    """The calendar that a tenant has connected; its tokens are encrypted."""

    __tablename__ = "calendar_connections"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    account: Mapped[str | None]
    scopes: Mapped[str]
    refresh_token: Mapped[bytes]
    access_token: Mapped[bytes]
    access_token_expires_at: Mapped[datetime] = mapped_column(_TIMESTAMP)
    refresh_claimed_until: Mapped[datetime | None] = mapped_column(_TIMESTAMP)
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class OAuthState(Table):
    """One attempt to connect a calendar."""

    __tablename__ = "oauth_states"

    state_hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    code_verifier: Mapped[bytes]
    expires_at: Mapped[datetime] = mapped_column(_TIMESTAMP)
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class Booking(Table):
    """An appointment of a tenant; the database keeps confirmed ones apart."""

    __tablename__ = "bookings"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=_GENERATED_ID)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    reference: Mapped[str] = mapped_column(server_default=FetchedValue())
    status: Mapped[str] = mapped_column(server_default="confirmed")
    customer_name: Mapped[str]
    customer_phone: Mapped[str | None]
    customer_email: Mapped[str | None]
    starts_at: Mapped[datetime] = mapped_column(_TIMESTAMP)
    ends_at: Mapped[datetime] = mapped_column(_TIMESTAMP)
    notes: Mapped[str] = mapped_column(server_default="")
    amount: Mapped[Decimal | None] = mapped_column(_AMOUNT)
    currency: Mapped[str | None]
    calendar_checked: Mapped[bool] = mapped_column(server_default=text("false"))
    cancelled_at: Mapped[datetime | None] = mapped_column(_TIMESTAMP)
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class Payment(Table):
    """What a customer is asked to pay for a booking."""

    __tablename__ = "payments"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "booking_id"], ["bookings.tenant_id", "bookings.id"], ondelete="CASCADE"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=_GENERATED_ID)
    tenant_id: Mapped[uuid.UUID]
    booking_id: Mapped[uuid.UUID]
    status: Mapped[str] = mapped_column(server_default="pending")
    amount: Mapped[Decimal] = mapped_column(_AMOUNT)
    currency: Mapped[str]
    payment_link_id: Mapped[str | None]
    payment_link_url: Mapped[str | None]
    paid_at: Mapped[datetime | None] = mapped_column(_TIMESTAMP)
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class WebhookEvent(Table):
    """A message of the payment vendor that took effect."""

    __tablename__ = "webhook_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class PaymentReminder(Table):
    """The text message that reminds a customer of an open payment."""

    __tablename__ = "payment_reminders"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "payment_id"], ["payments.tenant_id", "payments.id"], ondelete="CASCADE"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=_GENERATED_ID)
    tenant_id: Mapped[uuid.UUID]
    payment_id: Mapped[uuid.UUID]
    phone_number: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    due_at: Mapped[datetime] = mapped_column(_TIMESTAMP)
    claimed_at: Mapped[datetime | None] = mapped_column(_TIMESTAMP)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    message_sid: Mapped[str | None]
    last_error: Mapped[str | None]
    sent_at: Mapped[datetime | None] = mapped_column(_TIMESTAMP)
    created_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))


class AssistantUsage(Table):
    """What the assistant has cost a tenant on one day."""

    __tablename__ = "assistant_usage"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    answers: Mapped[int] = mapped_column(server_default=text("0"))
    input_tokens: Mapped[int] = mapped_column(server_default=text("0"))
    output_tokens: Mapped[int] = mapped_column(server_default=text("0"))
    cost: Mapped[Decimal] = mapped_column(_COST, server_default=text("0"))
    reserved: Mapped[Decimal] = mapped_column(_COST, server_default=text("0"))
    updated_at: Mapped[datetime] = mapped_column(_TIMESTAMP, server_default=text("now()"))
