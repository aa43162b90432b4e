"""Writes what a run of the gate came to, reads it again, and shows it.

A report is that of the last run, or there is none: what a run leaves is taken away as soon as the next one begins.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from fairlead import _output
from fairlead.exceptions import InconclusiveError
from fairlead.security import sarif
from fairlead.security.judge import Judgement, Verdict

#: Within the state directory.
FOLDER: Final = "security"
_FORMAT: Final = 2
_REPORT: Final = "report.json"


def clear(folder: Path) -> None:
    """Take away what an earlier run left in `folder`; raise `InconclusiveError` where that cannot be done."""
    try:
        for old in (folder / _REPORT, *folder.glob("*.sarif"), *folder.glob("*.cdx.json")):
            old.unlink(missing_ok=True)
    except OSError as error:
        message = f"what an earlier run left in {folder} cannot be taken away: {error.strerror}"
        raise InconclusiveError(message, hint="mend the folder's permissions, or remove it") from None


def write(
    folder: Path, judgement: Judgement, *, revision: str | None, dirty: bool = False, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Write one SARIF document for each tool into `folder`, and one JSON report of all; return that report.

    `dirty` says that the tree was not as it is in `revision`, `only` that no other tools were asked for. Raises
    `InconclusiveError` where it cannot be written: what comes after the gate has nothing to go by.
    """
    report: dict[str, Any] = _output.redact_value(describe(judgement, revision=revision, dirty=dirty, only=only))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for scan in judgement.scans:
            excepted = {finding: one for tool, finding, one in judgement.excepted if tool == scan.tool}
            (folder / f"{scan.tool}.sarif").write_text(sarif.render(scan, excepted=excepted), "utf-8")
        # Last, so that there is a report only of a run that came to its end.
        (folder / _REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        message = f"what the gate came to cannot be written into {folder}: {error.strerror}"
        raise InconclusiveError(message, hint="free some space or mend the folder's permissions") from None
    return report


def describe(
    judgement: Judgement, *, revision: str | None, dirty: bool = False, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a judgement as a document made of what JSON is made of."""
    return {
        "format": _FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision,
        "dirty": dirty,
        "only": list(only),
        "verdict": judgement.verdict,
        "tools": [asdict(scan) for scan in judgement.scans],
        "excepted": [
            {
                "tool": tool,
                "finding": asdict(finding),
                "id": one.id,
                "reason": one.reason,
                "expires": one.expires.isoformat(),
            }
            for tool, finding, one in judgement.excepted
        ],
        "stale": list(judgement.stale),
    }


def tell(judgement: Judgement) -> None:
    """Say all that was found, could not be checked or is excepted; what passed is not mentioned."""
    for scan in judgement.scans:
        if scan.findings:
            count = "1 finding" if len(scan.findings) == 1 else f"{len(scan.findings)} findings"
            _output.error(f"{scan.tool}: {count} ({scan.looked_at})", problems=[str(one) for one in scan.findings])
        if scan.gaps:
            _output.error(f"{scan.tool}: could not be checked", problems=scan.gaps)
        elif scan.not_run:
            _output.status("warn", f"{scan.tool}: not run: {scan.not_run}")
    for tool, finding, one in judgement.excepted:
        _output.status("note", f"{tool}: excepted until {one.expires:%Y-%m-%d}: {finding} ({one.reason})")
    if judgement.stale:
        _output.error("tool.fairlead.security.ignore holds what is no exception any more", problems=judgement.stale)
    if not judgement.scans:
        _output.error("security could not be checked: no tool ran")


def load(folder: Path) -> dict[str, Any]:
    """Read the report that `write` left; raise `InconclusiveError` when there is none, or it is not one."""
    try:
        report: dict[str, Any] = json.loads((folder / _REPORT).read_text("utf-8"))
        written_as = report["format"]
        if written_as == _FORMAT:
            _check(report)
    except FileNotFoundError:
        raise InconclusiveError("there is no report of a security gate", hint="run: nox -s security") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"the report of the security gate cannot be read: {type(error).__name__}: {error}"
        raise InconclusiveError(message, hint="run: nox -s security") from None
    if written_as != _FORMAT:
        message = f"the report of the security gate has the format {written_as!r}, which this version does not read"
        raise InconclusiveError(message, hint="run: nox -s security")
    return report


def _check(report: Mapping[str, Any]) -> None:
    """Raise `ValueError`, or what comes of it, where a report does not say what one says."""
    datetime.fromisoformat(report["time"])
    rows = [_row(tool) for tool in report["tools"]]
    texts = (report["revision"] or "", *report["only"])
    if report["verdict"] not in get_args(Verdict) or not rows or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"its verdict is {report['verdict']!r}, of {len(rows)} tools")
    if not isinstance(report["dirty"], bool):
        raise ValueError("it does not say what tree it is of")


def show(report: Mapping[str, Any]) -> None:
    """Print a report as a table, one line for each tool."""
    headings = ("tool", "result", "findings", "not checked", "looked at")
    _output.table(headings, [_row(tool) for tool in report["tools"]])


def _row(tool: Mapping[str, Any]) -> tuple[str, ...]:
    findings, gaps = len(tool["findings"]), len(tool["gaps"])
    if findings:
        result = "findings"
    elif gaps:
        result = "not checked"
    else:
        result = "not run" if tool["not_run"] else "clean"
    return (str(tool["tool"]), result, str(findings), str(gaps), str(tool["not_run"] or tool["looked_at"]))
