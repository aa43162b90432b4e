"""The linter's report as text, as SARIF 2.1.0, and as GitHub's annotations."""

from typing import Any

from fairlead import _output, _sarif
from fairlead.migrations.lint.findings import RULES, Finding, Report


def render(report: Report) -> str:
    """Return the findings as text, each with its place, its rule and what to do, and a line that sums them up."""
    lines: list[str] = []
    for finding in report.findings:
        lines.append(f"{finding.place}: {finding.level}: {finding.message} [{finding.rule}]")
        if finding.hint:
            lines.append(f"    {finding.hint}")
    return "\n".join([*lines, summarise(report)])


def summarise(report: Report) -> str:
    """Return one line: how many migrations were looked at, and what was found."""
    warnings = len(report.findings) - len(report.errors)
    found = [_count(number, word) for number, word in ((len(report.errors), "error"), (warnings, "warning")) if number]
    return (
        f"{_count(len(report.checked), 'migration')} looked at: {' and '.join(found) or 'nothing stands against them'}"
    )


def render_annotations(report: Report) -> str:
    """Return the findings as workflow commands of GitHub's, which show each beside its line."""
    return "\n".join(
        _output.annotation(
            finding.level,
            finding.message,
            path=finding.file,
            line=finding.line,
            column=finding.column,
            title=finding.rule,
        )
        for finding in report.findings
    )


def render_sarif(report: Report) -> str:
    """Return the findings as a SARIF 2.1.0 document, the format that code hosts take findings in."""
    names = sorted({*RULES, *(finding.rule for finding in report.findings)})
    rules = [
        {"id": name, "shortDescription": {"text": RULES.get(name, f"a rule of squawk's: {name}")}} for name in names
    ]
    results = [_result(finding, names.index(finding.rule)) for finding in report.findings]
    return _sarif.render("fairlead migrations.lint", rules=rules, results=results)


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    text = f"{finding.message}\n{finding.hint}" if finding.hint else finding.message
    return _sarif.make_result(
        finding.rule,
        rule,
        level=finding.level,
        text=text,
        path=finding.file,
        line=finding.line,
        column=finding.column,
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
