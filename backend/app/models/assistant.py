"""Owns the shapes of what a caller asks the assistant and what it answers."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.models.values import Notes, PhoneNumber, RequestModel


def _strip(value: str) -> str:
    if not (text := value.strip()):
        raise ValueError("must say something")
    return text


Message = Annotated[Notes, Field(min_length=1), AfterValidator(_strip)]


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
