"""Runs actionlint over the workflows where the machine has it, and reads its report.

It is a program in Go of which no package index has a wheel, so that the locks cannot give it. Its report names only
files with findings: that it read them all, a workflow with known faults behind the last one tells.
"""

import json
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import tools, workflows
from fairlead.security.report import Finding, Scan

NAME: Final = "actionlint"
_SECONDS: Final = 120
#: A key that there is none of, and a context that there is none of.
_CANARY: Final = """on: push
jobs:
  canary:
    runs-on: ubuntu-latest
    planted: true
    steps:
      - run: echo ${{ planted.fault }}
"""
_CANARY_NAME: Final = "fairlead-canary.yml"
_CANARY_KINDS: Final = frozenset({"expression", "syntax-check"})
_SETTINGS: Final = "self-hosted-runner:\n  labels: []\n"


def command(program: str, files: Sequence[str], *, settings: Path) -> list[str]:
    """Build the command; no shell checker is looked for, so that every machine that has actionlint finds the same.

    Given `settings`, it does not obey those of the repository, which may say what to ignore: exceptions have one place.
    """
    options = ["-no-color", "-shellcheck=", "-pyflakes=", "-config-file", str(settings)]
    return [program, *options, "-format", "{{json .}}", *files]


def read(text: str, *, expected: Collection[str]) -> Scan:
    """Read actionlint's JSON report. A finding in a file that it was not given is a gap: it has looked elsewhere.

    So is everything where the faults that were planted behind the last file are not reported.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(text) or []
        found = [(str(one["filepath"]).removeprefix("./"), str(one["kind"]), one) for one in entries]
        findings = tuple(
            Finding(f"actionlint-{kind}", str(one["message"]), path, int(one["line"]))
            for path, kind, one in found
            if not _is_canary(path)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan(NAME, "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    if not {kind for path, kind, _ in found if _is_canary(path)} >= _CANARY_KINDS:
        gap = "it did not report the faults that were planted behind the last file"
        return Scan(NAME, "nothing", findings, gaps=(gap,))
    strange = sorted({one.path for one in findings} - set(expected))
    gaps = [f"{name}: is reported on, and was not asked for" for name in strange]
    return Scan(NAME, f"{len(expected)} of {len(expected)} workflows checked", findings, tuple(gaps))


def scan(root: Path) -> Scan:
    """Check every workflow of `root`."""
    program = tools.find(NAME)
    if program is None:
        return Scan(NAME, "", not_run="actionlint is not on this machine")
    expected = workflows.find(root, "workflows")
    if not expected:
        return Scan(NAME, "nothing", gaps=("there is no workflow to check",))
    with tempfile.TemporaryDirectory(prefix="fairlead-actionlint-") as scratch:
        settings, canary = Path(scratch) / "actionlint.yaml", Path(scratch) / _CANARY_NAME
        settings.write_text(_SETTINGS, "utf-8")
        canary.write_text(_CANARY, "utf-8")
        try:
            arguments = command(program, [*expected, str(canary)], settings=settings)
            done = run(arguments, cwd=root, check=False, timeout=_SECONDS)
        except CommandError as error:
            return Scan(NAME, "nothing", gaps=(error.message,))
    # Findings there must be, those in the canary.
    if done.returncode != 1:
        why = tools.last_words(done.output) or "it said nothing"
        return Scan(NAME, "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
    return read(done.stdout, expected=expected)


def _is_canary(path: str) -> bool:
    return PurePosixPath(path).name == _CANARY_NAME
