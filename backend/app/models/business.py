"""Owns the shapes of the settings of a business."""

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.models.calendar import CalendarState
from app.models.values import Greeting, Name, PhoneNumber, RequestModel, Timezone


class BusinessUpdate(RequestModel):
    """The settings to change; one that is left out keeps its value, and `phone_number` may be null."""

    name: Name = ""
    timezone: Timezone = ""
    phone_number: PhoneNumber | None = None
    receptionist_enabled: bool = False
    greeting: Greeting = ""

    @property
    def given(self) -> dict[str, Any]:
        """The settings that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Business(BaseModel):
    """The settings of one business."""

    model_config = ConfigDict(frozen=True)

    id: uuid.UUID
    name: str
    timezone: str
    phone_number: str | None
    receptionist_enabled: bool
    greeting: str
    calendar: CalendarState
    updated_at: datetime
