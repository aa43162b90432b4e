"""Runs pip-audit over the locks and reads its report."""

import dataclasses
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fairlead._http import is_loopback
from fairlead._process import run
from fairlead.exceptions import Error
from fairlead.security import dependencies
from fairlead.security.advisories import Database
from fairlead.security.locked import Locked, find_unlocked
from fairlead.security.report import Finding, Scan

OSV_URL: Final = "https://api.osv.dev/v1/query"
_SECONDS_PER_REQUEST: Final = 15
_SECONDS: Final = 240
#: What pip-audit logs, and does not fail for, when it cannot read an advisory that the service answered with.
_PASSED_OVER: Final = re.compile(r"Unsupported OSV schema version|is missing 'affected' list")


def command(locks: Sequence[str], *, url: str, report: Path, cache: Path) -> list[str]:
    """Build the command. Hashes are required, and pip resolves nothing: what is audited is what is locked.

    `-P`: a module of the repository does not stand in for one of pip-audit's.
    """
    sources = [part for lock in locks for part in ("--requirement", lock)]
    service = ["--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(_SECONDS_PER_REQUEST)]
    output = ["--format", "json", "--output", str(report), "--cache-dir", str(cache), "--progress-spinner", "off"]
    return [sys.executable, "-P", "-m", "pip_audit", "--require-hashes", "--disable-pip", *sources, *service, *output]


def read(text: str, *, expected: Mapping[str, Locked], control: Locked | None = None) -> Scan:
    """Read pip-audit's JSON report on the locked packages `expected`, audited together with `control`.

    A package that was skipped, that the report lacks, or that was audited at another version is a gap.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(text)["dependencies"]
        skipped = {entry["name"]: str(entry["skip_reason"]) for entry in entries if "skip_reason" in entry}
        audited = {entry["name"]: str(entry["version"]) for entry in entries if "skip_reason" not in entry}
        found = {
            (entry["name"], one["id"]): _read_finding(entry, one, expected)
            for entry in entries
            for one in entry.get("vulns", [])
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return Scan("pip-audit", "nothing", gaps=(dependencies.describe(text),))
    findings, gaps = dependencies.take_out_control(found.values(), control)
    gaps += dependencies.find_gaps(expected, audited, skipped)
    count = sum(audited.get(name) == pin.version for name, pin in expected.items())
    return Scan("pip-audit", f"{count} of {len(expected)} locked packages audited", findings, tuple(gaps))


def scan(
    root: Path,
    locks: Sequence[str],
    *,
    expected: Mapping[str, Locked],
    url: str = OSV_URL,
    database: Database | None = None,
) -> Scan:
    """Audit every package of the locks against the OSV service at `url`.

    `database` is what the service answers from, where that is known: what it cannot say of a package is a gap.
    """
    with tempfile.TemporaryDirectory(prefix="fairlead-audit-") as scratch:
        folder, control = Path(scratch), dependencies.choose_control(expected)
        report = folder / "report.json"
        sources = [*locks, *([str(dependencies.write_control(control, folder))] if control is not None else [])]
        try:
            gaps = find_unlocked(root, locks)
            arguments = command(sources, url=url, report=report, cache=folder / "cache")
            done = run(arguments, cwd=root, env=_environment(url), check=False, timeout=_SECONDS)
        except Error as error:
            return Scan("pip-audit", "nothing", gaps=(error.message,))
        if not report.is_file():
            why = f"it wrote no report, asking {url}: {dependencies.find_cause(done)}"
            return Scan("pip-audit", "nothing", gaps=(*gaps, why))
        outcome = read(report.read_text("utf-8"), expected=expected, control=control)
    gaps += [f"it passed over an advisory: {line}" for line in done.stderr.splitlines() if _PASSED_OVER.search(line)]
    gaps += [] if database is None else database.find_gaps(expected)
    return dataclasses.replace(outcome, gaps=(*outcome.gaps, *gaps))


def _environment(url: str) -> dict[str, str]:
    """Return this process's environment without what would have pip-audit ask another service, or look away."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "NO_PROXY": "*", "no_proxy": "*"} if is_loopback(urlsplit(url).hostname or "") else kept


def _read_finding(entry: Mapping[str, Any], one: Mapping[str, Any], expected: Mapping[str, Locked]) -> Finding:
    says = dependencies.advise(one.get("description", ""), one.get("fix_versions", []))
    names = [one["id"], *one.get("aliases", [])]
    return dependencies.make_finding(expected, entry["name"], entry["version"], names=names, says=says)
