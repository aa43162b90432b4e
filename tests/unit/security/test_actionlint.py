import json
from pathlib import Path

import pytest

from fairlead.security import actionlint, tools

CI = ".github/workflows/ci.yml"
CANARY = "../scratch/fairlead-canary.yml"
PLANTED = [
    {"message": "planted", "filepath": CANARY, "line": line, "column": 1, "kind": kind}
    for line, kind in ((5, "syntax-check"), (7, "expression"))
]
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


def test_nothing_found_but_what_was_planted_passes() -> None:
    scan = actionlint.read(json.dumps(PLANTED), expected=[CI])
    assert scan.passed
    assert scan.looked_at == "1 of 1 workflows checked"


def test_an_entry_is_a_finding_with_its_place() -> None:
    (finding,) = actionlint.read(json.dumps([ENTRY, *PLANTED]), expected=[CI]).findings
    assert str(finding) == f"{CI}:4: actionlint-syntax-check: unexpected key"


@pytest.mark.parametrize(
    ("report", "gap"),
    [
        ("", "not usable"),
        ("[{}]", "not usable"),
        ("{", "not usable"),
        *((text, "did not report the faults that were planted") for text in ("[]", "null", json.dumps(PLANTED[:1]))),
        (json.dumps([ENTRY]), "did not report the faults that were planted"),
        (
            json.dumps([{**ENTRY, "filepath": "other.yml"}, *PLANTED]),
            "other.yml: is reported on, and was not asked for",
        ),
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
        (f"echo '{json.dumps(PLANTED)}'; exit 1", 0, ""),
        (f"echo '{json.dumps([ENTRY, *PLANTED])}'; exit 1", 1, ""),
        (f"echo '{json.dumps(PLANTED)}'", 0, "exit code 0"),
        ("echo '[]'", 0, "exit code 0"),
        ("echo '[]'; exit 1", 0, "planted"),
        ("echo cannot read >&2; exit 3", 0, "exit code 3: cannot read"),
        ("exit 1", 0, "not usable"),
    ],
)
def test_its_exit_code_and_its_report_must_agree(
    tree: Path, monkeypatch: pytest.MonkeyPatch, script: str, findings: int, gap: str
) -> None:
    pretend(tree, monkeypatch, script)
    scan = actionlint.scan(tree)
    assert len(scan.findings) == findings
    assert any(gap in line for line in scan.gaps) if gap else not scan.gaps


def test_it_is_given_the_workflows_a_faulty_one_and_no_settings_of_the_repository(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / ".github" / "actionlint.yaml").write_text("paths: {'**': {ignore: ['.*']}}\n")
    kept = tree / "kept"
    script = f"""echo "$@" > {kept}
for last; do before=$file; file=$last; done
[ "$before" = {CI} ] && cat "$file" >> {kept}
while [ "$1" != -config-file ]; do shift; done
cat "$2" >> {kept}
echo '{json.dumps(PLANTED)}'; exit 1"""
    pretend(tree, monkeypatch, script)
    assert actionlint.scan(tree).passed
    assert "planted: true" in kept.read_text()
    assert "ignore" not in kept.read_text()


def test_a_repository_without_workflows_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "echo '[]'")
    assert actionlint.scan(tmp_path).gaps == ("there is no workflow to check",)
