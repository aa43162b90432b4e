"""Owns the log's form: one JSON object a line, with the request's id and without secrets."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

#: The id of the request being answered, None outside one.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_REDACTIONS = (
    (re.compile(r"(://[^:/@\s]*:)[^@\s]+(@)"), r"\1***\2"),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+"), r"\1***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),
    (re.compile(r"(?i)(password\s*[=:]\s*)[^\s,;]+"), r"\1***"),
)


def redact(text: str) -> str:
    """Mask passwords in addresses, bearer tokens and JSON Web Tokens."""
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON; members given as `extra` stand beside the standard ones."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if (current := request_id.get()) is not None:
            entry["request_id"] = current
        for name, value in vars(record).items():
            if name not in _STANDARD:
                entry[name] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)


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
    # The middleware writes one line for each request already, with its id and its duration.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
