"""One throw-away PostgreSQL for all workers of a test run: kept by the process that starts them, asked for by each.

The keeper listens on loopback and starts the server when it is first asked, so that a run without tests on a database
starts none. Workers come and go, killed ones too; the server ends with its keeper, and no file says where it was.
"""

import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from fairlead.exceptions import Error, PlatformError

if TYPE_CHECKING:
    from fairlead.postgres import Databases

#: Longest that a stranger on the port keeps a worker waiting, in seconds, and longest that a server takes to start.
_STRANGER = 2.0
_START = 120.0


class Keeper:
    """Holds the server of a test run; `start` gives it, and is called at most once."""

    def __init__(self, start: "Callable[[], AbstractContextManager[Databases]]") -> None:
        self._start = start
        self._token = secrets.token_urlsafe(24)
        self._server = ExitStack()
        self._answer = b""
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="fairlead test server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where workers ask, with the token that they are known by; for them alone."""
        return f"{self._listener.getsockname()[1]} {self._token}"

    def close(self) -> None:
        """End the server, if there is one, and answer no more; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), _STRANGER).close()  # ends the wait for a worker
        self._thread.join()
        self._listener.close()
        self._server.close()

    def _serve(self) -> None:
        while not self._closed:
            with contextlib.suppress(OSError):  # a worker that was killed
                worker, _ = self._listener.accept()
                with worker:
                    if not self._closed:
                        self._reply(worker)

    def _reply(self, worker: socket.socket) -> None:
        worker.settimeout(_STRANGER)
        with worker.makefile("rb") as stream:
            given = stream.readline(200).strip()
        if hmac.compare_digest(given, self._token.encode()):
            self._answer = self._answer or json.dumps(self._open()).encode()
            worker.sendall(self._answer)

    def _open(self) -> dict[str, str | None]:
        try:
            return {"url": self._server.enter_context(self._start()).url()}
        except Error as error:
            return {"error": error.message, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - it is the workers' to report, and the thread's to outlive
            return {"error": f"the PostgreSQL for the tests did not start: {error!r}", "hint": None}


def ask(address: str) -> str | None:
    """Return the address of the run's server, or None where its keeper cannot be reached: on another machine.

    Raises `PlatformError` when the server did not start.
    """
    port, _, token = address.partition(" ")
    try:
        with socket.create_connection(("127.0.0.1", int(port)), _STRANGER) as keeper:
            keeper.sendall(f"{token}\n".encode())
            keeper.settimeout(_START)
            with keeper.makefile("rb") as stream:
                said = stream.read()
    except OSError:
        return None
    if not said:
        return None
    answer = json.loads(said)
    if "url" in answer:
        return str(answer["url"])
    raise PlatformError(answer["error"], hint=answer["hint"])
