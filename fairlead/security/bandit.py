"""Runs bandit over the project's code and reads its report.

Left to itself it obeys any `.bandit` that lies in a folder, and ends well however few of its tests are chosen. Here a
file with known faults is scanned with the others: where they are not found, it does not look.
"""

import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import tools
from fairlead.security.report import Finding, Scan

_SECONDS: Final = 600
#: A shell that gets a text, YAML that makes objects, and SQL built by string.
_CANARY: Final = """import subprocess, yaml
subprocess.call(told, shell=True)
yaml.load(told)
cursor.execute("SELECT name FROM tenants WHERE name = '%s'" % told)
"""
_CANARY_RULES: Final = frozenset({"B602", "B506", "B608"})


def command(targets: Sequence[str], *, report: Path, settings: Path) -> list[str]:
    """Build the command; the exit code says nothing, the report is judged.

    `settings` is a file that says nothing: given one, bandit looks for no other beside pyproject.toml. `-P`: a module
    of the repository does not stand in for one of bandit's.
    """
    options = ["--quiet", "--exit-zero", "--configfile", "pyproject.toml", "--ini", str(settings)]
    output = ["--format", "json", "--output", str(report)]
    return [sys.executable, "-P", "-m", "bandit", "--recursive", *options, *output, *targets]


def expected_files(root: Path, targets: Sequence[str]) -> frozenset[str]:
    """Return the Python files that must be scanned, relative to `root`: those named, and those in folders named."""
    files = {target for target in targets if (root / target).is_file()}
    found = (path for target in targets for path in (root / target).rglob("*.py"))
    return frozenset(files | {path.relative_to(root).as_posix() for path in found})


def find_gaps(root: Path, targets: Sequence[str]) -> tuple[str, ...]:
    """Return a line for each target that holds nothing to scan, and for each folder that bandit does not go into."""
    empty = [f"{target}: there is no Python file to scan" for target in targets if not expected_files(root, [target])]
    links = [
        f"{link}: a link to a folder, which is not followed" for target in targets for link in _links(root, target)
    ]
    return (*empty, *links)


def read(text: str, *, expected: Collection[str], canary: str) -> Scan:
    """Read bandit's JSON report. A file that it skipped, or never counted, is a gap, and so are faults not found.

    `canary` is the file that holds them. What a mark without a rule hides is a finding: nobody has judged it.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        metrics = {_relative(name): one for name, one in report["metrics"].items() if name not in {"_totals", canary}}
        hidden = {name: int(one.get("nosec", 0)) for name, one in metrics.items()}
        planted = {str(one["test_id"]) for one in report["results"] if one["filename"] == canary}
        findings = [
            Finding(str(one["test_id"]), str(one["issue_text"]), _relative(one["filename"]), int(one["line_number"]))
            for one in report["results"]
            if one["filename"] != canary
        ]
        skipped = {_relative(one["filename"]): str(one["reason"]) for one in report["errors"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan("bandit", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    findings += [
        Finding("unnamed-nosec", f"hides what was found, {count} times; name the rule: `# nosec B602 - why`", name)
        for name, count in sorted(hidden.items())
        if count
    ]
    gaps = [f"{name}: {reason}" for name, reason in sorted(skipped.items())]
    gaps += [f"{name}: was not scanned" for name in sorted(set(expected) - set(metrics) - set(skipped))]
    if not expected:
        gaps.append("there is no Python file to scan")
    if unseen := sorted(_CANARY_RULES - planted):
        gaps.append(f"it did not find what was planted to see whether it looks for {', '.join(unseen)}")
    count = len(set(metrics) - set(skipped))
    return Scan("bandit", f"{count} of {len(expected)} files scanned", tuple(findings), tuple(gaps))


def scan(root: Path, targets: Sequence[str]) -> Scan:
    """Scan the Python files `targets` below `root`, and those in the folders among them."""
    with tempfile.TemporaryDirectory(prefix="fairlead-bandit-") as scratch:
        report, settings, canary = (Path(scratch) / name for name in ("report.json", "bandit.ini", "canary.py"))
        settings.write_text("[bandit]\n", "utf-8")
        canary.write_text(_CANARY, "utf-8")
        try:
            arguments = command([*targets, str(canary)], report=report, settings=settings)
            done = run(arguments, cwd=root, check=False, timeout=_SECONDS)
            if done.returncode != 0 or not report.is_file():
                why = tools.last_words(done.output) or "it wrote no report"
                return Scan("bandit", "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
            outcome = read(report.read_text("utf-8"), expected=expected_files(root, targets), canary=str(canary))
        except CommandError as error:
            return Scan("bandit", "nothing", gaps=(error.message,))
    return Scan("bandit", outcome.looked_at, outcome.findings, (*find_gaps(root, targets), *outcome.gaps))


def _links(root: Path, target: str) -> Iterator[str]:
    for folder, names, _ in os.walk(root / target):
        links = (Path(folder) / name for name in names if (Path(folder) / name).is_symlink())
        yield from (link.relative_to(root).as_posix() for link in links)


def _relative(name: str) -> str:
    return name.removeprefix("./")
