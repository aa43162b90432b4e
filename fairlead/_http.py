"""The one place that makes HTTP clients, so that time limits and identification are the same everywhere."""

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fairlead import __version__

if TYPE_CHECKING:
    import httpx


def make_client(
    base_url: str = "",
    *,
    timeout: float = 10.0,
    headers: dict[str, str] | None = None,
    transport: "httpx.BaseTransport | None" = None,
) -> "httpx.Client":
    """Make an HTTP client with bounded waits that follows no redirects and ignores proxies for loopback addresses.

    `timeout` is in seconds and bounds each connect, read and write; a caller that needs a bound on the whole
    exchange uses a deadline of its own. `transport` replaces the network in tests.
    """
    import ssl

    import httpx

    parts = urlsplit(base_url)
    # No trusted authorities for an address that needs none: loading them all takes longer than the request.
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if parts.scheme == "http" else True
    return httpx.Client(
        base_url=base_url,
        timeout=httpx.Timeout(timeout),
        headers={"User-Agent": f"fairlead/{__version__}", **(headers or {})},
        transport=transport,
        trust_env=not _is_loopback(parts.hostname or ""),
        verify=trusted,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
