"""The backup that a deploy asks for: what it knows of one that was made, and what becomes of one that was not."""

from collections.abc import Callable
from dataclasses import dataclass

from fairlead.exceptions import Error, PreflightError

#: How many lines of a failed program's output are told.
_LINES = 5


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made: its file, its size in bytes, and the newest migration in it, "" where there is none."""

    file: str
    size: int
    migration: str


def make_backup(back_up: Callable[[], Backup]) -> Backup:
    """Make the backup; raise `PreflightError`, with what the failed program said, where that cannot be done."""
    try:
        return back_up()
    except Error as error:
        said = [line for line in getattr(error, "output", "").splitlines() if line.strip()]
        raise PreflightError(
            f"no backup could be made, and nothing was sent: {error.message}",
            problems=(*getattr(error, "problems", ()), *said[-_LINES:]),
            hint=error.hint,
        ) from error
