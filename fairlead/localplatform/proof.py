"""Lets a started release prove itself, on its own port, before the public one leads there.

It has done so when its health path answers 200 and its version path then gives the bundle's digest several times in a
row.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from fairlead.config import Config
from fairlead.exceptions import DeadlineError, PlatformError
from fairlead.localplatform.ports import LOOPBACK
from fairlead.localplatform.releases import Plan

_PAUSE: Final = 0.02
#: In seconds, and in bytes.
_LONGEST_ANSWER: Final = 5.0
_LARGEST_ANSWER: Final = 1_000_000
_RECEIVED_AT_ONCE: Final = 16_384


class WrongAnswerError(PlatformError):
    """A release answers, and what it answers is wrong."""


async def prove(port: int, plan: Plan, config: Config, *, confirmations: int) -> None:
    """Wait until the release on `port` is healthy and gives the right digest `confirmations` times in a row.

    Raises `DeadlineError` when it does not get there in the plan's time, `WrongAnswerError` when it steadily gives
    another digest.
    """
    seen = "nothing"
    path = plan.health_path or config.health_path
    try:
        async with asyncio.timeout(plan.health_timeout), _make_client(port) as client:
            while True:
                seen = await _ask(client, path)
                if seen == "200":
                    break
                await asyncio.sleep(_PAUSE)
            seen = f"200 from {path}, but not the digest"
            await _confirm(lambda: _fetch_digest(client, config.version_path), plan, config, confirmations)
    except TimeoutError:
        raise DeadlineError(
            f"the release was not healthy within {plan.health_timeout:g} s: {path} gave {seen}",
            hint="invoke platform.logs shows what it printed; a slow start needs a longer platform.health-timeout",
        ) from None


def _make_client(port: int) -> httpx.AsyncClient:
    # The proxy shares the loop, and is to answer meanwhile: no trusted authorities are loaded, and no read takes in so
    # much of a flood of interim answers that it keeps the loop.
    transport = httpx.AsyncHTTPTransport(
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        trust_env=False,
        socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_AT_ONCE)],
    )
    return httpx.AsyncClient(
        base_url=f"http://{LOOPBACK}:{port}", trust_env=False, transport=transport, timeout=_LONGEST_ANSWER
    )


async def _confirm(fetch: Callable[[], Awaitable[str | None]], plan: Plan, config: Config, confirmations: int) -> None:
    if plan.digest is None:
        return
    right = wrong = 0
    while right < confirmations:
        digest = await fetch()
        right = right + 1 if digest == plan.digest else 0
        wrong = wrong + 1 if digest not in {plan.digest, None} else 0
        if wrong >= confirmations:
            raise WrongAnswerError(
                f"{config.version_path} gives the digest {digest!r} instead of {plan.digest}",
                hint="the release must read it from the build-info.json that lies in its folder",
            )
        if right < confirmations:
            await asyncio.sleep(_PAUSE)


async def _ask(client: httpx.AsyncClient, path: str) -> str:
    try:
        status, _ = await _get(client, path)
    except TimeoutError:
        return f"no answer within {_LONGEST_ANSWER:g} s"
    except httpx.ConnectError:
        return "no connection"
    except httpx.HTTPError as error:
        return f"a broken answer ({type(error).__name__})"
    except _TooLargeError:
        return "an answer that is too large"
    return str(status)


async def _fetch_digest(client: httpx.AsyncClient, path: str) -> str | None:
    """Return what the version path says, an empty text when it gives no digest, None when that may yet change."""
    try:
        status, content = await _get(client, path)
    except (TimeoutError, httpx.HTTPError):
        return None
    except _TooLargeError:
        return ""
    if status >= 500 or status == 429:
        return None
    try:
        digest = json.loads(content)["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return digest if isinstance(digest, str) else ""


class _TooLargeError(Exception):
    """An answer goes on and on; read to its end, it would fill the memory of the daemon."""


async def _get(client: httpx.AsyncClient, path: str) -> tuple[int, bytes]:
    content = bytearray()
    async with asyncio.timeout(_LONGEST_ANSWER), client.stream("GET", path) as answer:
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                raise _TooLargeError
            # A flood of tiny chunks is read without a wait in between, which no time limit would interrupt.
            await asyncio.sleep(0)
    return answer.status_code, bytes(content)
