"""Owns how Stripe's SDK talks HTTP: through httpx, on the event loop, over connections that are kept.

The SDK's own client for httpx uses a call that httpx has deprecated. Importing this loads the SDK.
"""

import functools
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar

import anyio
import httpx
import stripe


class StripeTransport(stripe.HTTPClient):
    """Sends the SDK's requests; the SDK decides what is tried again."""

    name: ClassVar[str] = "httpx"

    def __init__(self, *, timeout: float) -> None:
        """Wait `timeout` seconds for each step of a request. Connects nowhere."""
        super().__init__()
        self._client = httpx.AsyncClient(timeout=timeout, verify=_trust())

    async def sleep_async(self, secs: float) -> None:
        """Wait before a request is tried again."""
        await anyio.sleep(secs)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Return the body, the status and the headers of an answer; raise `APIConnectionError` when there is none."""
        try:
            answer = await self._client.request(method, url, headers=headers, content=post_data)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The SDK's message is shown nowhere; the kind of error is all that may be told.
            raise _unreachable(type(error).__name__) from None
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _unreachable(kind: str) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(kind, should_retry=True)  # type: ignore[no-untyped-call]  # the SDK's own lack


@functools.cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
