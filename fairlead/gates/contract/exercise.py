"""The application's own suite that sends requests to every operation: `tests/contract` in the backend's folder.

How an account is made and which limits stand in the way is the application's to know, so the suite is its own; the gate
hands over the seeds and judges by the exit code. A suite that is missing or holds no test is a failure, never a pass.
"""

import sys
from pathlib import Path
from typing import Final

from fairlead._process import run
from fairlead.config import Config
from fairlead.exceptions import CommandError

#: Seeds separated by commas, for the suite to read.
VARIABLE: Final = "CONTRACT_SEEDS"
_SECONDS_A_SEED: Final = 300
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
    done = run(
        command(suite),
        cwd=loaded.root,
        env={**loaded.environ, VARIABLE: ",".join(map(str, seeds))},
        timeout=_SECONDS_A_SEED * len(seeds),
        check=False,
        capture=quietly,
    )
    if done.returncode not in {_PASSED, _FAILED}:
        raise CommandError(
            f"the suite that tries every operation could not be run: pytest ended with exit code {done.returncode}",
            output=done.output,
        )
    return done.returncode == _PASSED


def command(suite: Path) -> list[str]:
    """Build the command that runs the suite."""
    return [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(suite)]
