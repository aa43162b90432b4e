import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import schemas

CI, E2E = ".github/workflows/ci.yml", ".github/workflows/e2e.yml"
WORKFLOWS = "vendor.github-workflows"
OK: dict[str, Any] = {"status": "ok", "errors": [], "checked_paths": [CI, E2E]}
ERROR = {"filename": CI, "path": "$.jobs.a", "message": "{'x': 1} is not valid", "has_sub_errors": True}
DEEP = {"path": "$.jobs.a.runs-off", "message": "Unevaluated properties are not allowed"}


def failed(**facts: Any) -> dict[str, Any]:
    return {"status": "fail", "successes": [E2E], "errors": [], "parse_errors": [], **facts}


def read(report: object, *expected: str) -> Any:
    text = report if isinstance(report, str) else json.dumps(report)
    return schemas.read(text, schema=WORKFLOWS, expected=expected)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / CI).write_text("name: ci\n")
    (tmp_path / ".github" / "dependabot.yml").write_text("version: 2\n")
    return tmp_path


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the tool's place: `$1` is the schema, the rest are the files."""
    monkeypatch.setattr(schemas, "is_installed", lambda: True)
    monkeypatch.setattr(schemas, "command", lambda schema, files: ["sh", "-c", script, "check", schema, *files])


def test_every_file_checked_and_nothing_found_passes() -> None:
    scan = read(OK, CI, E2E)
    assert scan.passed
    assert scan.looked_at == "2 of 2 files checked"


@pytest.mark.parametrize(
    ("error", "says"),
    [(ERROR, "$.jobs.a: {'x': 1} is not valid"), ({**ERROR, "best_deep_match": DEEP}, f"{DEEP['path']}: Unevaluated")],
)
def test_an_error_is_a_finding_with_the_deepest_reason(error: dict[str, Any], says: str) -> None:
    scan = read(failed(errors=[error]), CI, E2E)
    (finding,) = scan.findings
    assert (finding.rule, finding.path) == ("github-workflows", CI)
    assert finding.message.startswith(says)
    assert not scan.gaps


@pytest.mark.parametrize(
    ("report", "expected", "gap"),
    [
        (failed(parse_errors=[{"filename": CI, "message": "bad indent"}]), [CI, E2E], f"{CI}: cannot be parsed"),
        ({**OK, "checked_paths": [CI]}, [CI, E2E], f"{E2E}: was not checked"),
        ({**OK, "checked_paths": []}, [CI], f"{CI}: was not checked"),
        (failed(successes=[CI]), [CI], "failed, and not why"),
        ({"status": "ok"}, [CI], "not usable"),
        ({"errors": []}, [CI], "not usable"),
        ("", [CI], "not usable"),
        ("[]", [CI], "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: object, expected: list[str], gap: str) -> None:
    scan = read(report, *expected)
    assert not scan.passed
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


def test_the_schemas_are_those_that_come_with_the_tool() -> None:
    command = schemas.command(WORKFLOWS, [CI])
    assert command[command.index("--builtin-schema") + 1] == WORKFLOWS
    assert command.count("--verbose") == 2
    assert command[-2:] == ["--", CI]


def test_each_kind_is_checked_against_its_own_schema(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "docker-compose.yml").write_text("services: {}\n")
    right = "*workflows*ci.yml | *dependabot*dependabot.yml | *compose*docker-compose.yml"
    report = 'echo \'{"status": "ok", "errors": [], "checked_paths": ["\'$2\'"]}\''
    pretend(monkeypatch, f'case "$1 $2" in {right}) {report} ;; *) exit 9 ;; esac')
    scan = schemas.scan(tree)
    assert scan.passed
    assert scan.looked_at == "3 of 3 files checked"


@pytest.mark.parametrize(
    ("script", "gap"),
    [
        ("echo no such schema >&2; exit 2", "exit code 2: no such schema"),
        ("exit 0", "it wrote no report"),
        ("echo nonsense", "not usable"),
        ('echo \'{"status": "ok", "errors": [], "checked_paths": []}\'', "was not checked"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_a_gap(
    tree: Path, monkeypatch: pytest.MonkeyPatch, script: str, gap: str
) -> None:
    pretend(monkeypatch, script)
    scan = schemas.scan(tree)
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


def test_a_tool_that_is_not_installed_is_a_gap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "is_installed", lambda: False)
    (gap,) = schemas.scan(tree).gaps
    assert "not installed" in gap


def test_a_repository_without_workflows_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "is_installed", lambda: True)
    assert schemas.scan(tmp_path).gaps == ("there is no workflow to check",)
