"""Checks configuration values: takes what a file, a variable or a flag gave, returns it in its type or says why not."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from fairlead._sections import SecurityException

_LONGEST_SHOWN = 60


def _check_string(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"must be a text, not {describe(raw)}")
    return raw


def _check_name(raw: Any) -> str:
    text = _check_string(raw)
    if not all(character.isalnum() or character in "-_." for character in text):
        raise ValueError(f"must hold letters, digits, '-', '_' and '.' only, not {raw!r}")
    return text


def _check_path(raw: Any) -> str:
    return _check_string(raw)


def _check_app(raw: Any) -> str:
    module, separator, attribute = _check_string(raw).partition(":")
    if not (separator and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError(f"must look like 'package.module:attribute', not {raw!r}")
    return f"{module}:{attribute}"


def _check_url_path(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.startswith("/"):
        raise ValueError(f"must be a path that begins with '/', not {describe(raw)}")
    return raw


def _check_url(raw: Any) -> str:
    if isinstance(raw, str) and "@" in raw:
        # The value is not repeated: what stands before the @ is a password.
        raise ValueError("must be an address without a user, a password or an @: commands and logs would show them")
    if not isinstance(raw, str) or not _is_address(raw):
        raise ValueError(f"must be an address such as 'https://api.example.com', not {describe(raw)}")
    return raw.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            text.startswith(("http://", "https://"))
            and parts.hostname
            and parts.port != 0
            and not any(character.isspace() for character in text)
        )
    except ValueError:  # a port that is none, a bracket that is not closed
        return False


def _check_variable_name(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.isidentifier():
        # The value is not repeated: somebody may have put the secret here instead of its variable's name.
        raise ValueError("must be the name of an environment variable, such as RAILWAY_TOKEN (never the secret itself)")
    return raw


def _check_boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"must be true or false, not {describe(raw)}")
    return raw


def _number(raw: Any, *, low: float, high: float, what: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not low <= raw <= high:
        raise ValueError(f"must be {what}, not {describe(raw)}")
    return float(raw)


def _whole_number(raw: Any, *, low: int, high: int, what: str) -> int:
    number = _number(raw, low=low, high=high, what=what)
    if number != int(number):
        raise ValueError(f"must be {what}, not {describe(raw)}")
    return int(number)


def _check_strings(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(item, str) and item for item in raw):
        raise ValueError(f"must be a list of texts, not {describe(raw)}")
    return tuple(raw)


def _check_string_table(raw: Any) -> Mapping[str, str]:
    if not isinstance(raw, Mapping) or not all(isinstance(item, str) for item in raw.values()):
        raise ValueError(f'must be a table of texts such as {{ NAME = "value" }}, not {describe(raw)}')
    return MappingProxyType(dict(raw))


def _check_percentages(raw: Any) -> Mapping[str, float]:
    if not isinstance(raw, Mapping):
        raise ValueError(f'must be a table of percentages such as {{ "folder" = 90 }}, not {describe(raw)}')
    return MappingProxyType({name: _CHECKS["per cent"](value) for name, value in raw.items()})


def _check_exceptions(raw: Any) -> tuple[SecurityException, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(item, Mapping) for item in raw):
        raise ValueError(f"must be a list of tables, each with id, reason and expires, not {describe(raw)}")
    return tuple(_check_exception(item) for item in raw)


def _check_exception(raw: Mapping[str, Any]) -> SecurityException:
    name = raw.get("id")
    told = f"the entry {name!r}" if isinstance(name, str) and name else "each entry"
    if unknown := sorted(set(raw) - {"id", "reason", "expires", "path", "tool"}):
        raise ValueError(f"takes id, reason, expires, path and tool; {told} has {', '.join(unknown)}")
    for key in ("id", "reason"):
        if not isinstance(raw.get(key), str) or not raw[key].strip():
            raise ValueError(f"needs {'an id' if key == 'id' else 'a reason'}, a text, for {told}")
    expires = raw.get("expires")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise ValueError(f"needs a day on which {told} expires, such as expires = 2027-01-31 (without quotes)")
    for key in ("path", "tool"):
        if not isinstance(raw.get(key, ""), str):
            raise ValueError(f"takes a text as the {key} of {told}, not {describe(raw[key])}")
    return SecurityException(
        raw["id"].strip(), raw["reason"].strip(), expires, raw.get("path", ""), raw.get("tool", "")
    )


def _check_choice(raw: Any, choices: list[str]) -> str:
    if raw not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}, not {describe(raw)}")
    return str(raw)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "string": _check_string,
    "name": _check_name,
    "path": _check_path,
    "app": _check_app,
    "url path": _check_url_path,
    "url": _check_url,
    "variable name": _check_variable_name,
    "boolean": _check_boolean,
    "list of strings": _check_strings,
    "table of strings": _check_string_table,
    "table of percentages": _check_percentages,
    "list of exceptions": _check_exceptions,
    "port": lambda raw: _whole_number(raw, low=0, high=65535, what="a port from 1 to 65535 (0: any free one)"),
    "seconds": lambda raw: _number(raw, low=0.1, high=86400, what="a number of seconds from 0.1 to 86400"),
    "seconds or 0": lambda raw: _number(raw, low=0, high=86400, what="a number of seconds from 0 to 86400"),
    "whole seconds": lambda raw: _whole_number(raw, low=1, high=86400, what="whole seconds from 1 to 86400"),
    "whole seconds or 0": lambda raw: _whole_number(raw, low=0, high=86400, what="whole seconds from 0 to 86400"),
    "count": lambda raw: _whole_number(raw, low=1, high=1000, what="a whole number from 1 to 1000"),
    "count or 0": lambda raw: _whole_number(raw, low=0, high=1000, what="a whole number from 0 to 1000"),
    "milliseconds": lambda raw: _number(raw, low=0.1, high=86_400_000, what="milliseconds from 0.1 to 86400000"),
    "megabytes": lambda raw: _number(raw, low=1, high=1_000_000, what="megabytes from 1 to 1000000"),
    "per cent": lambda raw: _number(raw, low=0, high=100, what="a percentage from 0 to 100"),
}

_NUMBERS = frozenset(
    {
        "port",
        "seconds",
        "seconds or 0",
        "whole seconds",
        "whole seconds or 0",
        "count",
        "count or 0",
        "milliseconds",
        "megabytes",
        "per cent",
    }
)


def check(raw: Any, kind: str) -> Any:
    """Return `raw` as a value of `kind` ("port", "sql|alembic" …); raise `ValueError` saying what it should be."""
    return _CHECKS[kind](raw) if kind in _CHECKS else _check_choice(raw, kind.split("|"))


def from_text(text: str, kind: str) -> Any:
    """Read a variable's text as the kind that its key wants; what does not fit is returned for `check` to refuse."""
    if kind == "list of strings":
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "table of strings":
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return dict(part.split("=", 1) for part in parts) if all("=" in part for part in parts) else text
    if kind == "table of percentages":
        table = from_text(text, "table of strings")
        return table if table == text else {name: from_text(value, "per cent") for name, value in table.items()}
    if kind == "boolean":
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.strip().lower(), text
        )
    if kind in _NUMBERS:
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            return text
    return text


def describe(raw: Any) -> str:
    """Name a value in a message: its type, and the value itself where it is short."""
    names = {
        bool: "a boolean",
        int: "the number",
        float: "the number",
        str: "the text",
        list: "a list",
        dict: "a table",
    }
    name = names.get(type(raw), type(raw).__name__)
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return name
    shown = repr(raw)
    return f"{name} {shown}" if len(shown) <= _LONGEST_SHOWN else f"{name} {shown[:_LONGEST_SHOWN]}…"
