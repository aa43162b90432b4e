"""The one seam through which Fairlead runs other programs.

Commands are lists of arguments, made by a function beside the thing that they do and compared as lists in tests.
Secrets never stand in them: they are handed over in `env` or on standard input.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from fairlead._redaction import redact
from fairlead.exceptions import CommandError

_OUTPUT_TAIL = 4000
_INTERRUPT_GRACE = 10.0
_Child = TypeVar("_Child", "subprocess.Popen[str]", "subprocess.Popen[bytes]")


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left: its arguments, exit code and captured text."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, standard output first."""
        return "\n".join(part.rstrip() for part in (self.stdout, self.stderr) if part.strip())


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: str | None = None,
    check: bool = True,
    capture: bool = True,
) -> Completed:
    """Run a command to its end.

    `env` replaces the environment whole when given. `timeout` is in seconds; past it the command's whole process
    group is killed. Without `capture` it has the caller's terminal, and stays in the caller's group so that Ctrl-C
    reaches it and it can end in its own way; past `timeout` the command alone is killed. Raises `CommandError` when
    the command is not installed, takes too long, or, with `check`, exits with anything but 0.
    """
    command = [os.fspath(part) for part in argv]
    pipe = subprocess.PIPE if capture else None
    unasked = subprocess.DEVNULL if capture else None
    child = _start(
        lambda: subprocess.Popen(
            command,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=unasked if stdin is None else subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            text=True,
            errors="replace",
            start_new_session=capture,
        ),
        command=command[0],
        cwd=cwd,
        group=capture,
    )
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _abandon(child, group=capture)
        raise CommandError(f"`{shlex.join(command)}` did not end within {timeout:g} s and was killed") from error
    except BaseException:
        if not capture:
            # A Ctrl-C on the terminal reached the child too: let it end in its own way.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_INTERRUPT_GRACE)
        _abandon(child, group=capture)
        raise
    done = Completed(tuple(command), child.returncode, stdout or "", stderr or "")
    if check and done.returncode != 0:
        tail = redact(done.output)[-_OUTPUT_TAIL:]  # masked before it is cut: half a secret would not be known as one
        raise CommandError(f"`{shlex.join(command)}` ended with exit code {done.returncode}", output=tail)
    return done


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    user: int | None = None,
    group: int | None = None,
    umask: int = -1,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a long-running child in a session of its own, both streams going to `output`.

    The caller owns the child and ends it with `terminate`. `user` and `group` are numeric ids to run as, for a
    caller that is root; `inherited` are descriptors that the child keeps open as well. Raises `CommandError` when the
    command is not installed.
    """
    command = [os.fspath(part) for part in argv]
    return _start(
        lambda: subprocess.Popen(
            command,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            umask=umask,
            pass_fds=tuple(inherited),
        ),
        command=command[0],
        cwd=cwd,
        group=True,
    )


def terminate(child: subprocess.Popen[bytes], *, grace: float, first: signal.Signals = signal.SIGTERM) -> int:
    """End a child started by `spawn` and everything it started; return its exit code.

    It is asked with `first`, and killed with its process group after `grace` seconds.
    """
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    _end(child, group=True)
    return child.returncode


def _start(start: Callable[[], _Child], *, command: str, cwd: Path | None, group: bool) -> _Child:
    """Start a child; it is ended again where what came meanwhile breaks this off, since nobody has it yet."""
    child: _Child | None = None
    try:
        with _hold_signals():
            child = start()
    except OSError as error:
        raise _not_started(command, cwd, error) from error
    except BaseException:
        if child is not None:
            _abandon(child, group=group)
        raise
    return child


@contextlib.contextmanager
def _hold_signals() -> Iterator[None]:
    """Hold back what would break off the block, by Ctrl-C or SIGTERM, and hand it on at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread hears signals
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (int(signal.SIGINT), int(signal.SIGTERM))}
    asked = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in asked:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in asked.items():
            signal.signal(number, handler)
    for number in came:
        asked[number](number, None)


def _abandon(child: "subprocess.Popen[str] | subprocess.Popen[bytes]", *, group: bool) -> None:
    _end(child, group=group)
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):  # what is left to write has no reader any more
                stream.close()


def _end(child: "subprocess.Popen[str] | subprocess.Popen[bytes]", *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def _not_started(command: str, cwd: Path | None, error: OSError) -> CommandError:
    if cwd is not None and not cwd.is_dir():
        return CommandError(f"{command} cannot run in {cwd}: there is no such folder")
    known = shutil.which(command)
    # A folder on PATH that may not be searched makes "permission denied" of a command that is nowhere.
    missing = known is None and (isinstance(error, FileNotFoundError) or os.sep not in command)
    if not missing and not isinstance(error, FileNotFoundError):
        return CommandError(f"{command} cannot be executed: {error.strerror}")
    why = f"{command} is not installed or not on PATH" if missing else f"{known} names an interpreter that is missing"
    return CommandError(why, hint="python3 -m pip install -r requirements.txt")
