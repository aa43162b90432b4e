"""Deploys the tree to a local platform of its own and runs the end-to-end suites: nothing left, nothing unchecked.

The platform has ports and a folder of its own, so the one that a developer uses is not touched; the environments of
releases are kept between runs, which is most of a deploy's time. A program may stand in for the vendors: it prints one
line of JSON, `{"release": {…}, "suites": {…}}`, the variables of the release and of the suites, and serves until its
standard input ends.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fairlead import _output, _process, _program, config
from fairlead.config import Config
from fairlead.exceptions import CommandError, ConfigurationError

#: How long, in seconds, an act may take to clean up when it is told to end, and the doubles to end.
_GRACE: Final = 60.0
_DOUBLES_GRACE: Final = 5.0
#: The file in the platform's folder that says that it runs.
_RUNNING: Final = "daemon.json"
_NOT_HANDED_ON: Final = ("FAIRLEAD_", "VERIFY_", "PYTEST_", "COVERAGE_", "DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Doubles:
    """The variables that lead a release and the suites to what stands in for the vendors."""

    release: Mapping[str, str] = field(default_factory=dict)
    suites: Mapping[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Deploy, run the suites, take everything down again; return the exit code of what failed first, or 0."""
    parser = argparse.ArgumentParser(prog="nox -s e2e --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--smoke", action="store_true", help="only the quick part of every suite")
    parser.add_argument("--doubles", metavar="MODULE", help="the program that stands in for the vendors")
    options = parser.parse_args(arguments)
    return _check(config.load(), doubles=options.doubles, smoke=options.smoke)


def _check(loaded: Config, *, doubles: str | None, smoke: bool) -> int:
    with _make_state(loaded) as state, _start_doubles(loaded, doubles) as leading:
        variables = make_variables(loaded, state, leading)
        try:
            code = _run(loaded, variables, "deploy", "--env", "local", "--quiet")
            if code == 0:
                code = _run(loaded, variables, "verify", "--env", "local", *(["--smoke"] if smoke else []))
        finally:
            with _undisturbed():
                down = _run(loaded, variables, "platform.down")
            if down:
                _output.error(
                    f"the platform could not be taken down (exit code {down})", hint="the next run takes it down first"
                )
        return code or down


def make_variables(loaded: Config, state: Path, doubles: Doubles) -> dict[str, str]:
    """Return the environment of the acts: a platform in `state`, and releases that are led to the doubles."""
    kept = {name: text for name, text in loaded.environ.items() if not name.startswith(_NOT_HANDED_ON)}
    release = {**loaded.environment("local").variables, **doubles.release}
    if impossible := sorted(name for name, value in release.items() if "," in value):
        raise ConfigurationError(
            f"variables with a comma cannot be handed to the release: {', '.join(impossible)}",
            hint="take the comma out of [tool.fairlead.environments.local] variables, or of the doubles' program",
        )
    own = {
        "FAIRLEAD_STATE_DIRECTORY": str(state),
        "FAIRLEAD_PLATFORM_PORT": "0",
        # A folder that is named has to hold suites: without one nothing would be checked.
        "FAIRLEAD_VERIFY_SUITES": str(loaded.verify.suites),
        "FAIRLEAD_ENVIRONMENTS_LOCAL_VARIABLES": ",".join(f"{name}={value}" for name, value in release.items()),
    }
    if doubles.release:
        # The doubles are there so that everything can be checked.
        own["FAIRLEAD_ENVIRONMENTS_LOCAL_WITHOUT"] = ""
    return {**kept, **own, **doubles.suites}


@contextlib.contextmanager
def _make_state(loaded: Config) -> Iterator[Path]:
    """Give the platform's folder, empty but for the environments; at the end the logs of the suites are kept.

    It has the same place each time, because environments cannot be moved. A second run waits for the first.
    """
    keeping = loaded.state_dir / "e2e"
    state = keeping / "state"
    (state / "platform").mkdir(parents=True, exist_ok=True)
    with (keeping / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _output.status("note", "another run is under way here; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (state / "platform" / _RUNNING).exists():
            # A run that was killed could not take its platform down.
            _run(loaded, make_variables(loaded, state, Doubles()), "platform.down")
        _clear(state)
        try:
            yield state
        finally:
            logs = keeping / "logs"
            if (state / "verify").is_dir():
                shutil.rmtree(logs, ignore_errors=True)
                shutil.copytree(state / "verify", logs, ignore=shutil.ignore_patterns("account.json"))
                _output.status("note", f"the logs of the suites are in {logs}")
            # What still runs there is left for the next run to take down.
            if not (state / "platform" / _RUNNING).exists():
                _clear(state)


def _clear(state: Path) -> None:
    """Remove everything from the platform's folder but the environments, which take the longest to make."""
    kept = state / "platform" / "environments"
    for path in [*state.iterdir(), *(state / "platform").iterdir()]:
        if path in {kept, kept.parent}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _start_doubles(loaded: Config, module: str | None) -> Iterator[Doubles]:
    if module is None:
        yield Doubles()
        return
    argv = [sys.executable, "-m", module]
    # Its own errors go to the terminal; its standard input ends with this process, however that ends.
    child = subprocess.Popen(  # nosec B603 - a list of arguments, with two pipes to talk over
        argv, cwd=loaded.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        line = child.stdout.readline() if child.stdout else b""
        try:
            told = json.loads(line)
            doubles = Doubles(dict(told["release"]), dict(told["suites"]))
        except (ValueError, TypeError, KeyError):
            raise CommandError(
                f"`python -m {module}` did not print the variables of its doubles",
                output=line.decode("utf-8", "replace"),
            ) from None
        yield doubles
    finally:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_DOUBLES_GRACE)
        _process.terminate(child, grace=0.0)


def _run(loaded: Config, variables: Mapping[str, str], *arguments: str) -> int:
    """Run an act to its end; when this program is broken off the act is told to end, and cleans up itself."""
    child = _process.spawn([sys.executable, "-m", "fairlead", *arguments], cwd=loaded.root, env=variables, output=1)
    try:
        return child.wait()
    finally:
        try:
            _process.terminate(child, grace=_GRACE)
        finally:
            _process.terminate(child, grace=0.0)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let neither a Ctrl-C nor SIGTERM break off what is done here; what is started here takes them as ever."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(_program.run(main, sys.argv[1:]))
