"""Writes what a run of the gate came to, reads it again, and shows it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fairlead import _output
from fairlead.exceptions import InconclusiveError
from fairlead.security import sarif
from fairlead.security.judge import Judgement

#: Within the state directory.
FOLDER: Final = "security"
_FORMAT: Final = 1
_REPORT: Final = "report.json"


def write(folder: Path, judgement: Judgement, *, revision: str | None) -> None:
    """Replace what an earlier run left in `folder` by one SARIF document for each tool, and one JSON report of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / _REPORT, *folder.glob("*.sarif")):
        old.unlink(missing_ok=True)
    for scan in judgement.scans:
        excepted = {finding: one for tool, finding, one in judgement.excepted if tool == scan.tool}
        (folder / f"{scan.tool}.sarif").write_text(sarif.render(scan, excepted=excepted), "utf-8")
    report = _output.redact_value(describe(judgement, revision=revision))
    # Last, so that there is a report only of a run that came to its end.
    (folder / _REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")


def describe(judgement: Judgement, *, revision: str | None) -> dict[str, Any]:
    """Return a judgement as a document made of what JSON is made of."""
    return {
        "format": _FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision,
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
        for tool in report["tools"]:
            _row(tool)
    except FileNotFoundError:
        raise InconclusiveError("there is no report of a security gate", hint="run: nox -s security") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"the report of the security gate cannot be read: {type(error).__name__}: {error}"
        raise InconclusiveError(message, hint="run: nox -s security") from None
    if written_as != _FORMAT:
        message = f"the report of the security gate has the format {written_as!r}, which this version does not read"
        raise InconclusiveError(message, hint="run: nox -s security")
    return report


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
    return (str(tool["tool"]), result, str(findings), str(gaps), str(tool["looked_at"] or tool["not_run"]))
