"""Log lines of deployments."""

import re
from pathlib import Path

import pytest

from fairlead import _output
from fairlead.localplatform.logs import Logs


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "logs", bound=2000)


def test_lines_come_back_in_order_with_the_newest_at_the_end(logs: Logs) -> None:
    logs.append("one", "deploy", [f"line {number}" for number in range(5)])
    logs.append("two", "deploy", ["of another"])
    lines = logs.read("one", stream="deploy", limit=2)
    assert [line.message for line in lines] == ["line 3", "line 4"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lines[0].timestamp)
    assert logs.read("one", stream="build") == ()
    assert logs.read("one", limit=0) == ()


def test_since_gives_only_what_came_after(logs: Logs) -> None:
    logs.append("one", "build", ["before"])
    at = logs.read("one")[-1].timestamp
    logs.append("one", "deploy", ["after"])
    assert [line.message for line in logs.read("one", since=at)] == ["after"]


def test_files_stay_within_their_bound(logs: Logs, tmp_path: Path) -> None:
    for number in range(500):
        logs.append("one", "deploy", [f"line {number}"])
    assert sum(file.stat().st_size for file in (tmp_path / "logs").iterdir()) < 5000
    lines = [line.message for line in logs.read("one")]
    assert lines[-1] == "line 499"
    assert lines == [f"line {number}" for number in range(500 - len(lines), 500)]


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("INFO: started", "info"),
        ("plain", "info"),
        ("ERROR: broken", "error"),
        ("Traceback (most recent call last):", "error"),
        ("WARNING  slow", "warn"),
    ],
)
def test_severity_is_read_from_the_line(logs: Logs, text: str, severity: str) -> None:
    logs.append("one", "deploy", [text])
    assert logs.read("one")[0].severity == severity


def test_line_cut_short_by_a_crash_is_skipped(logs: Logs, tmp_path: Path) -> None:
    logs.append("one", "deploy", ["whole", "other"])
    file = next((tmp_path / "logs").iterdir())
    file.write_bytes(file.read_bytes()[:-9])
    assert [line.message for line in logs.read("one")] == ["whole"]


@pytest.mark.parametrize("text", ["with \u2028 separator", "tab\tand \x1b[31mcolour", "ümlaut", "nul\0byte", "\udcff"])
def test_odd_characters_stay_in_one_line(logs: Logs, text: str) -> None:
    logs.append("one", "deploy", [text, "next"])
    assert len(logs.read("one")) == 2


def test_secrets_are_masked(logs: Logs) -> None:
    _output.redact.register("canary-secret-value")
    logs.append("one", "deploy", ["key=canary-secret-value", "postgresql://user:hunter2@host/db"])
    text = str(logs.read("one"))
    assert "canary" not in text
    assert "hunter2" not in text


def test_removed_lines_are_gone(logs: Logs, tmp_path: Path) -> None:
    logs.append("one", "deploy", ["x" * 3000])
    logs.append("one", "deploy", ["y"])
    logs.remove("one")
    assert list((tmp_path / "logs").iterdir()) == []


def test_folder_that_cannot_be_written_loses_lines_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    logs = Logs(tmp_path / "logs")
    logs.append("one", "deploy", ["lost"])
