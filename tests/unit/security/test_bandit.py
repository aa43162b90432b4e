import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import bandit

CLEAN: dict[str, Any] = {"errors": [], "results": [], "metrics": {"_totals": {}, "./a.py": {}, "b.py": {}}}
RESULT = {"filename": "./a.py", "line_number": 3, "test_id": "B105", "issue_text": "Possible hardcoded password"}


def test_every_file_scanned_and_nothing_found_passes() -> None:
    scan = bandit.read(json.dumps(CLEAN), expected={"a.py", "b.py"})
    assert scan.passed
    assert scan.looked_at == "2 of 2 files scanned"


def test_a_result_is_a_finding_with_its_place() -> None:
    scan = bandit.read(json.dumps({**CLEAN, "results": [RESULT]}), expected={"a.py", "b.py"})
    assert [str(finding) for finding in scan.findings] == ["a.py:3: B105: Possible hardcoded password"]
    assert not scan.gaps


@pytest.mark.parametrize(
    ("report", "expected", "gap"),
    [
        (
            json.dumps({**CLEAN, "errors": [{"filename": "./a.py", "reason": "syntax error"}]}),
            {"a.py"},
            "a.py: syntax error",
        ),
        (json.dumps(CLEAN), {"a.py", "c.py"}, "c.py: was not scanned"),
        (json.dumps({**CLEAN, "metrics": {"_totals": {}}}), {"a.py"}, "a.py: was not scanned"),
        (json.dumps(CLEAN), set(), "no Python file"),
        ("", {"a.py"}, "not usable"),
        ("{}", {"a.py"}, "not usable"),
        ("[]", {"a.py"}, "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, expected: set[str], gap: str) -> None:
    scan = bandit.read(report, expected=expected)
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.bandit]\nskips = ["B101"]\n')
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "good.py").write_text("print(1)\n")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "found", "missed"),
    [("x = 1\n", 0, 0), ('PASSWORD = "correct-horse-battery"\n', 1, 0), ("def (:\n", 0, 1)],
)
def test_the_scanner_itself(tree: Path, source: str, found: int, missed: int) -> None:
    pytest.importorskip("bandit", reason="the scanner is installed for the security gate only")
    (tree / "code" / "other.py").write_text(source)
    scan = bandit.scan(tree, ["code"])
    assert (len(scan.findings), len(scan.gaps)) == (found, missed)


def test_a_scanner_that_is_not_installed_is_a_gap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandit, "command", lambda folders, report: ["false"])
    scan = bandit.scan(tree, ["code"])
    assert scan.gaps
    assert not scan.passed
