"""Lets a started release prove itself, on its own port, before the public one leads there.

It has done so when its health path answers 200 and its version path then gives the bundle's digest several times in a
row.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from fairlead.config import Config
from fairlead.exceptions import DeadlineError, PlatformError
from fairlead.localplatform.ports import LOOPBACK
from fairlead.localplatform.releases import Plan

_PAUSE: Final = 0.05
_LONGEST_ANSWER: Final = 5.0


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
        async with (
            asyncio.timeout(plan.health_timeout),
            httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=_LONGEST_ANSWER) as client,
        ):
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
        async with asyncio.timeout(_LONGEST_ANSWER):
            answer = await client.get(path)
    except TimeoutError:
        return f"no answer within {_LONGEST_ANSWER:g} s"
    except httpx.ConnectError:
        return "no connection"
    except httpx.HTTPError as error:
        return f"a broken answer ({type(error).__name__})"
    return str(answer.status_code)


async def _fetch_digest(client: httpx.AsyncClient, path: str) -> str | None:
    """Return what the version path says, an empty text when it gives no digest, None when that may yet change."""
    try:
        async with asyncio.timeout(_LONGEST_ANSWER):
            answer = await client.get(path)
    except (TimeoutError, httpx.HTTPError):
        return None
    if answer.status_code >= 500 or answer.status_code == 429:
        return None
    try:
        digest = answer.json()["digest"]
    except (ValueError, KeyError, TypeError):
        return ""
    return digest if isinstance(digest, str) else ""
