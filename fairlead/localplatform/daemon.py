"""Starts, finds and stops the platform's process, for the acts; run as a module it is that process.

There is one for each folder. Starting it is safe when two commands do so at once: the second one finds the first one's.
The new process says over a pipe when it is ready, or why it cannot be, so nothing is waited for longer than needed.
"""

import argparse
import contextlib
import gc
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from fairlead import __version__, _process
from fairlead._imports import skip_command_line_of_httpx
from fairlead._output import guard_tracebacks, redact, redact_value, result
from fairlead._polling import wait_until
from fairlead.config import Config, load
from fairlead.exceptions import DeadlineError, Error, PlatformError
from fairlead.localplatform.endpoint import (
    PROTOCOL,
    Endpoint,
    State,
    platform_directory,
    read_running_state,
    state_file,
    try_lock,
)
from fairlead.localplatform.ports import LOOPBACK
from fairlead.localplatform.processes import end_leftovers, is_running
from fairlead.localplatform.releases import make_daemon_variables
from fairlead.localplatform.store import Store

__all__ = ["Endpoint", "find", "start", "stop"]

_START_TIMEOUT: Final = 120.0
_LOCK_TIMEOUT: Final = 150.0
_STOP_MARGIN: Final = 25.0
_PROBE_TIMEOUT: Final = 5.0
_LOG_BOUND: Final = 2_000_000
_LOG_LINES: Final = 15
_PACKAGE_PARENT: Final = Path(__file__).resolve().parents[2]


def start(config: Config) -> Endpoint:
    """Return where the platform is, starting it when it does not run.

    One that was started by another version of Fairlead is replaced. Raises `PlatformError` when it cannot start, with
    its own words on why.
    """
    directory = _make_directory(config)
    state = read_running_state(directory)
    if state is None or not _fits(state):
        with _starting(directory):
            state = read_running_state(directory)
            if state is None or not _fits(state):
                if state is not None:
                    _end(config, state)
                _launch(config, directory)
                state = read_running_state(directory)
    if state is None:
        raise _not_started(directory, "it ended right after it had started")
    return state.endpoint


def find(config: Config) -> Endpoint | None:
    """Return where the platform is, None when it does not run."""
    state = read_running_state(platform_directory(config))
    return None if state is None else state.endpoint


def stop(config: Config) -> bool:
    """Stop the platform, its releases and its database; return whether anything ran. No process is left behind."""
    directory = platform_directory(config)
    if not directory.is_dir():
        return False
    with _starting(directory):
        state = read_running_state(directory)
        if state is not None:
            _end(config, state)
        return _end_leftovers(directory) or state is not None


def _make_directory(config: Config) -> Path:
    directory = platform_directory(config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = (
            "free some space on that disk" if "space" in str(error) else "check the permissions of the folder above it"
        )
        raise PlatformError(f"the folder {directory} cannot be made: {error.strerror}", hint=hint) from error
    return directory


def _fits(state: State) -> bool:
    """Tell whether a running platform is of this version and alive enough to be asked."""
    if state.protocol != PROTOCOL or state.version != __version__:
        return False
    with socket.socket() as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        return probe.connect_ex((LOOPBACK, int(state.endpoint.api_url.rpartition(":")[2]))) == 0


@contextlib.contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """Let one command at a time start or stop the platform."""
    try:
        lock = (directory / "start.lock").open("a")
    except OSError as error:
        raise PlatformError(f"{directory} cannot be written to: {error.strerror}") from error
    with lock:
        wait_until(
            lambda _remaining: try_lock(lock),
            timeout=_LOCK_TIMEOUT,
            what="another command that starts or stops the local platform",
            interval=0.02,
            longest_interval=0.2,
        )
        yield


# --- starting ---


def make_launch_command(config: Config, *, python: str = sys.executable) -> list[str]:
    """Return the command that starts the platform of `config` in the background."""
    return [
        python,
        "-m",
        "fairlead.localplatform.daemon",
        "--root",
        str(config.root),
        "--port",
        str(config.platform.port),
        "--detach",
    ]


def _launch(config: Config, directory: Path) -> None:
    variables = make_daemon_variables(config.environ)
    # `-m` looks in the current folder first, whatever characters its name holds.
    child = _process.spawn(make_launch_command(config), cwd=_PACKAGE_PARENT, env=variables, output=subprocess.PIPE)
    try:
        said = _read_until_closed(child, timeout=_START_TIMEOUT)
    finally:
        if child.stdout is not None:
            child.stdout.close()
        child.wait()
    *noise, last = said.strip().splitlines() or [""]
    with contextlib.suppress(ValueError, TypeError, KeyError):
        answer = json.loads(last)
        if answer["ready"]:
            return
        raise PlatformError(f"the local platform did not start: {answer['message']}", hint=answer["hint"])
    raise _not_started(directory, "; ".join([*noise[-3:], last]).strip("; ") or "it said nothing")


def _read_until_closed(child: "subprocess.Popen[bytes]", *, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    said = b""
    stream = child.stdout
    while stream is not None:
        readable, _, _ = select.select([stream], [], [], max(deadline - time.monotonic(), 0.0))
        if not readable:
            raise DeadlineError(
                f"the local platform was not ready within {timeout:g} s", hint="invoke platform.down, then try again"
            )
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            break
        said += chunk
    return said.decode("utf-8", errors="replace")


def _not_started(directory: Path, why: str) -> PlatformError:
    log = directory / "daemon.log"
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = log.read_text("utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    try:
        full = shutil.disk_usage(directory).free == 0
    except OSError:
        full = False
    if full:
        return PlatformError(
            f"the local platform did not start: the disk of {directory} is full", hint="free some space and try again"
        )
    tail = "".join(f"\n  | {line}" for line in lines)
    return PlatformError(f"the local platform did not start: {why}{tail}", hint=f"its log is {log}")


# --- stopping ---


def _end(config: Config, state: State) -> None:
    pid = state.endpoint.pid
    patience = 2 * config.platform.stop_timeout + _STOP_MARGIN
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        with contextlib.suppress(DeadlineError):
            wait_until(
                lambda _remaining: None if is_running(pid, state.started) else True,
                timeout=seconds,
                what="the local platform to stop",
                interval=0.02,
                longest_interval=0.1,
            )
            return
    raise PlatformError(f"the local platform (process {pid}) does not end", hint=f"kill -9 {pid}")


def _end_leftovers(directory: Path) -> bool:
    """End what a platform that was killed has left; its guard does so too, and is faster or slower."""
    if not (directory / "state.sqlite3").exists():
        return False
    with contextlib.closing(Store(directory)) as store:
        ended = end_leftovers(store)
    state_file(directory).unlink(missing_ok=True)
    return bool(ended)


# --- the process itself ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the platform of `--root`; with `--detach` in the background, saying on standard output when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m fairlead.localplatform.daemon", description=main.__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the folder whose pyproject.toml configures it")
    parser.add_argument("--port", type=int, help="the public port wanted")
    parser.add_argument("--detach", action="store_true", help="run in the background")
    options = parser.parse_args(arguments)
    skip_command_line_of_httpx()
    overrides = {} if options.port is None else {"platform.port": options.port}
    reporting = -1
    guard_tracebacks()
    try:
        config = load(options.root, overrides=overrides)
        directory = _make_directory(config)
        if options.detach:
            reporting = _detach(directory / "daemon.log")
        os.chdir("/")
        _log_without_secrets()
        for name in ("httpx", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.WARNING)

        with _without_collections():
            from fairlead.localplatform.server import serve

        def ready() -> None:
            _report(reporting, {"ready": True})

        serve(config, lambda: load(options.root, overrides=overrides), ready=ready)
    except (Error, OSError) as error:
        problems = "; ".join(getattr(error, "problems", ()))
        message = f"{error}: {problems}" if problems else str(error)
        logging.getLogger(__name__).error("%s", message)  # noqa: TRY400 - an expected error, said in a sentence
        _report(reporting, {"ready": False, "message": message, "hint": getattr(error, "hint", None)})
        return 1
    return 0


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Look for no cycles of garbage in the block: what is imported stays, and looking is a quarter of importing it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Masking(logging.Formatter):
    """Renders a record, with the traceback that it may have, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _log_without_secrets() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _detach(log: Path) -> int:
    """Go on in the background, in a session of its own, printing to `log`; return the pipe to report on."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LOG_BOUND:
            log.replace(log.with_suffix(".log.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fork():
        os._exit(0)
    os.setsid()
    reporting = os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    return reporting


def _report(descriptor: int, answer: Mapping[str, object]) -> None:
    line = json.dumps(redact_value(answer))
    if descriptor < 0:
        result(line)
        return
    with contextlib.suppress(OSError):
        os.write(descriptor, line.encode("utf-8") + b"\n")
    with contextlib.suppress(OSError):
        os.close(descriptor)


if __name__ == "__main__":
    code = main()
    # All is closed by now; a last collection of every module would keep whoever waits for half a second.
    gc.freeze()
    sys.exit(code)
