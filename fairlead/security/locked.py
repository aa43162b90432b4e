"""What the locks hold, each package with the place that it is locked in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead._locks import LOCKS, parse, read_lock


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
    """Return a line for each thing in the locks that is not locked: no hash, no exact version, or two of them.

    Raises `ConfigurationError` where a lock cannot be read.
    """
    found: list[str] = []
    first: dict[str, Locked] = {}
    for lock in locks:
        pins, problems = parse(read_lock(root, lock))
        found += [f"{lock}: {problem}" for problem in problems]
        for pin in pins.values():
            one = first.setdefault(pin.name, Locked(pin.name, pin.version, lock, pin.line))
            if one.version != pin.version:
                found.append(f"{lock}: {pin} is locked, and {one.version} in {one.lock}")
    return found
