"""The revisions of an Alembic project, which of them a database has, and what a run of them is told of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fairlead.exceptions import MigrationError
from fairlead.migrations._alembic_process import Line
from fairlead.migrations.files import Migration
from fairlead.migrations.runner import Progress, Step


@dataclass(frozen=True, slots=True)
class Revisions:
    """Every revision, the oldest first, what each rests on, those that nothing rests on, and those of the database."""

    migrations: tuple[Migration, ...]
    parents: Mapping[str, tuple[str, ...]]
    heads: tuple[str, ...]
    current: tuple[str, ...]

    def line_of(self, revisions: Sequence[str]) -> set[str]:
        """Return the revisions and all that they rest on."""
        found: set[str] = set()
        waiting = list(revisions)
        while waiting:
            revision = waiting.pop()
            if revision not in found:
                found.add(revision)
                waiting += self.parents.get(revision, ())
        return found

    def find(self, name: str) -> Migration:
        """Find a revision by its id, the beginning of one, or its label."""
        fits = [m for m in self.migrations if name in {m.version, m.label}]
        fits = fits or [m for m in self.migrations if name and m.version.startswith(name)]
        if len(fits) == 1:
            return fits[0]
        why = f"{len(fits)} revisions begin with {name}" if fits else f"there is no revision {name}"
        raise MigrationError(why, hint="list them with: invoke migrations.status")

    def pending(self, to: str | None) -> tuple[Migration, ...]:
        """Return what the database lacks, in order, up to and with revision `to`."""
        wanted = self.line_of([self.find(to).version] if to else self.heads) - self.line_of(self.current)
        return tuple(m for m in self.migrations if m.version in wanted)

    def above(self, steps: int | None, to: str | None) -> tuple[Migration, ...]:
        """Return the last `steps` (1) of the database, or all above revision `to` ("0": every one), the newest first.

        Raises `MigrationError` for steps where lines meet, and for a revision that cannot be undone.
        """
        applied = self.line_of(self.current)
        newest_first = [m for m in reversed(self.migrations) if m.version in applied]
        if to is None:
            count = 1 if steps is None else steps
            planned = newest_first[: max(count, 0)]
            if count < 0 or len(self.current) > 1 or any(len(self.parents[m.version]) > 1 for m in planned):
                raise MigrationError(
                    "steps are counted on one line of revisions only", hint="say how far instead: --to REVISION"
                )
        elif to == "0":
            planned = newest_first
        else:
            target = self.find(to).version
            planned = [m for m in newest_first if m.version != target and target in self.line_of([m.version])]
        stuck = [m.label for m in planned if m.down_file is None]
        if stuck:
            raise MigrationError(f"{', '.join(stuck)} cannot be undone: nothing was changed", hint="write downgrade()")
        return tuple(planned)

    def below(self, planned: Sequence[Migration], to: str | None) -> str:
        """Return what Alembic is told to go down to, so that it undoes what `above` planned."""
        if to and to != "0":
            return self.find(to).version
        under = self.parents[planned[-1].version]
        return under[0] if under and to != "0" else "base"


class Teller:
    """Tells of each revision of a run, again of those that run again; `ran` is what was done.

    `running` is the revision at work, and `outside` tells that it left its transaction.
    """

    def __init__(
        self, action: Literal["apply", "revert"], planned: Sequence[Migration], on_progress: Progress | None
    ) -> None:
        self.ran: set[str] = set()
        self.running: Migration | None = None
        self.outside = False
        self._action = action
        self._places = {migration.version: place for place, migration in enumerate(planned, 1)}
        self._planned = planned
        self._on_progress = on_progress
        self._began = 0.0

    def hear(self, line: Line) -> None:
        """Take in a line of Alembic's report."""
        if (begun := line.get("begun")) in self._places:
            self.running, self.outside = self._planned[self._places[begun] - 1], False
            self._began = line["at"]
            self._tell("started", self.running, 0.0)
        self.outside = self.outside or "outside" in line
        for revision in line.get("revisions", ()):
            self.ran.add(revision)
            if self.running is not None and revision == self.running.version:
                self._tell("done", self.running, line["at"] - self._began)
                self.running = None

    def wait(self, seconds: float) -> None:
        """Tell that the revision at work did not get its lock, and is run again after so many seconds."""
        if self.running is not None:
            self._tell("waiting", self.running, seconds)
            self.running = None

    def _tell(self, kind: Literal["started", "waiting", "done"], migration: Migration, seconds: float) -> None:
        if self._on_progress is not None:
            place = self._places[migration.version]
            self._on_progress(Step(kind, self._action, migration, place, len(self._planned), seconds))


def read_revisions(script: Mapping[str, Any], current: Sequence[str]) -> Revisions:
    """Make revisions of what our program reports of a project's scripts, and of those that the database has."""
    return Revisions(
        tuple(_migration(each) for each in script["script"]),
        {each["revision"]: tuple(each["down"]) for each in script["script"]},
        tuple(script["heads"]),
        tuple(current),
    )


def _migration(revision: Mapping[str, Any]) -> Migration:
    file = Path(revision["path"])
    name = re.sub(r"[^a-z0-9]+", "_", (revision["doc"] or "").lower()).strip("_")
    return Migration(
        revision["revision"], name, file, sql="", checksum="", down_file=file if revision["reversible"] else None
    )
