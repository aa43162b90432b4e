"""Owns the mapping of the database's tables; the tables themselves are made by the migrations."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_GENERATED_ID = text("gen_random_uuid()")
_TIMESTAMP = TIMESTAMP(timezone=True)


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
