"""Where a running platform is, and the file that says so.

The file holds secrets, so only its owner may read it; it is written whole or not at all. One that a dead process left
behind is recognised by the process's start time, also when its id belongs to another process now.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from fairlead.config import Config
from fairlead.localplatform.processes import is_running

#: Raised by one whenever a platform started by older code cannot serve the commands of newer code.
PROTOCOL: Final = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running platform is and what it takes to use it; `wanted_port` is what the configuration asks for."""

    api_url: str
    public_url: str
    token: str = field(repr=False)
    project_id: str
    environment_id: str
    service_id: str
    database_url: str = field(repr=False)
    pid: int
    wanted_port: int
    port: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told of it: that another program has the port that was wanted."""
        if self.wanted_port in {0, self.port}:
            return ()
        return (f"port {self.wanted_port} is taken by another program; serving on {self.port} instead",)


@dataclass(frozen=True, slots=True)
class State:
    """What the file says: the endpoint, and which code runs there."""

    endpoint: Endpoint
    started: str
    protocol: int
    version: str


def platform_directory(config: Config) -> Path:
    """Return the folder that holds everything the platform keeps."""
    return config.state_dir / "platform"


def state_file(directory: Path) -> Path:
    """Return the file that says where the platform of `directory` is."""
    return directory / "daemon.json"


def write_state(directory: Path, facts: Mapping[str, Any]) -> None:
    """Write the file in one step."""
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=".daemon-", suffix=".json")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=2)
        Path(name).replace(state_file(directory))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_state(directory: Path) -> State | None:
    """Return what the file says, whether that process still runs or not; None when it says nothing that makes sense."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(state_file(directory).read_text("utf-8"))
        return State(
            endpoint=Endpoint(**facts["endpoint"]),
            started=str(facts["started"]),
            protocol=int(facts["protocol"]),
            version=str(facts["version"]),
        )
    return None


def read_running_state(directory: Path) -> State | None:
    """Return what the file says if the process that wrote it runs; None otherwise."""
    state = read_state(directory)
    return state if state is not None and is_running(state.endpoint.pid, state.started) else None


def try_lock(file: IO[str]) -> bool | None:
    """Take a lock file for this process; return None where another has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return True
