"""The deploy lock: one deploy for each environment at a time, from one checkout."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import LockedError, PlatformError


@contextlib.contextmanager
def hold_lock(config: Config, environment: EnvironmentConfig) -> Iterator[None]:
    """Hold the environment's deploy lock; it goes with the process, however that ends."""
    file = config.state_dir / "locks" / f"{environment.name}.lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        hint = "free some space or mend the folder's permissions"
        raise PlatformError(f"the deploy lock {file} cannot be made: {error.strerror}", hint=hint) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked_by(environment, os.pread(handle, 4096, 0)) from None
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).strftime("%H:%M:%S UTC")}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
        yield
    finally:
        os.close(handle)


def _locked_by(environment: EnvironmentConfig, text: bytes) -> LockedError:
    owner: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        owner = json.loads(text)
    who = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner else "another process"
    return LockedError(f"{environment.name} is being deployed by {who}", hint="wait for it to end, then run this again")
