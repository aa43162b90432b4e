"""Lets one verification at a time run its suites on a service from here: they change what others would read back."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fairlead._filelock import hold_file
from fairlead.exceptions import LockedError

if TYPE_CHECKING:
    from fairlead.config import Config


@contextlib.contextmanager
def hold_turn(loaded: "Config", url: str) -> Iterator[int]:
    """Hold the turn at `url`, and give the descriptor that it hangs on; raise `LockedError` naming who has it.

    The turn ends with the last process that has the descriptor open: suites that inherit it keep others out also when
    the one that started them was killed.
    """
    file = loaded.state_dir / "locks" / f"verify-{hashlib.sha256(url.encode()).hexdigest()[:12]}.lock"

    def refuse(handle: int) -> LockedError:
        owner = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
        return LockedError(
            f"the suites are run on {url} already, by {owner}",
            hint="wait for it to end, then run this again; where it was killed, its suites still run to their end",
        )

    with hold_file(file, name="lock", refuse=refuse) as handle:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode(), 0)
        yield handle
