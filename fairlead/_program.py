"""Turns a gate's function into a program: expected errors become one message and an exit code."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Final

from fairlead import _output
from fairlead.exceptions import Error

_INTERRUPTED: Final = 130


def run(gate: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a gate and return its exit code: 0 passed, 1 failed, else the code of the error that kept it from judging.

    130 when it was broken off, by Ctrl-C or SIGTERM, once it has ended what it had started.
    """
    _output.guard_tracebacks()
    try:
        with ended_by_sigterm():
            return gate(arguments)
    except KeyboardInterrupt:
        _output.error("interrupted")
        return _INTERRUPTED
    except Error as error:
        _output.report(error)
        return error.exit_code


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that its clean-up runs; a second one does not break that off."""
    ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        if not ending:
            ending = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
