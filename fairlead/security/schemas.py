"""Runs check-jsonschema over GitHub's files and Compose's, each against its vendor's schema, and reads its reports."""

import concurrent.futures
import importlib.util
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import tools, workflows
from fairlead.security.report import Finding, Scan

_SECONDS: Final = 120
#: What makes up a grammar for international addresses takes three seconds to import, and no schema here asks for one.
_PROGRAM: Final = "import sys; sys.modules['rfc3987_syntax'] = None; from check_jsonschema import main; main()"
#: The schema of each kind of files; all of them come with the tool, so nothing is fetched.
SCHEMAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "workflows": "vendor.github-workflows",
        "actions": "vendor.github-actions",
        "dependabot": "vendor.dependabot",
        "compose": "vendor.compose-spec",
    }
)


def command(schema: str, files: Sequence[str]) -> list[str]:
    """Build the command for the files of one kind; said twice, `--verbose` names the files that were checked.

    `-P`: a module of the repository does not stand in for one of the tool's.
    """
    output = ["--output-format", "json", "--verbose", "--verbose"]
    return [sys.executable, "-P", "-c", _PROGRAM, "--builtin-schema", schema, *output, "--", *files]


def is_installed() -> bool:
    """Tell whether this environment holds check-jsonschema."""
    return importlib.util.find_spec("check_jsonschema") is not None


def read(text: str, *, schema: str, expected: Collection[str]) -> Scan:
    """Read the report on the files of one kind. A file that cannot be parsed, or is not spoken of, is a gap."""
    try:
        report: dict[str, Any] = json.loads(text)
        fine = {str(name) for name in (*report.get("checked_paths", ()), *report.get("successes", ()))}
        findings = tuple(_finding(schema, one) for one in report["errors"])
        unparsed = {str(one["filename"]): str(one["message"]) for one in report.get("parse_errors", ())}
        passed = report["status"] == "ok"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan("check-jsonschema", "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    checked = {one.path for one in findings} | (fine - set(unparsed))
    gaps = [f"{name}: cannot be parsed: {reason}" for name, reason in sorted(unparsed.items())]
    gaps += [f"{name}: was not checked" for name in sorted(set(expected) - checked - set(unparsed))]
    if not passed and not findings and not unparsed:
        gaps.append("it says that the check failed, and not why")
    count = len(checked & set(expected))
    return Scan("check-jsonschema", f"{count} of {len(expected)} files checked", findings, tuple(gaps))


def scan(root: Path) -> Scan:
    """Check every file of `root` that has a schema, the kinds side by side."""
    if not is_installed():
        missing = "check-jsonschema is not installed; it is in requirements-gates.txt"
        return Scan("check-jsonschema", "nothing", gaps=(missing,))
    files = {schema: found for kind, schema in SCHEMAS.items() if (found := workflows.find(root, kind))}
    if SCHEMAS["workflows"] not in files:
        return Scan("check-jsonschema", "nothing", gaps=("there is no workflow to check",))
    with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
        parts = list(pool.map(lambda one: _scan_kind(root, *one), files.items()))
    findings = tuple(finding for part in parts for finding in part.findings)
    gaps = tuple(gap for part in parts for gap in part.gaps)
    expected = sum(len(found) for found in files.values())
    unchecked = {gap.partition(":")[0] for gap in gaps} & {name for found in files.values() for name in found}
    return Scan("check-jsonschema", f"{expected - len(unchecked)} of {expected} files checked", findings, gaps)


def _scan_kind(root: Path, schema: str, files: Sequence[str]) -> Scan:
    try:
        done = run(command(schema, files), cwd=root, check=False, timeout=_SECONDS)
    except CommandError as error:
        return _none_of(files, error.message)
    if done.returncode not in {0, 1} or not done.stdout.strip():
        why = tools.last_words(done.output) or "it wrote no report"
        return _none_of(files, f"it ended with exit code {done.returncode}: {why}")
    return read(done.stdout, schema=schema, expected=files)


def _none_of(files: Sequence[str], why: str) -> Scan:
    gaps = [f"{name}: was not checked: {why}" for name in files]
    return Scan("check-jsonschema", f"0 of {len(files)} files checked", gaps=tuple(gaps))


def _finding(schema: str, one: dict[str, Any]) -> Finding:
    # Under `anyOf` the first message shows the whole value; the deepest one says what is wrong with it.
    said = one.get("best_deep_match") or one
    message = f"{said['path']}: {said['message']}"
    return Finding(schema.removeprefix("vendor."), message[:300], str(one["filename"]).removeprefix("./"))
