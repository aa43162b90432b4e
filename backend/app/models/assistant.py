"""Owns the shapes of what a caller asks the assistant and what it answers."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.models.values import Notes, PhoneNumber, RequestModel


def clean(text: str) -> str:
    """Return text without control characters, unless they end a line, and without surrounding white space."""
    return "".join(
        character for character in text if character == "\n" or not unicodedata.category(character).startswith("C")
    ).strip()


def _clean_message(value: str) -> str:
    if not (text := clean(value)):
        raise ValueError("must say something")
    return text


Message = Annotated[Notes, Field(min_length=1), AfterValidator(_clean_message)]


class ReplyRequest(RequestModel):
    """What a caller said, and the caller's number where it is known."""

    message: Message
    caller: PhoneNumber | None = None


class Reply(BaseModel):
    """The assistant's answer; `length` says that it was cut off at the longest there may be."""

    model_config = ConfigDict(frozen=True)

    reply: str
    model: str
    stopped: Literal["end", "length"]
