"""The phases of an end-to-end suite, and the exit code that a failure in each one gives the suite's process.

The phase is written on the exception that leaves it, as a note (PEP 678): people read it below the traceback, and the
plugin reads it back.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Phase(StrEnum):
    """What a suite is at when a check fails."""

    AUTHENTICATION = "authentication"
    FETCH = "fetch"
    UPDATE = "update"
    INTEGRATION = "integration"
    PERSISTENCE = "persistence"
    STATE = "state"
    UNEXPECTED = "unexpected"

    @property
    def exit_code(self) -> int:
        """What the process of a suite ends with that failed in this phase."""
        return _CODES[self]


_CODES: Final = MappingProxyType(
    {
        Phase.AUTHENTICATION: 1,
        Phase.FETCH: 2,
        Phase.UPDATE: 3,
        Phase.INTEGRATION: 3,
        Phase.PERSISTENCE: 4,
        Phase.STATE: 4,
        Phase.UNEXPECTED: 5,
    }
)
_NOTE: Final = "phase: "

#: What the fixture `phase` gives: `with phase("fetch"): …`.
InPhase = Callable[[str], AbstractContextManager[None]]


@contextlib.contextmanager
def in_phase(name: str) -> Iterator[None]:
    """Note on whatever is raised within that it was in the phase `name`; raise `ValueError` where there is none such.

    Of phases within each other the innermost counts.
    """
    chosen = Phase(name)
    try:
        yield
    except BaseException as error:
        error.add_note(f"{_NOTE}{chosen}")
        raise


def find_phase(error: BaseException, *, default: str | None = None) -> Phase:
    """Return the phase that an exception left, else the `default`, else that it was not expected."""
    notes = getattr(error, "__notes__", ())
    noted = next((note.removeprefix(_NOTE) for note in notes if str(note).startswith(_NOTE)), default)
    return Phase(noted) if noted is not None else Phase.UNEXPECTED
