"""Runs pip-audit over the locks and reads its report."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security.report import Finding, Scan

OSV_URL: Final = "https://api.osv.dev/v1/query"
_SECONDS_PER_REQUEST: Final = 15
_SECONDS: Final = 240


def command(locks: Sequence[str], *, url: str, report: Path, cache: Path) -> list[str]:
    """Build the command. Hashes are required, and pip resolves nothing: what is audited is what is locked."""
    sources = [part for lock in locks for part in ("--requirement", lock)]
    service = ["--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(_SECONDS_PER_REQUEST)]
    output = ["--format", "json", "--output", str(report), "--cache-dir", str(cache), "--progress-spinner", "off"]
    return [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", *sources, *service, *output]


def read(text: str, *, expected: Mapping[str, str]) -> Scan:
    """Read pip-audit's JSON report on the locked packages `expected`, name to version.

    A package that was skipped, that the report lacks, or that was audited at another version is a gap.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(text)["dependencies"]
        skipped = {entry["name"]: str(entry["skip_reason"]) for entry in entries if "skip_reason" in entry}
        audited = {entry["name"]: str(entry["version"]) for entry in entries if "skip_reason" not in entry}
        findings = {
            (entry["name"], found["id"]): Finding(
                f"{entry['name']} {entry['version']}",
                " ".join([found["id"], *found.get("aliases", [])]),
                f"{_shortened(found.get('description', ''))} {_advice(found.get('fix_versions', []))}",
            )
            for entry in entries
            for found in entry.get("vulns", [])
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan("pip-audit", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    gaps = [f"{name}: skipped: {reason}" for name, reason in sorted(skipped.items())]
    for name, version in sorted(expected.items()):
        if name not in skipped and audited.get(name) != version:
            instead = f" ({audited[name]} was)" if name in audited else ""
            gaps.append(f"{name} {version}: was not audited{instead}")
    if not expected:
        gaps.append("the locks hold no package")
    looked_at = f"{len(set(audited) & set(expected))} of {len(expected)} locked packages audited"
    return Scan("pip-audit", looked_at, tuple(findings.values()), tuple(gaps))


def scan(
    root: Path,
    locks: Sequence[str],
    *,
    expected: Mapping[str, str],
    url: str = OSV_URL,
    unreadable: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Scan:
    """Audit every package of the locks against the OSV service at `url`.

    `unreadable` names, by package, advisories that the service knows and cannot apply: each is a gap.
    """
    with tempfile.TemporaryDirectory(prefix="fairlead-audit-") as scratch:
        report = Path(scratch) / "report.json"
        try:
            arguments = command(locks, url=url, report=report, cache=Path(scratch) / "cache")
            done = run(arguments, cwd=root, check=False, timeout=_SECONDS)
        except CommandError as error:
            return Scan("pip-audit", "nothing", gaps=(error.message,))
        if not report.is_file():
            why = (done.output.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return Scan("pip-audit", "nothing", gaps=(f"it wrote no report, asking {url}: {why}",))
        outcome = read(report.read_text("utf-8"), expected=expected)
    gaps = [
        f"{name}: its advisory {advisory} names versions that cannot be read"
        for name in sorted(set(expected) & set(unreadable))
        for advisory in unreadable[name]
    ]
    return dataclasses.replace(outcome, gaps=(*outcome.gaps, *gaps))


def _shortened(text: str, length: int = 120) -> str:
    return text if len(text) <= length else f"{text[:length].rstrip()}…"


def _advice(versions: Sequence[str]) -> str:
    return f"(fixed in {', '.join(versions)})" if versions else "(no version fixes it)"
