"""Owns what every connection to PostgreSQL has in common, by the driver alone: how it is opened and how it is told of.

The pools of the web service (`app.db`) and the reminder worker, which has one connection and no pool, begin here.
"""

from typing import Any

from sqlalchemy.engine import URL

from app.settings import Settings


def connect_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """Return what the driver is given besides the address; `application` is what the server calls the connection."""
    statement_timeout = int(settings.database_statement_timeout * 1000)
    return {
        "application_name": application,
        "connect_timeout": settings.database_connect_timeout,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "options": f"-c statement_timeout={statement_timeout} -c timezone=UTC",
    }


def describe(url: URL) -> str:
    """Render an address without its password: user@host:port/database."""
    host = url.host or str(url.query.get("host", "")) or "the local socket"
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"{user}{host}{port}/{url.database}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says anything, or the error's name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
