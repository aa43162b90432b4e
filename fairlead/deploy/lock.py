"""The deploy lock: one act at a time that changes an environment, from one checkout.

The system takes the lock away from a process that ends, however it does, so that no lock is ever stale. What its owner
wrote stays in the file unless it came to an end of its own, and tells the next one what was left half done.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fairlead import build
from fairlead._filelock import hold_file
from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import LockedError

_LARGEST = 65536


@dataclass(slots=True)
class Lock:
    """A lock that is held; `left` is what an owner wrote that was killed, empty when none was."""

    handle: int
    facts: dict[str, Any]
    left: Mapping[str, Any] = field(default_factory=dict)

    def note(self, **facts: Any) -> None:
        """Write down how far the owner has come, for whoever finds the lock left behind."""
        self.facts |= facts
        _write(self.handle, json.dumps(self.facts).encode())

    def began(self, deployment_id: str, message: str | None) -> bool:
        """Tell whether a deployment is what an owner began who was killed, be it before he learnt of its id."""
        ids, sent = self.left.get("deployments"), self.left.get("sending")
        return (isinstance(ids, list) and deployment_id in ids) or (bool(sent) and message == sent)

    def describe_left(self) -> str | None:
        """Say what an owner left half done who was killed; None when none was."""
        if not self.left:
            return None
        begun = ", ".join(map(str, self.left.get("deployments", ())))
        if begun:
            what = f" It had begun deployment {begun}."
        else:
            what = " It was sending its bundle." if self.left.get("sending") else " It had sent nothing yet."
        return f"{_describe(self.left)} was broken off.{what}"


@contextlib.contextmanager
def hold_lock(config: Config, environment: EnvironmentConfig, *, reason: str) -> Iterator[Lock]:
    """Hold the environment's lock for `reason` ("deploy", "rollback" …).

    Raises `LockedError` naming the owner where another process has it, `PlatformError` where it cannot be made.
    """
    file = config.state_dir / "locks" / f"{environment.name}.lock"
    with hold_file(file, name="deploy lock", refuse=lambda handle: _locked_by(environment, _read(handle))) as handle:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "user": build.user(),
            "since": since,
            "reason": reason,
        }
        lock = Lock(handle, owner, _read(handle))
        lock.note()
        try:
            yield lock
        except KeyboardInterrupt:
            raise
        except BaseException:
            _write(handle, b"")
            raise
        _write(handle, b"")


def _describe(owner: Mapping[str, Any]) -> str:
    """Say in a few words who holds or held a lock, why and since when."""
    if not owner:
        return "another process"
    reason, user, pid = (owner.get(name, "?") for name in ("reason", "user", "pid"))
    return f"a {reason} of {user} (process {pid} on {owner.get('host', '?')} since {owner.get('since', '?')})"


def _locked_by(environment: EnvironmentConfig, owner: Mapping[str, Any]) -> LockedError:
    hint = "wait for it to end, then run this again"
    return LockedError(f"{environment.name} is locked by {_describe(owner)}", hint=hint)


def _read(handle: int) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(os.pread(handle, _LARGEST, 0))
        if isinstance(found, dict):
            return found
    return {}


def _write(handle: int, content: bytes) -> None:
    # On a full disk the lock still holds; only what it says is lost.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, content, 0)
