import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import bandit

CANARY = "/scratch/canary.py"
PLANTED = [
    {"filename": CANARY, "line_number": 2, "test_id": rule, "issue_text": "x"} for rule in ("B506", "B602", "B608")
]
CLEAN: dict[str, Any] = {
    "errors": [],
    "results": PLANTED,
    "metrics": {"_totals": {}, "./a.py": {}, "b.py": {}, CANARY: {}},
}
RESULT = {"filename": "./a.py", "line_number": 3, "test_id": "B105", "issue_text": "Possible hardcoded password"}


def test_every_file_scanned_and_nothing_found_passes() -> None:
    scan = bandit.read(json.dumps(CLEAN), expected={"a.py", "b.py"}, canary=CANARY)
    assert scan.passed
    assert scan.looked_at == "2 of 2 files scanned"


def test_a_result_is_a_finding_with_its_place() -> None:
    scan = bandit.read(json.dumps({**CLEAN, "results": [RESULT, *PLANTED]}), expected={"a.py", "b.py"}, canary=CANARY)
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
        (json.dumps({**CLEAN, "results": PLANTED[:2]}), {"a.py"}, "whether it looks for B608"),
        (json.dumps({**CLEAN, "metrics": {"a.py": 3}}), {"a.py"}, "not usable"),
        (json.dumps({**CLEAN, "metrics": [3]}), {"a.py"}, "not usable"),
        ("", {"a.py"}, "not usable"),
        ("{}", {"a.py"}, "not usable"),
        ("[]", {"a.py"}, "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, expected: set[str], gap: str) -> None:
    scan = bandit.read(report, expected=expected, canary=CANARY)
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


def test_what_a_mark_without_a_rule_hides_is_a_finding() -> None:
    metrics = {"a.py": {"nosec": 2, "skipped_tests": 0}, "b.py": {"nosec": 0, "skipped_tests": 3}}
    scan = bandit.read(json.dumps({**CLEAN, "metrics": metrics}), expected={"a.py", "b.py"}, canary=CANARY)
    assert [(one.rule, one.place) for one in scan.findings] == [("unnamed-nosec", "a.py")]


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
    monkeypatch.setattr(bandit, "command", lambda *_, **__: ["false"])
    scan = bandit.scan(tree, ["code"])
    assert scan.gaps
    assert not scan.passed


SHELL = "import subprocess\nsubprocess.call(told, shell=True)"


@pytest.mark.parametrize(
    ("files", "rule", "gap"),
    [
        ({"code/.bandit": "[bandit]\nskips: B602\n"}, "B602", ""),
        ({"code/.bandit": "[bandit]\ntests: B101\n", "code/deep/.bandit": "[bandit]\n"}, "B602", ""),
        ({"code/bad.py": f"{SHELL}  # nosec\n"}, "unnamed-nosec", ""),
        ({"code/bad.py": f"{SHELL}  # nosec - no id, and so all of them\n"}, "unnamed-nosec", ""),
        ({"code/bad.py": f"{SHELL}  # nosec B602 - judged\n"}, "", ""),
        ({"bandit.py": "print('nothing found')\n"}, "B602", ""),
        ({"pyproject.toml": '[tool.bandit]\ntests = ["B101"]\n'}, "", "whether it looks for B506, B602, B608"),
        ({"pyproject.toml": '[tool.bandit]\nskips = ["B602"]\n'}, "", "whether it looks for B602"),
        ({"pyproject.toml": '[tool.bandit]\nexclude_dirs = ["code"]\n'}, "", "code/bad.py: was not scanned"),
    ],
)
def test_nothing_that_lies_about_hides_a_fault(tree: Path, files: dict[str, str], rule: str, gap: str) -> None:
    pytest.importorskip("bandit", reason="the scanner is installed for the security gate only")
    for name, text in {"code/bad.py": f"{SHELL}\n", **files}.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text)
    scan = bandit.scan(tree, ["code"])
    assert [one.rule for one in scan.findings if one.rule not in {"B404", "B603"}] == ([rule] if rule else [])
    assert any(gap in one for one in scan.gaps) if gap else not scan.gaps


def test_a_folder_with_nothing_to_scan_is_a_gap_and_so_is_one_that_is_linked(tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "code" / "more").symlink_to("../elsewhere", target_is_directory=True)
    (tree / "elsewhere").mkdir()
    assert bandit.find_gaps(tree, ["code", "empty", "nowhere", "code/good.py"]) == (
        "empty: there is no Python file to scan",
        "nowhere: there is no Python file to scan",
        "code/more: a link to a folder, which is not followed",
    )
