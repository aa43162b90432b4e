"""A lock file that one process at a time holds, and that the system takes away from a dead one."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from fairlead.exceptions import LockedError, PlatformError


@contextlib.contextmanager
def hold_file(file: Path, *, name: str, refuse: Callable[[int], LockedError]) -> Iterator[int]:
    """Hold the lock on `file`, and give the descriptor that it hangs on.

    What `refuse` makes of the descriptor is raised where another process has it; `PlatformError`, with the `name` of
    the lock, where it cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        hint = "free some space or mend the folder's permissions"
        raise PlatformError(f"the {name} {file} cannot be made: {error.strerror}", hint=hint) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refuse(handle) from None
        yield handle
    finally:
        os.close(handle)
