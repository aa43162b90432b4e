import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fairlead._output import redact
from fairlead.config import SecurityException
from fairlead.exceptions import InconclusiveError
from fairlead.security import results
from fairlead.security.judge import judge
from fairlead.security.report import Finding, Scan

TODAY = date(2026, 11, 21)
FINDING = Finding("B105", "a password", "a.py", 1)
KNOWN = Finding("CVE-1", "bad", "requirements.txt", 3, subject="six 1.0", fingerprint="f00")
SCANS = (
    Scan("bandit", "3 files", findings=(FINDING,)),
    Scan("pip-audit", "1 of 2 packages", findings=(KNOWN,), gaps=("six: skipped",)),
    Scan("trivy", "", not_run="it is not installed"),
)
JUDGEMENT = judge(SCANS, exceptions=[SecurityException("CVE-1", "not reached", TODAY)], today=TODAY)


def _read(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text())["runs"][0]
    return content


def test_each_tool_has_a_document_and_there_is_one_report_of_all(tmp_path: Path) -> None:
    results.write(tmp_path, JUDGEMENT, revision="c0ffee")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "bandit.sarif",
        "pip-audit.sarif",
        "report.json",
        "trivy.sarif",
    ]
    report = results.load(tmp_path)
    assert (report["verdict"], report["revision"]) == ("vulnerable", "c0ffee")
    assert [tool["tool"] for tool in report["tools"]] == ["bandit", "pip-audit", "trivy"]


def test_what_an_earlier_run_left_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    results.write(tmp_path, JUDGEMENT, revision=None)
    (tmp_path / "requirements.cdx.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("ours")
    results.clear(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    results.clear(tmp_path / "nowhere")


@pytest.mark.parametrize("act", [results.clear, lambda folder: results.write(folder, JUDGEMENT, revision=None)])
def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, act: Callable[[Path], None]) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(InconclusiveError, match=r"cannot be (taken away|written)"):
        act(tmp_path)


def test_a_place_in_a_document_is_one_by_the_format(tmp_path: Path) -> None:
    """Paths are addresses, lines begin with 1, rules are found by their number. Source: SARIF 2.1.0, 3.4.3 and 3.30."""
    strange = (
        Finding("B2", "x", "docs/a b#1%/\u00e9.py"),
        Finding("B1", "y", "a.py", 0),
        Finding("B1", "z", "a.py", 2),
    )
    results.write(tmp_path, judge([Scan("bandit", "1 file", findings=strange)], today=TODAY), revision=None)
    run: Any = _read(tmp_path / "bandit.sarif")
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert [place["artifactLocation"]["uri"] for place in places] == ["docs/a%20b%231%25/%C3%A9.py", "a.py", "a.py"]
    assert [place.get("region") for place in places] == [None, None, {"startLine": 2}]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["B2", "B1", "B1"]


def test_a_document_has_the_finding_at_its_place(tmp_path: Path) -> None:
    results.write(tmp_path, JUDGEMENT, revision=None)
    run = _read(tmp_path / "bandit.sarif")
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]
    (result,) = run["results"]  # type: ignore[misc]  # what JSON holds has no type
    assert result["ruleId"] == "B105"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 1}}


def test_what_is_excepted_is_suppressed_and_a_gap_is_no_success(tmp_path: Path) -> None:
    results.write(tmp_path, JUDGEMENT, revision=None)
    run = _read(tmp_path / "pip-audit.sarif")
    (invocation,) = run["invocations"]  # type: ignore[misc]  # as above
    assert not invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "six: skipped"
    (result,) = run["results"]  # type: ignore[misc]  # as above
    assert result["suppressions"] == [{"kind": "external", "justification": "not reached"}]
    assert result["partialFingerprints"] == {"fairlead/v1": "f00"}


def test_a_tool_that_did_not_run_says_so_in_its_document(tmp_path: Path) -> None:
    results.write(tmp_path, JUDGEMENT, revision=None)
    (invocation,) = _read(tmp_path / "trivy.sarif")["invocations"]  # type: ignore[misc]  # as above
    assert not invocation["executionSuccessful"]


def test_a_known_secret_is_in_no_file(tmp_path: Path) -> None:
    redact.register("canary-canary")
    scan = Scan("bandit", "1 file", findings=(Finding("B105", "it is canary-canary", "a.py", 1),))
    results.write(tmp_path, judge([scan], today=TODAY), revision=None)
    assert not [file for file in tmp_path.iterdir() if "canary" in file.read_text()]


TOOL = {"tool": "bandit", "looked_at": "3 files", "findings": [], "gaps": [], "not_run": ""}
REPORT = {
    "format": 2,
    "time": "2026-11-21T10:00:00+00:00",
    "revision": None,
    "dirty": False,
    "only": [],
    "verdict": "clean",
    "tools": [TOOL],
}


def test_a_report_that_says_what_one_says_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert results.load(tmp_path) == REPORT


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "[]", "{}", '{"format": 1, "tools": []}', '{"format": 2}', '{"format": 2, "tools": [{}]}'),
        *(json.dumps({key: value for key, value in REPORT.items() if key != left_out}) for left_out in REPORT),
        *(json.dumps(REPORT | {key: 1}) for key in REPORT if key != "format"),
        *(json.dumps(REPORT | changed) for changed in ({"tools": []}, {"tools": [3]}, {"verdict": "fine"})),
        json.dumps(REPORT)[:-20],
    ],
)
def test_without_a_report_nothing_is_known(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(InconclusiveError):
        results.load(tmp_path)
