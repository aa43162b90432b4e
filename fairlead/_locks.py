"""The locks of the repository, and how one is read."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fairlead.exceptions import ConfigurationError

#: In the order in which they are compiled, each constrained by those before it.
LOCKS: Final = ("backend/requirements.txt", "requirements.txt", "requirements-gates.txt")

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)(?P<rest>.*)$")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class Pin:
    """One requirement of a lock: name, version, the hashes of the files that may be installed for it, and its line."""

    name: str
    version: str
    hashes: tuple[str, ...]
    line: int = field(default=1, compare=False)

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def parse(text: str) -> tuple[dict[str, Pin], list[str]]:
    """Read a lock; return its pins by normalised name, and a line for each thing in it that must not be there."""
    pins: dict[str, Pin] = {}
    problems: list[str] = []
    standing = 1
    # An entry goes on where its line ends in a backslash; `standing` is the line that it begins on.
    for number, entry_lines in enumerate(re.split(r"(?<!\\)\n", text), start=1):
        line, first = entry_lines.replace("\\\n", " "), standing
        standing += entry_lines.count("\n") + 1
        entry = line.split(" #")[0].strip()
        if re.search(r"(?:https?|file)://|--(?:extra-)?index-url|--find-links|--trusted-host", line):
            problems.append(f"entry {number} names an address or an index: {entry or line.strip()}")
        elif match := _PIN.match(entry):
            pin = Pin(normalise(match["name"]), match["version"], tuple(_HASH.findall(entry)), first)
            pins[pin.name] = pin
            if not pin.hashes:
                problems.append(f"{pin} has no hash")
        elif entry and not entry.startswith("#"):
            problems.append(f"entry {number} is not a pinned requirement: {entry[:80]}")
    return pins, problems


def disagreements(source: str, lock: str, *, name: str) -> list[str]:
    """Hold a lock against the `.in` that it is compiled from, without resolving anything; return what is amiss."""
    from packaging.requirements import InvalidRequirement, Requirement

    pins, found = parse(lock)
    found = [f"{name}: {problem}" for problem in found]
    for line in source.splitlines():
        entry = line.split(" #")[0].strip()
        if not entry or entry.startswith(("#", "-")):
            continue
        try:
            wanted = Requirement(entry)
        except InvalidRequirement as error:
            found.append(f"{name}: {entry!r} is no requirement: {error}".splitlines()[0])
            continue
        pin = pins.get(normalise(wanted.name))
        if pin is None and (wanted.marker is None or wanted.marker.evaluate()):
            found.append(f"{name}: {wanted.name} is asked for and not locked; run: nox -s lock")
        elif pin is not None and not wanted.specifier.contains(pin.version, prereleases=True):
            found.append(f"{name}: {pin} is locked, and {entry} is asked for; run: nox -s lock")
    return found


def normalise(name: str) -> str:
    """Return a package's name in the one spelling that indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(root: Path, lock: str) -> str:
    """Return the text of one of `LOCKS`; raise `ConfigurationError` where it cannot be read."""
    try:
        return (root / lock).read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{lock} cannot be read: {error.strerror}", hint="nox -s lock") from None
