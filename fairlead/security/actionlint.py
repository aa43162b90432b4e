"""Runs actionlint over the workflows where the machine has it, and reads its report.

It is a program in Go of which no package index has a wheel, so that the locks cannot give it.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import tools, workflows
from fairlead.security.report import Finding, Scan

_SECONDS: Final = 120


def command(program: str, files: Sequence[str]) -> list[str]:
    """Build the command; no shell checker is looked for, so that every machine that has actionlint finds the same."""
    return [program, "-no-color", "-shellcheck=", "-pyflakes=", "-format", "{{json .}}", *files]


def read(text: str, *, expected: Collection[str]) -> Scan:
    """Read actionlint's JSON report. A finding in a file that it was not given is a gap: it has looked elsewhere."""
    try:
        entries: list[dict[str, Any]] = json.loads(text) or []
        findings = tuple(
            Finding(
                f"actionlint-{one['kind']}",
                str(one["message"]),
                str(one["filepath"]).removeprefix("./"),
                int(one["line"]),
            )
            for one in entries
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan("actionlint", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    strange = sorted({one.path for one in findings} - set(expected))
    gaps = [f"{name}: is reported on, and was not asked for" for name in strange]
    return Scan("actionlint", f"{len(expected)} of {len(expected)} workflows checked", findings, tuple(gaps))


def scan(root: Path) -> Scan:
    """Check every workflow of `root`."""
    program = tools.find("actionlint")
    if program is None:
        return Scan("actionlint", "", not_run="actionlint is not on this machine")
    expected = workflows.find(root, "workflows")
    if not expected:
        return Scan("actionlint", "nothing", gaps=("there is no workflow to check",))
    try:
        done = run(command(program, expected), cwd=root, check=False, timeout=_SECONDS)
    except CommandError as error:
        return Scan("actionlint", "nothing", gaps=(error.message,))
    outcome = read(done.stdout, expected=expected) if done.returncode in {0, 1} else None
    if outcome is None or (done.returncode == 1 and outcome.ran and not outcome.findings):
        why = done.output.strip()[-1000:] or "it said nothing"
        return Scan("actionlint", "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
    return outcome
