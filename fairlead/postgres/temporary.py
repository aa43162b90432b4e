"""Throw-away servers: in memory where there is room, gone with their user, and with the next one if that was killed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairlead.exceptions import PlatformError
from fairlead.postgres.cluster import home_of, remove_data
from fairlead.postgres.ownership import LOCK_FILE
from fairlead.postgres.server import Server

MEMORY = Path("/dev/shm")  # noqa: S108 # nosec B108 - the kernel's memory file system; folders in it are made privately
NEEDED_MEMORY = 512 * 1024 * 1024


@contextmanager
def temporary_server(*, place: Path | None = None) -> Iterator[Server]:
    """Give a server that is removed at the end with all its data; nothing that it does reaches a disk on purpose.

    `place` is the folder to make it in: by default the memory file system where it has room, else the system's folder
    for temporary files.
    """
    place = place or choose_place()
    prefix = f"fairlead-{os.geteuid()}-"
    sweep_leftovers(place, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    home = folder
    try:
        with Server.start(folder, durable=False) as server:
            home = server.home
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def choose_place(memory: Path = MEMORY) -> Path:
    """Return the folder for throw-away servers: in memory where it can be written and has room."""
    with contextlib.suppress(OSError):
        if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= NEEDED_MEMORY:
            return memory
    return Path(tempfile.gettempdir())


def sweep_leftovers(place: Path, prefix: str) -> None:
    """Remove the throw-away servers in `place` whose owner was killed, ending what still runs of them."""
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError, PlatformError):
            if folder.stat().st_uid == os.geteuid() and (home_of(folder) / LOCK_FILE).exists():
                remove_data(folder)
