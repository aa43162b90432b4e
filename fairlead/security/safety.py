"""Runs safety over the locks and reads its report.

Safety is not asked to fetch anything: its own database wants its server, and is renewed once a month for those who have
no account. It reads one that is made from OSV's advisories, and is told of no address that leaves the machine.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError, Error
from fairlead.security import dependencies, safetydatabase
from fairlead.security.advisories import Database, fetch
from fairlead.security.audit import OSV_URL
from fairlead.security.locked import Locked, find_unlocked
from fairlead.security.report import Finding, Scan

#: What it ends with when it has written a report: nothing found, and something found.
_CLEAN: Final = 0
_VULNERABLE: Final = 64
_SECONDS: Final = 240

#: Safety asks several of these whenever it starts. Nothing listens there: port 9 discards, and not over HTTP.
_NOWHERE: Final = "http://127.0.0.1:9"
_ADDRESSES: Final = (
    "AUTH_SERVER_URL",
    "DATA_API_BASE_URL",
    "FIREWALL_API_BASE_URL",
    "PLATFORM_API_BASE_URL",
    "SAFETY_PLATFORM_URL",
)


def command(locks: Sequence[Path], *, database: Path, report: Path) -> list[str]:
    """Build the command. Its settings come from the environment's home, see `environment`."""
    sources = [part for lock in locks for part in ("--file", str(lock))]
    quiet = ["--disable-optional-telemetry"]
    options = ["--db", str(database), "--disable-audit-and-monitor", "--output", "bare", "--save-json", str(report)]
    return [sys.executable, "-m", "safety", *quiet, "check", *sources, *options]


def environment(home: Path) -> dict[str, str]:
    """Make a home in which safety finds no account, no policy and no server; return the environment that names it."""
    settings = home / ".safety" / "config.ini"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[settings]\n" + "".join(f"{name} = {_NOWHERE}\n" for name in _ADDRESSES), "utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    own = {"HOME": str(home), "USERPROFILE": str(home), "SAFETY_SYSTEM_CONFIG_PATH": str(home / "none")}
    return {**kept, **own, "SAFETY_REQUEST_TIMEOUT": "2", "NO_PROXY": "*", "PYTHONUTF8": "1"}


def read(text: str, *, expected: Mapping[str, Locked], control: Locked | None = None) -> Scan:
    """Read safety's JSON report on the locked packages `expected`, audited together with `control`.

    What a policy of safety's ignores is a finding: exceptions are made in this project's settings, with an end.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        audited = {name: str(one["version"]) for name, one in report["scanned_packages"].items()}
        found = {
            (one["package_name"], one["vulnerability_id"]): _read_finding(one, expected)
            for one in [*report["vulnerabilities"], *report["ignored_vulnerabilities"]]
        }
        said = [str(one["message"]) for one in report["announcements"] if one["type"] in {"warning", "error"}]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Scan("safety", "nothing", gaps=(dependencies.describe(text),))
    findings, gaps = dependencies.take_out_control(found.values(), control)
    gaps += [*dependencies.find_gaps(expected, audited), *(f"it says: {line}" for line in said)]
    count = sum(audited.get(name) == pin.version for name, pin in expected.items())
    return Scan("safety", f"{count} of {len(expected)} locked packages audited", findings, tuple(gaps))


def scan(
    root: Path, locks: Sequence[str], *, expected: Mapping[str, Locked], url: str = OSV_URL, database: Database | None
) -> Scan:
    """Audit every package of the locks against `database`, or against what the OSV service at `url` knows of them."""
    try:
        gaps = find_unlocked(root, locks)
        advisories = fetch(expected, url=url) if database is None else database
        # What was asked for may well be nothing: the control's advisories show that the service answers.
        gaps += advisories.find_unreadable(expected) if database is None else advisories.find_gaps(expected)
        with tempfile.TemporaryDirectory(prefix="fairlead-safety-") as scratch:
            folder = Path(scratch) / "database"
            safetydatabase.write(advisories, folder)
            outcome = check(root, locks, expected=expected, database=folder)
    except Error as error:
        return Scan("safety", "nothing", gaps=(error.message,))
    return Scan("safety", outcome.looked_at, outcome.findings, (*gaps, *outcome.gaps))


def check(root: Path, locks: Sequence[str], *, expected: Mapping[str, Locked], database: Path) -> Scan:
    """Audit every package of the locks against the folder that holds safety's database."""
    control = dependencies.choose_control(expected)
    gaps = safetydatabase.find_gaps(database, [*expected, *([control.name] if control is not None else [])])
    if gaps:
        return Scan("safety", "nothing", gaps=tuple(gaps))
    with tempfile.TemporaryDirectory(prefix="fairlead-safety-") as scratch:
        home = Path(scratch)
        paths = [root / lock for lock in locks]
        if control is not None:
            paths.append(dependencies.write_control(control, home))
        report = home / "report.json"
        try:
            arguments = command(paths, database=database, report=report)
            # Not in the repository: a policy there would say what to ignore.
            done = run(arguments, cwd=home, env=environment(home), check=False, timeout=_SECONDS)
        except CommandError as error:
            return Scan("safety", "nothing", gaps=(error.message,))
        if not report.is_file() or done.returncode not in {_CLEAN, _VULNERABLE}:
            return Scan(
                "safety",
                "nothing",
                gaps=(f"it ended with exit code {done.returncode}: {dependencies.find_cause(done)}",),
            )
        return read(report.read_text("utf-8"), expected=expected, control=control)


def _read_finding(one: Mapping[str, Any], expected: Mapping[str, Locked]) -> Finding:
    aliases = [str(address).rpartition("/")[2] for address in one["resources"]]
    names = list(dict.fromkeys([str(one["vulnerability_id"]), *aliases]))
    says = dependencies.advise(str(one["advisory"]), [str(version) for version in one["fixed_versions"]])
    return dependencies.make_finding(
        expected, one["package_name"], str(one["analyzed_version"]), names=names, says=says
    )
