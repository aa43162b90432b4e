"""The application's own suite that sends requests to every operation: `tests/contract` in the backend's folder.

How an account is made and which limits stand in the way is the application's to know, so the suite is its own; the gate
hands over the seeds and judges by the exit code. A suite that is missing or holds no test is a failure, never a pass.
"""

import signal
import subprocess  # nosec B404 - for the exception alone
import sys
import tempfile
from pathlib import Path
from typing import Final

from fairlead import _process
from fairlead.config import Config
from fairlead.exceptions import CommandError

#: Seeds separated by commas, for the suite to read.
VARIABLE: Final = "CONTRACT_SEEDS"
#: What the suite gives the requests of a seed itself (300), and what it may take to bring a service up before them.
_SECONDS_A_SEED: Final = 300 + 180
#: For what else a run takes; longer than the parts together, so that it is the suite that says what took too long.
_RESERVE: Final = 120
#: For the suite to end its servers when it is told to stop.
_GRACE: Final = 30
_PASSED, _FAILED = 0, 1


def exercise(loaded: Config, seeds: tuple[int, ...], *, quietly: bool = False) -> bool:
    """Run the suite once for each of `seeds`; return whether it passed.

    With `quietly` nothing of it goes to standard output. Raises `CommandError` when it could not be run to its end.
    """
    suite = loaded.backend / "tests" / "contract"
    if not suite.is_dir():
        where = suite.relative_to(loaded.root).as_posix()
        raise CommandError(
            f"no operation could be tried: there is no suite in {where}",
            hint="nox -s contract -- document changes: checks the rest",
        )
    variables = {**loaded.environ, VARIABLE: ",".join(map(str, seeds))}
    with tempfile.TemporaryFile() as kept:
        output = kept if quietly else 1
        child = _process.spawn(command(suite), cwd=loaded.root, env=variables, output=output)
        seconds = _SECONDS_A_SEED * len(seeds) + _RESERVE
        try:
            ended = child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CommandError(f"the suite that tries every operation did not end within {seconds} s") from None
        finally:
            _process.terminate(child, grace=_GRACE, first=signal.SIGINT)
        kept.seek(0)
        written = kept.read().decode("utf-8", "replace")
    if ended not in {_PASSED, _FAILED}:
        raise CommandError(
            f"the suite that tries every operation could not be run: pytest ended with exit code {ended}",
            output=written,
        )
    return ended == _PASSED


def command(suite: Path) -> list[str]:
    """Build the command that runs the suite."""
    return [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(suite)]
