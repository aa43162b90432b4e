"""An application served by uvicorn as a Procfile starts it: one worker, ready before it is measured."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead._output import redact
from fairlead._polling import wait_until
from fairlead._process import spawn, terminate
from fairlead.exceptions import CommandError, DeadlineError
from fairlead.gates.performance.processes import confine

_LISTENS: Final = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 10.0
_TAIL: Final = 4000


@dataclass(frozen=True, slots=True)
class Application:
    """What is served: `name` for messages, the command as a Procfile has it, its folder, variables and interpreter.

    The command takes its address from `HOST` and `PORT`, and finds uvicorn beside the interpreter.
    """

    name: str
    command: str
    directory: Path
    variables: Mapping[str, str]
    python: Path = Path(sys.executable)


@dataclass(frozen=True, slots=True)
class Service:
    """An application that is being served: where, by which process, and the file with what it says."""

    url: str
    pid: int
    log: Path


def shell_command(application: Application) -> list[str]:
    """Build the command that serves an application; the shell gives way to it, so that its process is the server's."""
    return ["/bin/sh", "-c", f"exec {application.command}"]


def variables_of(application: Application) -> dict[str, str]:
    """Return the variables to serve an application with: its own, a free port of loopback, its interpreter first."""
    path = os.pathsep.join((str(application.python.parent), application.variables.get("PATH", os.defpath)))
    return {**application.variables, "PATH": path, "HOST": "127.0.0.1", "PORT": "0"}


@contextlib.contextmanager
def serve(application: Application, *, logs: Path, cores: frozenset[int] | None = None) -> Iterator[Service]:
    """Serve an application until the block ends; its process keeps to `cores`, and its log lies in the folder `logs`.

    Raises `CommandError` when it does not come to listen.
    """
    log = logs / f"{application.name}.log"
    child = None
    try:
        with log.open("wb") as output:
            variables = variables_of(application)
            child = spawn(shell_command(application), cwd=application.directory, env=variables, output=output)
        confine(child.pid, cores)
        yield Service(_wait_for_url(child, log, application.name), child.pid, log)
    finally:
        if child is not None:
            terminate(child, grace=_STOP_TIMEOUT)


def _wait_for_url(child: "subprocess.Popen[bytes]", log: Path, name: str) -> str:
    def look(_remaining: float) -> str | None:
        found = _LISTENS.search(log.read_text("utf-8", "replace"))
        if found is None and child.poll() is not None:
            raise _not_serving(name, f"it ended with exit code {child.returncode}", log)
        return found[1] if found else None

    try:
        return wait_until(look, timeout=_START_TIMEOUT, what=f"{name} to listen", interval=0.05, longest_interval=0.1)
    except DeadlineError as error:
        raise _not_serving(name, str(error), log) from error


def _not_serving(name: str, why: str, log: Path) -> CommandError:
    said = redact(log.read_text("utf-8", "replace"))[-_TAIL:]
    return CommandError(f"{name} cannot be measured, because it does not serve: {why}", output=said)
