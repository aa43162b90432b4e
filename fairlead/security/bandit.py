"""Runs bandit over the project's code and reads its report."""

import json
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fairlead._process import run
from fairlead.security.report import Finding, Scan


def command(folders: Sequence[str], report: Path) -> list[str]:
    """Build the command; the exit code says nothing, the report is judged."""
    options = ["--quiet", "--exit-zero", "--configfile", "pyproject.toml", "--format", "json", "--output", str(report)]
    return [sys.executable, "-m", "bandit", "--recursive", *options, *folders]


def expected_files(root: Path, folders: Sequence[str]) -> frozenset[str]:
    """Return the Python files that must be scanned, relative to `root`."""
    return frozenset(path.relative_to(root).as_posix() for folder in folders for path in (root / folder).rglob("*.py"))


def read(text: str, *, expected: Collection[str]) -> Scan:
    """Read bandit's JSON report. A file that it skipped, or never counted, is a gap."""
    try:
        report: dict[str, Any] = json.loads(text)
        scanned = {_relative(name) for name in report["metrics"] if name != "_totals"}
        findings = tuple(
            Finding(one["test_id"], one["issue_text"], _relative(one["filename"]), int(one["line_number"]))
            for one in report["results"]
        )
        skipped = {_relative(one["filename"]): str(one["reason"]) for one in report["errors"]}
    except (ValueError, KeyError, TypeError) as error:
        return Scan("bandit", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    gaps = [f"{name}: {reason}" for name, reason in sorted(skipped.items())]
    gaps += [f"{name}: was not scanned" for name in sorted(set(expected) - scanned - set(skipped))]
    if not expected:
        gaps.append("there is no Python file to scan")
    count = len(scanned - set(skipped))
    return Scan("bandit", f"{count} of {len(expected)} files scanned", findings, tuple(gaps))


def scan(root: Path, folders: Sequence[str]) -> Scan:
    """Scan the Python files in `folders` below `root`."""
    with tempfile.TemporaryDirectory(prefix="fairlead-bandit-") as scratch:
        report = Path(scratch) / "report.json"
        done = run(command(folders, report), cwd=root, check=False, timeout=600)
        if done.returncode != 0 or not report.is_file():
            why = done.output[-1000:] or "it wrote no report"
            return Scan("bandit", "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
        return read(report.read_text("utf-8"), expected=expected_files(root, folders))


def _relative(name: str) -> str:
    return name.removeprefix("./")
