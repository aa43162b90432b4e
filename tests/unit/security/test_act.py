"""`security.report`: what it says of the tree that a report is of."""

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import results
from fairlead.tasks import find_act
from tests.git import git


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\n')
    (tmp_path / ".gitignore").write_text(".fairlead/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "One")
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_SHA", "FAIRLEAD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _show(project: Path, capsys: pytest.CaptureFixture[str], **said: Any) -> str:
    facts = {
        "revision": git(project, "rev-parse", "HEAD"),
        "dirty": False,
        "only": [],
        "verdict": "clean",
        "time": "2026-11-21T10:00:00",
    }
    tools = [{"tool": "bandit", "looked_at": "3 files", "findings": [], "gaps": [], "not_run": ""}]
    folder = project / ".fairlead" / results.FOLDER
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"format": 2, "tools": tools, **facts, **said}))
    find_act("security.report").body(json=False)
    return capsys.readouterr().err


def test_a_report_of_this_very_tree_is_shown_without_a_warning(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _show(project, capsys)
    assert "clean, 2026-11-21T10:00:00" in told
    assert "not be the same" not in told


@pytest.mark.parametrize("said", [{"revision": "c0ffee"}, {"revision": None}, {"dirty": True}])
def test_a_report_of_another_tree_says_so(
    project: Path, capsys: pytest.CaptureFixture[str], said: dict[str, Any]
) -> None:
    assert "the tree may not be the same any more" in _show(project, capsys, **said)


def test_a_tree_that_was_changed_since_is_told_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "new.py").write_text("x = 1\n")
    assert "with uncommitted changes" in _show(project, capsys)


def test_a_report_of_one_tool_alone_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing but bandit was asked for" in _show(project, capsys, only=["bandit"])
