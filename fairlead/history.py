"""Keeps the history: an append-only file of one JSON line for each gate run and act, and what is read from it.

A line is written with one `write` under a lock, so that two commands at once never mix theirs; a line cut short by a
crash or a full disk is passed over when reading and never joined to the next one.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from fairlead._output import redact_value
from fairlead.exceptions import Error

FILE = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Event:
    """One act or gate run: what, where, by whom, how long (in seconds), and how it ended.

    `backup` is what a deploy made first: its file, its size in bytes, and the newest migration in it. `approval` says
    who approved it and how, `archive` is the SHA-256 of the file that was sent, `suites` which end-to-end suites the
    release has passed there: "off", "smoke" or "full".
    """

    name: str
    verdict: str
    environment: str | None = None
    release: int | None = None
    digest: str | None = None
    version: str | None = None
    revision: str | None = None
    actor: str | None = None
    duration: float | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    backup: Mapping[str, str | int] | None = None
    approval: Mapping[str, Any] | None = None
    archive: str | None = None
    suites: str | None = None
    detail: str | None = None
    at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


class History:
    """The history of one checkout, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / FILE

    def append(self, event: Event) -> None:
        """Add `event` as the last line; raise `Error` when it cannot be written."""
        facts = redact_value({entry.name: getattr(event, entry.name) for entry in fields(Event)})
        line = json.dumps(facts, ensure_ascii=False, sort_keys=True) + "\n"
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                end = file.seek(0, os.SEEK_END)
                # Half a surrogate pair (from a file name that is not UTF-8) becomes JSON's own escape.
                data = line.encode("utf-8", "backslashreplace")
                if end:
                    file.seek(end - 1)
                    data = data if file.read(1) == b"\n" else b"\n" + data
                _write_whole(file, data, end=end)
        except OSError as error:
            raise Error(
                f"the history {self.file} cannot be written: {error.strerror}",
                hint="free some space or mend its permissions",
            ) from None

    def load(self) -> tuple[Event, ...]:
        """Read every event, oldest first; lines that are not events are passed over."""
        try:
            text = self.file.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Error(f"the history {self.file} cannot be read: {error.strerror}") from None
        return tuple(event for event in map(_parse, text.split("\n")) if event is not None)

    def last(self, name: str, *, environment: str, verdict: str | None = None) -> Event | None:
        """Return the newest event of that name in `environment`, with that verdict if one is given."""
        for event in reversed(self.load()):
            if event.name == name and event.environment == environment and verdict in {None, event.verdict}:
                return event
        return None


def _write_whole(file: FileIO, data: bytes, *, end: int) -> None:
    if file.write(data) != len(data):
        file.truncate(end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _parse(line: str) -> Event | None:
    try:
        facts: Any = json.loads(line)
        known = {entry.name for entry in fields(Event)}
        return Event(**{name: value for name, value in facts.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return None
