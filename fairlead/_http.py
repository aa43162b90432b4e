"""The one place that makes HTTP clients and bounds requests: time limits and identification are the same everywhere."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from fairlead import __version__

if TYPE_CHECKING:
    import httpx

Value = TypeVar("Value")

#: How many seconds a request has to notice that its connection was cut, before it is left behind.
_NOTICED_IN: Final = 0.05


def make_client(
    base_url: str = "",
    *,
    timeout: float = 10.0,
    headers: dict[str, str] | None = None,
    transport: "httpx.BaseTransport | None" = None,
) -> "httpx.Client":
    """Make an HTTP client with bounded waits that follows no redirects and ignores proxies for loopback addresses.

    `timeout` is in seconds and bounds each connect, read and write; a caller that needs a bound on the whole
    exchange uses a `TotalDeadline`. `transport` replaces the network in tests.
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
        trust_env=not is_loopback(parts.hostname or ""),
        verify=trusted,
    )


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address without brackets or port, is this very machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class TotalDeadline:
    """Cuts the connection when the time for all that is asked is over: httpx bounds each read, not their sum.

    Each request must carry `watch` as its extension `trace`. Used by one thread at a time, and again as often as
    wanted: a connection that is kept open is still known the next time. `passed` tells whether the last time was over.
    """

    def __init__(self) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def over(self, seconds: float) -> Iterator[Self]:
        """Allow what is done in this context so many seconds: what waits for an answer then fails as if disconnected.

        The lookup of a name and an attempt to connect have no connection to cut; `call` ends them as well.
        """
        self.passed = False
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield self
        finally:
            timer.cancel()
            timer.join()

    def call(self, function: Callable[[], Value], *, seconds: float) -> Value:
        """Call `function` in a thread of its own, and return its result or raise its exception.

        What it does has so many seconds until its connection is cut. Where it goes on for all that (nothing ends a
        lookup of a name from outside) it is left behind, in a thread that keeps no process alive, and `TimeoutError`
        is raised, at most 0.05 s late.
        """
        from concurrent.futures import Future, wait

        self.passed = False
        outcome: Future[Value] = Future()

        def run() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome.set_exception(error)

        threading.Thread(target=run, name="request", daemon=True).start()
        try:
            wait([outcome], timeout=seconds)
        finally:
            if not outcome.done():  # its time is over, or its caller was interrupted
                self._end()
        return outcome.result(timeout=_NOTICED_IN)

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the connection that httpx opens, be it through a proxy; called by it as the request's `trace`."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
            if self.passed:
                self._end()

    def _end(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.passed = True
            if self._socket is not None:
                # The plain socket's method: a TLS socket's own would change it under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
