"""Owns the talk with Google: where a business agrees, tokens for codes, new tokens for old, and free and busy times.

Every call has one deadline for all of it, and reads at most a mebibyte. Tokens are `SecretStr`, so that no traceback
and no report of an error shows them; no error that leaves this module holds the request or the answer.

Source: RFC 6749 (tokens), RFC 7636 (PKCE), OpenID Connect Core 3.1.3.7 (the ID token, received from the token endpoint
over TLS, needs no check of its signature), the reference of Google's Calendar API v3 (freeBusy).
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import SecretStr

from app.models.calendar import Interval
from app.observation.vendors import CALLS, Outcome
from app.services.google_answers import (
    AccessRefusedError,
    GoogleError,
    GoogleUnavailableError,
    Grant,
    GrantRefusedError,
    RefreshedToken,
    read_access_failure,
    read_busy,
    read_grant,
    read_refreshed,
    read_token_failure,
)
from app.settings import Settings

if TYPE_CHECKING:
    import httpx

__all__ = [
    "AccessRefusedError",
    "GoogleClient",
    "GoogleError",
    "GoogleUnavailableError",
    "Grant",
    "GrantRefusedError",
    "RefreshedToken",
]

logger = logging.getLogger(__name__)

Tokens = TypeVar("Tokens", Grant, RefreshedToken)

CALLBACK_PATH: Final = "/oauth/google/callback"
FREE_BUSY_SCOPE: Final = "https://www.googleapis.com/auth/calendar.freebusy"
#: The least that will do: when the business is busy, not with what; and whose calendar it is.
SCOPES: Final = ("openid", "email", FREE_BUSY_SCOPE)
#: The calendar that every account has.
_CALENDAR: Final = "primary"

_LARGEST_ANSWER: Final = 1024 * 1024
_MOST_CONNECTIONS: Final = 20
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content: Any


class GoogleClient:
    """Talks to Google for one OAuth client. Making one connects nowhere and loads nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client_id = settings.google_client_id.get_secret_value()
        self._redirect_uri = settings.public_url + CALLBACK_PATH
        self._http: httpx.AsyncClient | None = None

    @property
    def is_configured(self) -> bool:
        """Say whether there is a client to talk for."""
        return bool(self._client_id)

    def deadline(self) -> float:
        """Return when a call that begins now must be over, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self._settings.google_timeout

    def authorization_url(self, *, state: str, challenge: str) -> str:
        """Return where a business agrees; `challenge` is the SHA-256 of the PKCE verifier."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "access_type": "offline",
            # Without it Google gives a refresh token the first time only.
            "prompt": "consent",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._settings.google_authorization_url}?{urlencode(query)}"

    async def exchange(self, code: str, *, verifier: SecretStr, until: float) -> Grant:
        """Return what `code` is good for.

        Raise `GrantRefusedError` when it is good for nothing, or for less than is needed, and
        `GoogleUnavailableError` when that could not be found out.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier.get_secret_value(),
            "redirect_uri": self._redirect_uri,
        }

        def read(answer: Any) -> Grant:
            return read_grant(answer, client_id=self._client_id, needed=FREE_BUSY_SCOPE)

        return await self._ask_for_tokens(form, read, until=until)

    async def refresh(self, refresh_token: SecretStr, *, until: float) -> RefreshedToken:
        """Return a new access token; raise as `exchange` does."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
        return await self._ask_for_tokens(form, read_refreshed, until=until)

    async def revoke(self, token: SecretStr, *, until: float) -> None:
        """Give a token, and all that was agreed with it, back; raise `GoogleError` when Google does not say so."""
        form = {"token": token.get_secret_value()}
        # What a success holds says nothing.
        reply = await self._send("POST", self._settings.google_revoke_url, lambda _: None, until=until, data=form)
        if reply.status != _OK:
            raise read_token_failure(reply.status, reply.content)

    async def fetch_busy(
        self, access_token: SecretStr, starts_at: datetime, ends_at: datetime, *, until: float
    ) -> list[Interval]:
        """Return when the calendar is busy between two times.

        Raise `AccessRefusedError` when the token is not good for that, `GoogleUnavailableError` when Google failed.
        """
        reply = await self._send(
            "POST",
            f"{self._settings.google_api_base}/calendar/v3/freeBusy",
            lambda answer: read_busy(answer, calendar=_CALENDAR),
            until=until,
            headers={"Authorization": f"Bearer {access_token.get_secret_value()}"},
            json={"timeMin": _render(starts_at), "timeMax": _render(ends_at), "items": [{"id": _CALENDAR}]},
        )
        if reply.status != _OK:
            raise read_access_failure(reply.status, reply.content)
        busy: list[Interval] = reply.content
        return busy

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._http is not None:
            client, self._http = self._http, None
            await client.aclose()

    async def _ask_for_tokens(self, form: Mapping[str, str], read: Callable[[Any], Tokens], *, until: float) -> Tokens:
        identified = {
            **form,
            "client_id": self._client_id,
            "client_secret": self._settings.google_client_secret.get_secret_value(),
        }
        reply = await self._send("POST", self._settings.google_token_url, read, until=until, data=identified)
        if reply.status != _OK:
            raise read_token_failure(reply.status, reply.content)
        tokens: Tokens = reply.content
        return tokens

    async def _send(self, method: str, url: str, read: Callable[[Any], Any], *, until: float, **request: Any) -> _Reply:
        """Return an answer, a success as what `read` makes of it: one that makes no sense is a failure of Google's."""
        import httpx

        started = time.perf_counter()
        failure = ""
        status = 0
        try:
            async with asyncio.timeout_at(until):
                async with self._open().stream(method, url, **request) as response:
                    status = response.status_code
                    content = await _read_json(response)
            return _Reply(status, read(content) if status == _OK else content)
        except TimeoutError:
            failure = "no answer in time"
        except httpx.HTTPError as error:
            # Its class tells enough: the error itself holds the request, and with it tokens.
            failure = f"the connection failed ({type(error).__name__})"
        except GoogleUnavailableError as error:
            failure = str(error)
        finally:
            outcome, reason = _judge(status, failure)
            CALLS.record("google", outcome, time.perf_counter() - started, reason=reason)
        raise GoogleUnavailableError(failure)

    def _open(self) -> "httpx.AsyncClient":
        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(
                timeout=self._settings.google_timeout,
                limits=httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS),
                # Compressed answers are not asked for: their size would be known only when it is too late.
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "maya-backend"},
                # What Google leaves with one business must not come along with another's request.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
            )
        return self._http


async def _read_json(response: "httpx.Response") -> Any:
    """Return an answer's content, None for one that is not JSON; raise `GoogleUnavailableError` when it is too long."""
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > _LARGEST_ANSWER:
            raise GoogleUnavailableError(f"an answer of more than {_LARGEST_ANSWER} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _judge(status: int, failure: str) -> tuple[Outcome, str]:
    if failure or not status:
        return "failed", failure or "no answer"
    if status == _OK:
        return "ok", ""
    if status >= 500 or status == 429:
        return "failed", f"status {status}"
    return "refused", f"status {status}"


def _render(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
