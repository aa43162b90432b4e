"""Ends the programs that runners have started, where the gate is broken off while they run.

Each stands at the head of a process group of its own, which neither Ctrl-C nor the end of the gate reaches: left alone
it would go on, and leave what it has found behind in a folder that nobody removes.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fairlead._process import run
from fairlead.exceptions import CommandError

_PROCESSES: Final = Path("/proc")
_SECONDS_BETWEEN: Final = 0.1
_TIMES: Final = 10


def end(*, threads: str) -> None:
    """End every program that this process has started, until no thread is left whose name begins with `threads`.

    They are asked to end, for git not to leave a lock behind, and killed where they have not within a second. The
    threads are those that run them: one whose program has ended may start another one.
    """
    for turn in itertools.count():
        _send(signal.SIGTERM if turn < _TIMES else signal.SIGKILL)
        if not any(thread.name.startswith(threads) for thread in threading.enumerate()):
            return
        time.sleep(_SECONDS_BETWEEN)


def _send(number: signal.Signals) -> None:
    for child in _find(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(child) == child:
                os.killpg(child, number)


def _find(parent: int) -> list[int]:
    return [child for child, its_parent in (_read_processes() or _ask_for_processes()) if its_parent == parent]


def _read_processes() -> list[tuple[int, int]]:
    """Return each process and its parent, as Linux tells them; empty elsewhere."""
    found: list[tuple[int, int]] = []
    for file in _PROCESSES.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name of its program, in brackets, may hold anything: `17 (a) b) S 1 …`.
            found.append((int(file.parent.name), int(file.read_text("utf-8", "replace").rpartition(")")[2].split()[1])))
    return found


def _ask_for_processes() -> Iterator[tuple[int, int]]:
    """Yield each process and its parent, as `ps` tells them; none where there is no such command."""
    with contextlib.suppress(CommandError):
        for line in run(["ps", "-A", "-o", "pid=,ppid="], timeout=10).stdout.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
