"""The backend with each of its queries timed as it sees them: from asking the driver until the driver has the answer.

`/-/queries` tells the times since it was last asked, in milliseconds, and the last SELECT with its parameters.
"""

import json
import time
from typing import Any

import psycopg
from starlette.types import Receive, Scope, Send

from app.main import app as backend

_times: list[float] = []
_last: dict[str, Any] = {}
_execute = psycopg.AsyncCursor.execute


async def _timed(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
    began = time.perf_counter()
    try:
        return await _execute(cursor, query, params, **options)
    finally:
        _times.append((time.perf_counter() - began) * 1000)
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else ""
        if text.lstrip().upper().startswith(("SELECT", "WITH")):
            _last.update(sql=text, parameters=params)


psycopg.AsyncCursor.execute = _timed  # type: ignore[method-assign,assignment] # below SQLAlchemy, and without it too


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/-/queries`, and hand everything else to the backend."""
    if scope["type"] != "http" or scope["path"] != "/-/queries":
        await backend(scope, receive, send)
        return
    named = _last.get("parameters")
    pairs = named.items() if isinstance(named, dict) else enumerate(named or ())
    told = [(name, (type(value).__name__, str(value))) for name, value in pairs]
    body = json.dumps(
        {"times": _times, "sql": _last.get("sql"), "named": isinstance(named, dict), "parameters": told}
    ).encode()
    _times.clear()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
