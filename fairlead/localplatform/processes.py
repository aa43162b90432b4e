"""Starts the platform's child processes, captures what they print, and sees that none outlives its time.

Each child leads a process group of its own, and is ended with the whole group. Three things end groups: the platform in
the ordinary way; the guard, a small shell process that notices the platform's death, a kill -9 included; and the next
start of the platform, from what was written down.
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from fairlead import _process
from fairlead.exceptions import CommandError, DeadlineError
from fairlead.localplatform.records import OwnedProcess
from fairlead.localplatform.store import Store

_log = logging.getLogger(__name__)
_PROC: Final = Path("/proc")
_CHUNK: Final = 65536
_LONGEST_PARTIAL_LINE: Final = 65536
_DRAIN: Final = 2.0

#: Reads "+ GROUP" and "- GROUP" lines; at their end, which is the platform's, it ends the groups that are left.
_GUARD: Final = """
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case "$groups" in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
round=0
while [ "$round" -lt 30 ]; do
  left=
  for group in $groups; do kill -s 0 -- "-$group" 2>/dev/null && left=yes; done
  [ -z "$left" ] && exit 0
  sleep 0.1
  round=$((round + 1))
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
exit 0
"""

Lines = Callable[[list[str]], None]


def fetch_start_time(pid: int) -> str | None:
    """Return when a process began, as a text that tells it from any other that had its id; None when there is none.

    A zombie counts as gone.
    """
    if (_PROC / "self").exists():
        try:
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            fields = (_PROC / str(pid) / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in {"Z", "X"} else fields[19]
    try:
        done = _process.run(["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], check=False, timeout=10)
    except CommandError:
        return None
    state, _, began = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else began.strip()


def is_running(pid: int, started: str) -> bool:
    """Tell whether the very process that began at `started` still runs."""
    return fetch_start_time(pid) == started


def end_leftovers(store: Store, *, grace: float = 3.0) -> tuple[OwnedProcess, ...]:
    """End the process groups that an earlier platform wrote down and did not end; return those that were running."""
    running = [owned for owned in store.processes() if is_running(owned.pid, owned.started)]
    for owned in running:
        signal_group(owned.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(is_running(owned.pid, owned.started) for owned in running):
        time.sleep(0.05)
    for owned in running:
        signal_group(owned.pid, signal.SIGKILL)
    while time.monotonic() < deadline + grace and any(is_running(owned.pid, owned.started) for owned in running):
        time.sleep(0.01)
    for owned in store.processes():
        store.remove_process(owned.pid)
    return tuple(running)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Child:
    """A running child: `pid` leads its process group, `exited` resolves to its exit code after its last output."""

    def __init__(self, process: subprocess.Popen[bytes], lines: Lines, ended: Callable[[int], None]) -> None:
        self.pid = process.pid
        self.exited: Future[int] = Future()
        self.exited.set_running_or_notify_cancel()  # from now on nobody who waits can cancel it
        self._process = process
        self._ended = ended
        self._pump = threading.Thread(target=self._read, args=(lines,), name=f"output of {self.pid}", daemon=True)
        self._pump.start()
        threading.Thread(target=self._wait, name=f"exit of {self.pid}", daemon=True).start()

    def end(self, *, grace: float) -> int:
        """Ask the group to end, kill it after `grace` seconds, and return the exit code. Blocks."""
        if not self.exited.done():
            signal_group(self.pid, signal.SIGTERM)
        try:
            return self.exited.result(grace)
        except TimeoutError:
            signal_group(self.pid, signal.SIGKILL)
            return self.exited.result()

    def _wait(self) -> None:
        code = self._process.wait()
        signal_group(self.pid, signal.SIGKILL)
        self._pump.join(_DRAIN)
        self._ended(self.pid)
        self.exited.set_result(code)

    def _read(self, lines: Lines) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        partial = b""
        with stream:
            while chunk := os.read(stream.fileno(), _CHUNK):
                *whole, partial = (partial + chunk).split(b"\n")
                if len(partial) > _LONGEST_PARTIAL_LINE:
                    whole, partial = [*whole, partial], b""
                self._deliver(lines, whole)
        self._deliver(lines, [partial] if partial else [])

    def _deliver(self, lines: Lines, whole: list[bytes]) -> None:
        try:
            if whole:
                lines([line.decode("utf-8", errors="replace") for line in whole])
        except Exception:  # noqa: BLE001 - a reader that stops would block the child on a full pipe
            _log.exception("output of process %d was lost", self.pid)


class Children:
    """Every process that the platform has started and not yet seen to end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = _Guard()
        self._running: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._closed = False

    def spawn(
        self, argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], purpose: str, lines: Lines
    ) -> Child:
        """Start a child in a process group of its own; `lines` receives what it prints, from another thread.

        Raises `CommandError` when it cannot be started.
        """
        if self._closed:
            raise CommandError("the local platform is stopping")
        try:
            process = _process.spawn(argv, cwd=cwd, env=env, output=subprocess.PIPE)
        except OSError as error:
            raise CommandError(f"{argv[0]} cannot be started: {error}") from error
        self.adopt(process.pid, purpose)
        with self._lock:
            child = self._running[process.pid] = Child(process, lines, self.disown)
        return child

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        purpose: str,
        lines: Lines,
        timeout: float,
    ) -> int:
        """Run a child to its end and return its exit code. Blocks; raises `DeadlineError` after `timeout` seconds."""
        child = self.spawn(argv, cwd=cwd, env=env, purpose=purpose, lines=lines)
        try:
            return child.exited.result(timeout)
        except TimeoutError:
            child.end(grace=1.0)
            raise DeadlineError(f"{purpose} did not end within {timeout:g} s and was killed") from None

    def adopt(self, pid: int, purpose: str) -> None:
        """Watch over a process group that something else started."""
        self._guard.add(pid)
        self._store.add_process(OwnedProcess(pid, fetch_start_time(pid) or "", purpose))

    def disown(self, pid: int) -> None:
        """Forget a process group that has ended."""
        with self._lock:
            self._running.pop(pid, None)
        self._store.remove_process(pid)
        self._guard.remove(pid)

    def close(self, *, grace: float) -> None:
        """End what still runs and start nothing any more. Blocks."""
        self._closed = True
        with self._lock:
            running = list(self._running.values())
        for child in running:
            signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        for child in running:
            child.end(grace=max(deadline - time.monotonic(), 0.0))

    def close_guard(self) -> None:
        """Let the guard go, when nothing is left for it to watch over. Blocks for a moment."""
        self._guard.close()


class _Guard:
    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        try:
            self._process = _process.spawn(
                ["/bin/sh", "-c", _GUARD, "fairlead-guard"], cwd=Path("/"), env={"PATH": os.defpath}, stdin=reading
            )
        finally:
            os.close(reading)
        self._lock = threading.Lock()

    def add(self, pid: int) -> None:
        self._tell(f"+ {pid}\n")

    def remove(self, pid: int) -> None:
        self._tell(f"- {pid}\n")

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            os.close(self._writing)
            self._writing = -1
        self._process.wait()

    def _tell(self, line: str) -> None:
        # The guard may have been killed; the platform works without it.
        with self._lock, contextlib.suppress(OSError):
            os.write(self._writing, line.encode("ascii"))
