"""What the locks hold, each package with the place that it is locked in."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead._locks import LOCKS, normalise, parse, read_lock

_ENTRY: Final = re.compile(r"^[ \t\f]*([A-Za-z0-9][\w.-]*)[ \t]*(?:\[[^\]]*\])?[ \t]*==", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Locked:
    """One package at its version, and where it stands: a lock and a line of it."""

    name: str
    version: str
    lock: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def read_locked(root: Path, locks: Sequence[str] = LOCKS) -> dict[str, Locked]:
    """Return every package in the locks by its normalised name, whatever its markers say; the first lock counts.

    Raises `ConfigurationError` where a lock cannot be read.
    """
    found: dict[str, Locked] = {}
    for lock in locks:
        for pin in parse(read_lock(root, lock))[0].values():
            found.setdefault(pin.name, Locked(pin.name, pin.version, lock, pin.line))
    return found


def find_unlocked(root: Path, locks: Sequence[str] = LOCKS) -> list[str]:
    """Return a line for each thing in the locks that is not locked: no hash, no version, or no one entry of its own.

    Raises `ConfigurationError` where a lock cannot be read.
    """
    found: list[str] = []
    first: dict[str, Locked] = {}
    for lock in locks:
        text = read_lock(root, lock)
        pins, problems = parse(text)
        found += [f"{lock}: {problem}" for problem in problems]
        # Of two entries one hides the other from whoever reads them by name; markers may choose either.
        entries = Counter(normalise(name) for name in _ENTRY.findall(text))
        found += [f"{lock}: {name} is locked {count} times" for name, count in entries.items() if count > 1]
        found += [f"{lock}: {name} stands in the entry of another package" for name in entries if name not in pins]
        for pin in pins.values():
            one = first.setdefault(pin.name, Locked(pin.name, pin.version, lock, pin.line))
            if one.version != pin.version:
                found.append(f"{lock}: {pin} is locked, and {one.version} in {one.lock}")
    return found
