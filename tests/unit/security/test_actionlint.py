import json
from pathlib import Path

import pytest

from fairlead.security import actionlint, tools

CI = ".github/workflows/ci.yml"
ENTRY = {"message": "unexpected key", "filepath": CI, "line": 4, "column": 3, "kind": "syntax-check"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / CI).write_text("name: ci\n")
    return tmp_path


def pretend(tree: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program of our own in actionlint's place."""
    program = tree / "actionlint"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(tools, "find", lambda name: str(program))


@pytest.mark.parametrize("report", ["[]", "null"])
def test_nothing_found_passes(report: str) -> None:
    scan = actionlint.read(report, expected=[CI])
    assert scan.passed
    assert scan.looked_at == "1 of 1 workflows checked"


def test_an_entry_is_a_finding_with_its_place() -> None:
    (finding,) = actionlint.read(json.dumps([ENTRY]), expected=[CI]).findings
    assert str(finding) == f"{CI}:4: actionlint-syntax-check: unexpected key"


@pytest.mark.parametrize(
    ("report", "gap"),
    [
        ("", "not usable"),
        ("[{}]", "not usable"),
        ("{", "not usable"),
        (json.dumps([{**ENTRY, "filepath": "other.yml"}]), "other.yml: is reported on, and was not asked for"),
    ],
)
def test_a_report_that_cannot_be_trusted_is_a_gap(report: str, gap: str) -> None:
    assert any(gap in line for line in actionlint.read(report, expected=[CI]).gaps)


def test_where_it_is_lacking_it_is_said_not_to_have_run(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda name: None)
    scan = actionlint.scan(tree)
    assert (scan.passed, scan.gaps) == (False, ())
    assert "not on this machine" in scan.not_run


@pytest.mark.parametrize(
    ("script", "findings", "gap"),
    [
        ("echo '[]'", 0, ""),
        (f"echo '{json.dumps([ENTRY])}'; exit 1", 1, ""),
        ("echo '[]'; exit 1", 0, "exit code 1"),
        ("echo cannot read >&2; exit 3", 0, "exit code 3: cannot read"),
        ("exit 0", 0, "not usable"),
    ],
)
def test_its_exit_code_and_its_report_must_agree(
    tree: Path, monkeypatch: pytest.MonkeyPatch, script: str, findings: int, gap: str
) -> None:
    pretend(tree, monkeypatch, script)
    scan = actionlint.scan(tree)
    assert len(scan.findings) == findings
    assert any(gap in line for line in scan.gaps) if gap else not scan.gaps


def test_the_workflows_are_named_to_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tree, monkeypatch, f'for last; do :; done; test "$last" = {CI} && echo "[]"')
    assert actionlint.scan(tree).passed


def test_a_repository_without_workflows_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "echo '[]'")
    assert actionlint.scan(tmp_path).gaps == ("there is no workflow to check",)
