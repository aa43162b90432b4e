"""Chooses ports of 127.0.0.1: the public one, kept from one start to the next, and free ones for everything else."""

import contextlib
import random
import socket
from typing import Final

from fairlead.exceptions import PlatformError

LOOPBACK: Final = "127.0.0.1"
_TRIES: Final = 100
_HIGHEST: Final = 65535
#: Below the ports that systems hand out by themselves, so that a choice stays free until it is taken.
_QUIET: Final = range(20_000, 32_000)


def bind(port: int = 0) -> socket.socket:
    """Return a socket bound to a loopback port, 0 for any; raise `OSError` when another program has it."""
    # Named in full: asyncio sends small writes at once only on sockets that say they are TCP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
    except BaseException:
        bound.close()
        raise
    return bound


def bind_public(wanted: int, *, last: int | None = None) -> socket.socket:
    """Return a socket bound to the public port: `last` if it is free, else `wanted`, else the next free one above.

    Raises `PlatformError` when there is none.
    """
    for port in ([last] if last else []) + list(range(wanted, min(wanted + _TRIES, _HIGHEST) + 1)):
        # Some systems let a loopback address be bound beside another program's wildcard: only a refusal says free.
        if port == 0 or not _is_answered(port):
            with contextlib.suppress(OSError):
                return bind(port)
        if wanted == 0:
            return bind()
    raise PlatformError(
        f"no port from {wanted} to {wanted + _TRIES} is free or may be used", hint="set another: FAIRLEAD_PLATFORM_PORT"
    )


def choose_free_port() -> int:
    """Choose a loopback port that is free now."""
    for port in random.sample(_QUIET, 50):  # nosec B311 - a port is no secret
        with contextlib.suppress(OSError), bind(port):
            return port
    with bind() as bound:
        return port_of(bound)


def port_of(bound: socket.socket) -> int:
    """Return the port of a bound socket."""
    return int(bound.getsockname()[1])


def _is_answered(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) == 0
