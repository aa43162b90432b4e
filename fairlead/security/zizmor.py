"""Runs zizmor, at its strictest, over what GitHub acts on: workflows, actions, Dependabot's and pre-commit's files."""

import dataclasses
import json
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import tools, workflows
from fairlead.security.report import Finding, Level, Scan

_SECONDS: Final = 120
_KINDS: Final = ("workflows", "actions", "dependabot", "pre-commit")
_COMPLETED: Final = re.compile(r"\bcompleted (.+)$", re.MULTILINE)
_LEVELS: Final[dict[str, Level]] = {"Informational": "note", "Low": "warning"}
#: What zizmor ends with: nothing found, or the gravest thing that was.
_FINISHED: Final = frozenset({0, 10, 11, 12, 13, 14})


def command(program: str, files: Sequence[str]) -> list[str]:
    """Build the command.

    Neither comments in the files nor a configuration of zizmor's own silence anything: exceptions have one place.
    """
    strict = ["--persona", "auditor", "--strict-collection", "--no-ignores", "--no-config"]
    return [program, "--offline", "--no-progress", "--color", "never", *strict, "--format", "json", "--", *files]


def read(text: str, *, audited: Collection[str], expected: Collection[str]) -> Scan:
    """Read zizmor's JSON report; `audited` are the files that it says it has completed."""
    try:
        findings = tuple(_finding(one) for one in json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan("zizmor", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    gaps = [f"{name}: was not audited" for name in sorted(set(expected) - set(audited))]
    if not any(name.startswith(".github/workflows/") for name in expected):
        gaps.append("there is no workflow to audit")
    return Scan(
        "zizmor", f"{len(set(audited) & set(expected))} of {len(expected)} files audited", findings, tuple(gaps)
    )


def read_audited(log: str) -> frozenset[str]:
    """Return the files that zizmor's log says it has completed."""
    return frozenset(_COMPLETED.findall(log))


def scan(root: Path) -> Scan:
    """Audit every file of `root` that GitHub's machines act on."""
    program = tools.find("zizmor")
    if program is None:
        return Scan("zizmor", "nothing", gaps=("zizmor is not installed; it is in requirements-gates.txt",))
    expected = workflows.find(root, *_KINDS)
    if not expected:
        return Scan("zizmor", "nothing", gaps=("there is no workflow to audit",))
    # What it says of each file is the proof that it looked, so nothing of the surroundings may quieten it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ZIZMOR_", "RUST_LOG"))}
    try:
        done = run(command(program, expected), cwd=root, env=environment, check=False, timeout=_SECONDS)
    except CommandError as error:
        return Scan("zizmor", "nothing", gaps=(error.message,))
    if done.returncode not in _FINISHED:
        why = tools.last_words(done.stderr) or "it said nothing"
        return Scan("zizmor", "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
    outcome = read(done.stdout, audited=read_audited(done.stderr), expected=expected)
    if done.returncode != 0 and not outcome.findings and not outcome.gaps:
        unsaid = f"it ended with exit code {done.returncode}, which says that it found something, and reported nothing"
        return dataclasses.replace(outcome, gaps=(unsaid,))
    return outcome


def _finding(one: dict[str, Any]) -> Finding:
    place, *_ = (each for each in one["locations"] if each["symbolic"]["kind"] == "Primary")
    name = str(place["symbolic"]["key"]["Local"]["verbatim_path"])
    annotation = str(place["symbolic"]["annotation"])
    return Finding(
        str(one["ident"]),
        f"{one['desc']}: {annotation}" if annotation else str(one["desc"]),
        name.removeprefix("./"),
        int(place["concrete"]["location"]["start_point"]["row"]) + 1,
        level=_LEVELS.get(one["determinations"]["severity"], "error"),
    )
