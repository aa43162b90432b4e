"""Owns how a worker is told to end: by SIGTERM or SIGINT, which never interrupt what it has in hand."""

import select
import signal
import socket
from types import FrameType
from typing import Self

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Notes SIGTERM and SIGINT in its context, and ignores them after it; for the main thread of a process.

    Whoever is told to end may be told again at the very end, and must not die of it.
    """

    def __enter__(self) -> Self:
        self._asked = False
        # The signal's number arrives here as a byte, so that a wait ends at once: an Event set by a handler could lock.
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _NUMBERS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def is_set(self) -> bool:
        """Say whether the worker was told to end."""
        return self._asked

    def wait(self, seconds: float | None = None) -> bool:
        """Wait at most so long (None: for ever) to be told to end, and say whether that has happened."""
        while not self._asked:
            ready, _, _ = select.select([self._reader], [], [], seconds)
            if not ready:
                break
            self._reader.recv(64)
        return self._asked

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
