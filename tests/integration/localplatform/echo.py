"""A release that says what it was sent. It imports little, so that it starts at once."""

import asyncio
import json
from typing import Any


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size and the sum of a body, with a stream, with nothing, or after a while."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    status, headers = 200, [(b"content-type", b"application/json")]
    parts = [json.dumps({"size": len(body), "sum": sum(body) % 65521}).encode()]
    if scope["path"] == "/stream":
        parts = [b"part %d\n" % number for number in range(5)]
    elif scope["path"] == "/nothing":
        status, headers, parts = 204, [], []
    else:
        headers.append((b"content-length", b"%d" % len(parts[0])))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
