"""What the audits of dependencies have in common: how a report is held against the locks, and the control.

The control is a package that is known to be vulnerable. It is audited with those that are locked, in a lock of its own
that nothing is ever installed from: an audit that does not find it has not looked.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._locks import LOCKS
from fairlead._process import Completed
from fairlead.security.locked import Locked
from fairlead.security.report import Finding

#: Packages with an advisory that is not withdrawn; the second one serves where the first is locked.
CONTROLS: Final = (Locked("pycrypto", "2.6.1", "", 0), Locked("django", "1.11", "", 0))

_ADVISORIES: Final = {"pycrypto": ("CVE-2013-7459", ""), "django": ("CVE-2018-14574", "1.11.15")}
_ERROR: Final = re.compile(r"(?:ERROR:|[\w.]+(?:Error|Timeout):) ?\S")
_MANY: Final = 5
_NO_HASH: Final = "0" * 64


def choose_control(expected: Mapping[str, Locked]) -> Locked | None:
    """Return a control that is not locked, since a package cannot be audited at two versions."""
    return next((one for one in CONTROLS if one.name not in expected), None)


def write_control(control: Locked, folder: Path) -> Path:
    """Write the lock that the control stands in."""
    path = folder / "control.txt"
    path.write_text(f"{control.name}=={control.version} --hash=sha256:{_NO_HASH}\n", "utf-8")
    return path


def advisory_of(control: Locked) -> dict[str, Any]:
    """Return an advisory of the control in OSV's format, for databases that hold none."""
    identifier, fixed = _ADVISORIES[control.name]
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    package = {"name": control.name, "ecosystem": "PyPI"}
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": identifier, "aliases": [], "summary": "the control", "affected": [affected]}


def take_out_control(findings: Iterable[Finding], control: Locked | None) -> tuple[tuple[Finding, ...], list[str]]:
    """Return the findings without the control's, and a gap where it was not found."""
    found = tuple(findings)
    left = tuple(finding for finding in found if control is None or finding.subject != str(control))
    if control is None or len(left) < len(found):
        return left, []
    return left, [f"it found nothing in {control}, which is known to be vulnerable: it does not look"]


def find_gaps(
    expected: Mapping[str, Locked], audited: Mapping[str, str], skipped: Mapping[str, str] | None = None
) -> list[str]:
    """Return a line for each locked package that was skipped, not audited, or audited at another version.

    `skipped` gives the reason by package. A reason that holds for many packages makes one line.
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted((skipped or {}).items()):
        by_reason.setdefault(f"skipped: {reason}", []).append(name)
    for name, pin in sorted(expected.items()):
        if name not in (skipped or {}) and audited.get(name) != pin.version:
            instead = f" ({audited[name]} was)" if name in audited else ""
            by_reason.setdefault(f"was not audited{instead}", []).append(str(pin))
    gaps = [line for reason, names in by_reason.items() for line in _together(names, reason)]
    return gaps if expected else [*gaps, "the locks hold no package"]


def make_finding(
    expected: Mapping[str, Locked], name: str, version: str, *, names: Sequence[str], says: str
) -> Finding:
    """Make the finding that one locked package has one advisory, which goes by `names`."""
    pin = expected.get(name)
    path, line = (pin.lock, pin.line) if pin is not None else (LOCKS[0], None)
    return Finding(names[0], says, path, line, subject=f"{name} {version}", aliases=tuple(names[1:]))


def advise(text: str, fixed: Sequence[str], length: int = 120) -> str:
    """Return what an advisory says, shortened, and which versions mend it."""
    shortened = text if len(text) <= length else f"{text[:length].rstrip()}…"
    mended = f"fixed in {', '.join(fixed)}" if fixed else "no version fixes it"
    return f"{shortened} ({mended})"


def describe(report: str) -> str:
    """Return why a report that is not usable is not."""
    if not report.strip():
        return "its report is not usable: it is empty"
    try:
        return f"its report is not usable: {type(json.loads(report)).__name__} without what it must hold"
    except ValueError as error:
        return f"its report is not usable: {error}"


def find_cause(done: Completed) -> str:
    """Return the line in which a program that failed says why: the last one that names an error, or the last one."""
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return [f"it ended with exit code {done.returncode} and said nothing", *lines, *errors][-1]


def _together(names: Sequence[str], reason: str) -> list[str]:
    if len(names) <= _MANY:
        return [f"{name}: {reason}" for name in names]
    return [f"{len(names)} packages, {names[0]} to {names[-1]}: {reason}"]
