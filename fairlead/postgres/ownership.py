"""One owner at a time: a lock that the kernel drops with its process, and the end of a server whose owner is gone."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from fairlead import _process
from fairlead.exceptions import PlatformError

LOCK_FILE = "owner.lock"


class OwnerLock:
    """Holds the lock file of a cluster for as long as this object lives and its process does."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, file: Path) -> "OwnerLock":
        """Take the lock, making its folder where that is missing.

        Raises `PlatformError` naming the owner's process id when there is one.
        """
        while True:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # the folder was removed in between, by somebody who found it abandoned
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise _owned(file.parent, owner) from None
            if _is_same_file(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return cls(descriptor)
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock up; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def end_orphan(data: Path, *, grace: float = 10.0, sleep: Callable[[float], None] = time.sleep) -> bool:
    """End a server left running on `data` by an owner that is gone; return whether there was one.

    Only for whoever holds the owner's lock. A process is ended only if it really is a PostgreSQL on that folder; where
    its number has gone to a stranger meanwhile, the file that names it is removed instead.
    """
    file = data / "postmaster.pid"
    pid = read_pid(file)
    if pid is None or not _exists(pid):
        return False
    if not is_server(pid, data):
        file.unlink(missing_ok=True)
        return False
    for number, share in ((signal.SIGINT, 0.7), (signal.SIGQUIT, 0.2), (signal.SIGKILL, 0.1)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + grace * share
        while time.monotonic() < deadline:
            if not is_server(pid, data):
                return True
            sleep(0.02)
    raise PlatformError(f"process {pid}, a PostgreSQL left behind on {data}, cannot be ended", hint=f"kill -9 {pid}")


def read_pid(file: Path) -> int | None:
    """Return the process id on the first line of a postmaster.pid, or None where there is none."""
    try:
        first = file.read_text("utf-8", "replace").partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() and int(first) > 1 else None


def is_server(pid: int, data: Path) -> bool:
    """Tell whether process `pid` is alive and a PostgreSQL that was started on the folder `data`."""
    words = _command_line(pid)
    return len(words) > 2 and Path(words[0]).name == "postgres" and str(data) in words


def _command_line(pid: int) -> list[str]:
    if Path("/proc/self/cmdline").exists():
        try:
            # A process that ended and was not waited for has an empty one.
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        except OSError:
            return []
    listing = _process.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False).stdout.strip()
    program, separator, rest = listing.partition(" -D ")
    folder = rest.partition(" -c ")[0]
    return [program, "-D", folder] if separator else []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _owned(folder: Path, owner: str) -> PlatformError:
    who = f"process {owner}" if owner else "another process"
    return PlatformError(
        f"the PostgreSQL in {folder} belongs to {who}, which is running", hint="stop that one first, or use its address"
    )


def reap(child: "subprocess.Popen[bytes]", *, grace: float) -> None:
    """End our own server: fast, then at once, then by force; `grace` seconds in all."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace * 0.7)
    _process.terminate(child, grace=grace * 0.3, first=signal.SIGQUIT)
