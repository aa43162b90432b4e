"""Renders scans as SARIF 2.1.0, the format that code hosts take findings in: one document for each tool."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fairlead._sections import SecurityException
from fairlead.security.report import Finding, Scan

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def render(scan: Scan, *, excepted: Mapping[Finding, SecurityException]) -> str:
    """Return one tool's document. What is excepted is a suppressed result; what was not looked at, a notification."""
    findings = [*scan.findings, *excepted]
    rules = sorted({finding.rule for finding in findings})
    notifications = [{"level": "error", "message": {"text": gap}} for gap in scan.gaps]
    if scan.not_run and scan.not_run not in scan.gaps:
        notifications.append({"level": "warning", "message": {"text": scan.not_run}})
    invocation: dict[str, Any] = {"executionSuccessful": scan.ran, "toolExecutionNotifications": notifications}
    run = {
        "tool": {"driver": {"name": scan.tool, "rules": [{"id": rule} for rule in rules]}},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules.index(finding.rule), excepted.get(finding)) for finding in findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(finding: Finding, rule: int, exception: SecurityException | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": finding.path}}
    if finding.line is not None:
        place["region"] = {"startLine": finding.line}
    text = f"{finding.subject}: {finding.message}" if finding.subject else finding.message
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
    if finding.fingerprint:
        result["partialFingerprints"] = {"fairlead/v1": finding.fingerprint}
    if exception is not None:
        result["suppressions"] = [{"kind": "external", "justification": exception.reason}]
    return result
