import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import tools, zizmor

CI, BOT = ".github/workflows/ci.yml", ".github/dependabot.yml"
LOG = f" INFO zizmor: zizmor v1.32.0\n INFO audit: zizmor: completed {BOT}\n INFO audit: zizmor: completed {CI}\n"


def location(kind: str = "Primary", row: int = 6, annotation: str = "not pinned") -> dict[str, Any]:
    symbolic = {"kind": kind, "annotation": annotation, "key": {"Local": {"verbatim_path": f"./{CI}"}}}
    return {"symbolic": symbolic, "concrete": {"location": {"start_point": {"row": row, "column": 0}}}}


def entry(*locations: dict[str, Any], severity: str = "High") -> dict[str, Any]:
    found = {"ident": "unpinned-uses", "desc": "unpinned action", "determinations": {"severity": severity}}
    return {**found, "locations": list(locations)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / CI).write_text("name: ci\n")
    (tmp_path / BOT).write_text("version: 2\n")
    return tmp_path


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in zizmor's place; what it would be told is in `$@`."""
    monkeypatch.setattr(tools, "find", lambda name: f"/bin/{name}")
    monkeypatch.setattr(zizmor, "command", lambda program, files: ["sh", "-c", script, program, *files])


def test_every_file_audited_and_nothing_found_passes() -> None:
    scan = zizmor.read("[]", audited=zizmor.read_audited(LOG), expected=[CI, BOT])
    assert scan.passed
    assert scan.looked_at == "2 of 2 files audited"


def test_a_finding_stands_at_its_primary_place_and_lines_count_from_one() -> None:
    text = json.dumps([entry(location("Hidden", 1), location())])
    (finding,) = zizmor.read(text, audited=[CI], expected=[CI]).findings
    assert str(finding) == f"{CI}:7: unpinned-uses: unpinned action: not pinned"


@pytest.mark.parametrize(
    ("severity", "level"), [("Informational", "note"), ("Low", "warning"), ("Medium", "error"), ("High", "error")]
)
def test_a_severity_is_a_level(severity: str, level: str) -> None:
    text = json.dumps([entry(location(), severity=severity)])
    assert zizmor.read(text, audited=[CI], expected=[CI]).findings[0].level == level


@pytest.mark.parametrize(
    ("report", "audited", "expected", "gap"),
    [
        ("[]", [BOT], [CI, BOT], f"{CI}: was not audited"),
        ("[]", [], [CI], "was not audited"),
        ("[]", [BOT], [BOT], "there is no workflow"),
        ("[]", [], [], "there is no workflow"),
        ("", [CI], [CI], "not usable"),
        ("{", [CI], [CI], "not usable"),
        ('{"a": 1}', [CI], [CI], "not usable"),
        ("[{}]", [CI], [CI], "not usable"),
        (json.dumps([entry(location("Related"))]), [CI], [CI], "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, audited: list[str], expected: list[str], gap: str) -> None:
    scan = zizmor.read(report, audited=audited, expected=expected)
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


def test_nothing_in_the_repository_can_silence_it() -> None:
    command = zizmor.command("zizmor", [CI])
    assert {"--offline", "--no-config", "--no-ignores", "--strict-collection"} < set(command)
    assert command[command.index("--persona") + 1] == "auditor"
    assert command[-2:] == ["--", CI]


def test_all_that_github_acts_on_is_asked_for(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / ".github" / "workflows" / "new.yaml").write_text("name: new\n")
    (tree / ".github" / "actions" / "mine").mkdir(parents=True)
    (tree / ".github" / "actions" / "mine" / "action.yml").write_text("name: mine\n")
    (tree / ".pre-commit-config.yaml").write_text("repos: []\n")
    (tree / ".github" / "workflows" / "my ci.yml").write_text("steps:\n  - uses: ./ci/one/\n  - uses: ./made/there\n")
    for name, text in {"ci/one": "  - uses: './ci/two'\n  - uses: ./ci/one\n", "ci/two": "", "ci/unused": ""}.items():
        (tree / name).mkdir(parents=True)
        (tree / name / "action.yaml").write_text(text)
    pretend(monkeypatch, 'for file; do echo "completed $file" >&2; done; echo "[]"')
    scan = zizmor.scan(tree)
    assert scan.passed
    assert scan.looked_at == "8 of 8 files audited"


@pytest.mark.parametrize(
    ("script", "gap"),
    [
        ("echo fatal: no such audit >&2; exit 1", "exit code 1: fatal: no such audit"),
        ("exit 3", "exit code 3: it said nothing"),
        ("echo '[]'", "was not audited"),
        ('for file; do echo "completed $file" >&2; done', "not usable"),
        ('for file; do echo "completed $file" >&2; done; echo "[]"; exit 14', "reported nothing"),
        ('if [ -z "$ZIZMOR_PERSONA$RUST_LOG" ]; then exit 77; fi', "exit code 77"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_a_gap(
    tree: Path, monkeypatch: pytest.MonkeyPatch, script: str, gap: str
) -> None:
    monkeypatch.setenv("ZIZMOR_PERSONA", "regular")
    monkeypatch.setenv("RUST_LOG", "off")
    pretend(monkeypatch, script)
    scan = zizmor.scan(tree)
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


def test_a_tool_that_is_not_installed_is_a_gap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda name: None)
    (gap,) = zizmor.scan(tree).gaps
    assert "zizmor is not installed" in gap


def test_a_tool_that_cannot_be_started_is_a_gap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda name: str(tree / "none"))
    assert zizmor.scan(tree).gaps


def test_a_repository_without_workflows_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda name: "/bin/true")
    assert zizmor.scan(tmp_path).gaps == ("there is no workflow to audit",)


def test_a_tool_is_looked_for_beside_the_interpreter_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("beside", "path"):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "planted"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert tools.find("planted") == str(tmp_path / "beside" / "planted")
    (tmp_path / "beside" / "planted").unlink()
    assert tools.find("planted") == str(tmp_path / "path" / "planted")
    (tmp_path / "path" / "planted").unlink()
    assert tools.find("planted") is None
