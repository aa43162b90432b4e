"""Renders scans as SARIF: one document for each tool."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fairlead import _sarif
from fairlead._sections import SecurityException
from fairlead.security.report import Finding, Scan


def render(scan: Scan, *, excepted: Mapping[Finding, SecurityException]) -> str:
    """Return one tool's document. What is excepted is a suppressed result; what was not looked at, a notification."""
    findings = [*scan.findings, *excepted]
    rules = sorted({finding.rule for finding in findings})
    notifications = [{"level": "error", "message": {"text": gap}} for gap in scan.gaps]
    if scan.not_run and scan.not_run not in scan.gaps:
        notifications.append({"level": "warning", "message": {"text": scan.not_run}})
    return _sarif.render(
        scan.tool,
        rules=[{"id": rule} for rule in rules],
        results=[_result(finding, rules.index(finding.rule), excepted.get(finding)) for finding in findings],
        invocations=[{"executionSuccessful": scan.ran, "toolExecutionNotifications": notifications}],
    )


def _result(finding: Finding, rule: int, exception: SecurityException | None) -> dict[str, Any]:
    text = f"{finding.subject}: {finding.message}" if finding.subject else finding.message
    result = _sarif.make_result(
        finding.rule, rule, level=finding.level, text=text, path=quote(finding.path), line=finding.line or None
    )
    if finding.fingerprint:
        result["partialFingerprints"] = {"fairlead/v1": finding.fingerprint}
    if exception is not None:
        result["suppressions"] = [{"kind": "external", "justification": exception.reason}]
    return result
