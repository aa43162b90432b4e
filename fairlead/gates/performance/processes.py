"""What a process and its children take of the machine, after Linux's /proc, and which cores they may use."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fairlead.exceptions import CommandError

_PROC: Final = Path("/proc")
_MEGABYTE: Final = 1_000_000
#: The states of what has ended but for its exit code, of which /proc still tells: it takes no memory and no time.
_ENDED: Final = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores serve what is measured, and which everything else: the load, the database, this process.

    Apart, they cannot take time from each other, and whoever is measured gets the same. None where there is one core.
    """

    served: frozenset[int] | None = None
    others: frozenset[int] | None = None


def divide_cores(available: frozenset[int]) -> Cores:
    """Give the last of the cores to the server, and the others to everything else."""
    if len(available) < 2:
        return Cores()
    served = frozenset({max(available)})
    return Cores(served, available - served)


def available_cores() -> frozenset[int]:
    """Return the cores that this process may use; none where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset()
    return frozenset(os.sched_getaffinity(0))


@contextlib.contextmanager
def confined(cores: frozenset[int] | None) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on `cores`; None changes nothing."""
    before = available_cores()
    confine(os.getpid(), cores)
    try:
        yield
    finally:
        if cores is not None:
            confine(os.getpid(), before)


def confine(pid: int, cores: frozenset[int] | None) -> None:
    """Keep a process on `cores`; None, or a system that does not know how, changes nothing."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cores)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its living children have taken, in user and system mode.

    Raises `CommandError` when the process has ended, also where nobody has fetched its exit code yet.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(sum(int(field) for field in _read_stat(member)[11:13]) for member in _family(pid)) / ticks


def memory(pid: int) -> float:
    """Return the resident memory of a process and its living children, in megabytes; raises as `cpu_seconds` does."""
    pages = sum(int(_read(member, "statm").split()[1]) for member in _family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


@dataclass
class MemoryWatch:
    """Samples of a process's memory: seconds since the first, and megabytes."""

    pid: int
    interval: float
    samples: list[tuple[float, float]] = field(default_factory=list)
    failure: CommandError | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sample until `stop` is called, and once more then; what keeps it from that is left as `failure`."""
        began, last = time.monotonic(), False
        try:
            while True:
                self.samples.append((time.monotonic() - began, memory(self.pid)))
                if last:
                    return
                last = self._ending.wait(self.interval)
        except CommandError as error:
            self.failure = error

    def stop(self) -> None:
        """Take the last sample."""
        self._ending.set()


@contextlib.contextmanager
def watch_memory(pid: int, *, interval: float = 0.25) -> Iterator[MemoryWatch]:
    """Sample the memory of a process every `interval` seconds, from a thread, until the block ends.

    Raises `CommandError` at the end of the block when the process did not live as long.
    """
    watch = MemoryWatch(pid, interval)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
    if watch.failure is not None:
        raise watch.failure


def _family(pid: int) -> list[int]:
    """Return a process and all below it. What has ended meanwhile is left out; the process itself must live."""
    if _read_stat(pid)[0] in _ENDED:
        raise CommandError(f"process {pid} cannot be measured: it has ended")
    found, queue = [], [pid]
    while queue:
        member = queue.pop()
        found.append(member)
        for file in (_PROC / str(member) / "task").glob("*/children"):
            with contextlib.suppress(OSError):
                queue += [int(child) for child in file.read_text("ascii").split()]
    return found


def _read_stat(pid: int) -> list[str]:
    # The name of the program may hold anything, spaces and brackets too: what follows its last bracket is regular.
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text("utf-8", "replace")
    except OSError as error:
        if not (_PROC / "self").exists():
            raise CommandError(
                "performance cannot be measured: this system has no /proc", hint="run this gate on Linux"
            ) from None
        raise CommandError(f"process {pid} cannot be measured: {error.strerror}; it may have ended") from None
