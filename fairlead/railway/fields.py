"""Reads typed fields out of an answer, and says which field is missing or wrong when one is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairlead._output import redact
from fairlead.exceptions import ResponseError


class Fields:
    """An object of an answer; `path` is where in the answer it stands, for messages.

    Each method reads one field and raises `ResponseError` when it is missing or of another type. The `optional_`
    methods give None for a field that is missing or null.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        self._value: dict[str, Any] = value
        self.path = path

    def text(self, name: str) -> str:
        """Read a string that is not empty."""
        value = self._value.get(name)
        if isinstance(value, str) and value:
            return value
        raise _wrong(f"{self.path}.{name}", "a string", value)

    def line(self, name: str) -> str:
        """Read a string that may be empty."""
        value = self._value.get(name)
        if isinstance(value, str):
            return value
        raise _wrong(f"{self.path}.{name}", "a string", value)

    def optional_text(self, name: str) -> str | None:
        """Read a string; an empty one counts as missing."""
        return (self.line(name) or None) if self._value.get(name) is not None else None

    def flag(self, name: str) -> bool:
        """Read a boolean."""
        value = self._value.get(name)
        if isinstance(value, bool):
            return value
        raise _wrong(f"{self.path}.{name}", "true or false", value)

    def number(self, name: str) -> float:
        """Read a number."""
        value = self._value.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise _wrong(f"{self.path}.{name}", "a number", value)

    def moment(self, name: str) -> datetime:
        """Read a date-time with its zone."""
        text = self.text(name)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _wrong(f"{self.path}.{name}", "a date-time", text) from None
        if moment.tzinfo is None:
            raise _wrong(f"{self.path}.{name}", "a date-time with its zone", text)
        return moment

    def optional_moment(self, name: str) -> datetime | None:
        """Read a date-time with its zone."""
        return self.moment(name) if self._value.get(name) is not None else None

    def fields(self, name: str) -> "Fields":
        """Read an object."""
        return Fields(self._value.get(name), f"{self.path}.{name}")

    def list_of_fields(self, name: str) -> tuple["Fields", ...]:
        """Read a list of objects."""
        value = self._value.get(name)
        if not isinstance(value, list):
            raise _wrong(f"{self.path}.{name}", "a list", value)
        return tuple(Fields(item, f"{self.path}.{name}[{index}]") for index, item in enumerate(value))

    def nodes(self, name: str) -> tuple["Fields", ...]:
        """Read the nodes of a connection."""
        return tuple(edge.fields("node") for edge in self.fields(name).list_of_fields("edges"))

    def optional_mapping(self, name: str) -> Mapping[str, Any]:
        """Read an object of unknown content; a missing one is empty."""
        value = self._value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(f"{self.path}.{name}", "an object", value)
        return value

    def anything(self, name: str) -> Any:
        """Read a value of unknown type; None when it is missing."""
        return self._value.get(name)


def _wrong(path: str, expected: str, found: object) -> ResponseError:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    what = "nothing" if found is None else names.get(type(found), "something else")
    if isinstance(found, str):
        what = f"{redact(found)[:40]!r}"  # masked before it is cut: half a secret would not be known as one
    return ResponseError(
        f"the platform's answer makes no sense: {path.lstrip('.')} should be {expected} and is {what}",
        hint="check the platform's address; if that is right its API has changed: look for a newer Fairlead",
    )
