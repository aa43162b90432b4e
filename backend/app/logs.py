"""Owns the log's form: one JSON object a line, with the request's id and without secrets."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from app.security import Identity

#: The id of the request being answered, None outside one.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

#: Whom the token of the request being answered belongs to, None without a valid one.
caller: ContextVar["Identity | None"] = ContextVar("caller", default=None)

#: The id of the trace that the request being answered belongs to, None where no traces are sent.
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_NAMES = r"(?:pass(?:word|wd|phrase)|secret|token|(?:api|access|secret|private|signing|encryption)[_-]?key)"
_REDACTIONS = (
    # Up to the last @, for passwords hold unescaped ones; digits that end there are a port.
    (re.compile(r"(://[^\s:/@?#]*:)(?!\d{1,5}(?:[\s/?#\"'<>(),;\]}]|$))(?:(?!://)\S)+(?=@)"), r"\1***"),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+"), r"\1***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),
    (re.compile(r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:basic|digest|token)\s+)[\w.~+/=-]+"), r"\1***"),
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[=:]\s*)([\"'])(?:\\.|(?!\2)[^\\])+"), r"\1\2***"),
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[=:]\s*)[^\s,;&\"']+"), r"\1***"),
    (re.compile(r"\b(?:[sr]k_(?:live|test)_|whsec_|sk-ant-|ya29\.|1//)[\w./-]+"), "***"),
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|xox[a-z]-|GOCSPX-|AIza|(?:AKIA|ASIA)(?=[A-Z0-9]{16}))[\w-]{8,}"), "***"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"), "***"),
    # What OAuth sends by the address.
    (re.compile(r"([?&](?:code|state|code_verifier|access_token|refresh_token)=)[^&\s\"']+"), r"\1***"),
)


#: Something of this stands in whatever one of the above changes; most texts have nothing, and are looked at once.
_SUSPICIOUS = re.compile(
    r"(?i)[:=@?&]|bearer|eyJ|_live_|_test_|whsec_|sk-ant-|ya29\.|1//|gh[opsur]_|hub_pat_|xox|gocspx|aiza|akia|asia|----"
)
#: A member of this name is a secret, whatever it looks like.
_TELLING = re.compile(rf"(?i)(?:.*[_-])?{_NAMES}|authorization|cookie")


def redact(text: str) -> str:
    """Mask passwords, tokens and keys, in addresses too, as far as they can be told from other text."""
    if _SUSPICIOUS.search(text) is None:
        return text
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


_ENCODER = json.JSONEncoder(default=str)


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON; members given as `extra` stand beside the standard ones."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(_message(record)),
        }
        if (current := request_id.get()) is not None:
            entry["request_id"] = current
        if (trace := trace_id.get()) is not None:
            entry["trace_id"] = trace
        if (identity := caller.get()) is not None:
            entry["user_id"] = str(identity.user_id)
            entry["tenant_id"] = str(identity.tenant_id)
        for name, value in vars(record).items():
            if name not in _STANDARD:
                entry[name] = _masked(name, value)
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        # In ASCII alone, nothing that a client sends can end a line or steer a terminal, and every stream can carry it.
        return _ENCODER.encode(entry)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The handler would print the arguments as they are.
        return f"{record.msg} (its arguments do not fit)"


def _masked(name: str, value: object) -> object:
    """Return a member without secrets, whatever it is made of."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _TELLING.fullmatch(name):
        return "***"
    if isinstance(value, dict):
        return {str(key): _masked(str(key), member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", member) for member in value]
    return redact(str(value))


def configure_logging(level: str, *, stream: TextIO | None = None) -> None:
    """Send every logger of this process, uvicorn's among them, to `stream` (stderr) as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # It tells of every call, with the vendor's address; those that fail are told of by who makes them.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # The middleware writes one line for each request already, with its id and its duration.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
