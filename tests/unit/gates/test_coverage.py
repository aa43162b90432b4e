import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.config import CoverageConfig
from fairlead.exceptions import CommandError
from fairlead.gates import coverage
from fairlead.gates.coverage import Measure

SOURCE = "def spread():\n    return max(\n        1,\n        2,\n    )\n\n\ndef other():\n    return 1\n"
EASY = CoverageConfig(statements=10, branches=10, functions=10, lines=10)


def _summary(covered: int, statements: int, *, branches: tuple[int, int] = (1, 2)) -> dict[str, int]:
    return {
        "covered_lines": covered,
        "num_statements": statements,
        "covered_branches": branches[0],
        "num_branches": branches[1],
    }


def _report(**changes: Any) -> str:
    """A report on SOURCE: `spread` ran, `other` did not."""
    file = {
        "executed_lines": [1, 2, 8],
        "missing_lines": [9],
        "summary": _summary(3, 4),
        "functions": {
            "": {"summary": _summary(2, 2)},
            "spread": {"summary": _summary(1, 1)},
            "other": {"summary": _summary(0, 1)},
        },
    }
    file.update(changes)
    return json.dumps({"meta": {"branch_coverage": True}, "files": {"module.py": file}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("measure", "covered", "total"),
    [("statements", 3, 4), ("branches", 1, 2), ("functions", 1, 2), ("lines", 6, 7)],
)
def test_each_measure_is_counted_its_own_way(root: Path, measure: str, covered: int, total: int) -> None:
    assert coverage.read_report(_report(), root=root).total(measure) == Measure(covered, total)


@pytest.mark.parametrize("measure", coverage.MEASURES)
def test_each_threshold_is_enforced_and_names_the_worst_file(root: Path, measure: str) -> None:
    thresholds = CoverageConfig(**{**dict.fromkeys(coverage.MEASURES, 10.0), measure: 99.0})
    report = coverage.read_report(_report(), root=root)
    (shortfall,) = coverage.shortfalls(report, thresholds)
    assert shortfall.startswith(f"{measure}: ")
    assert "module.py" in shortfall


def test_reached_thresholds_leave_no_shortfall(root: Path) -> None:
    assert coverage.shortfalls(coverage.read_report(_report(), root=root), EASY) == []


def test_a_figure_just_below_its_threshold_is_not_rounded_up(root: Path) -> None:
    thresholds = CoverageConfig(statements=75.001, branches=0, functions=0, lines=0)
    assert coverage.shortfalls(coverage.read_report(_report(), root=root), thresholds)


def test_the_table_reports_all_four_measures(root: Path) -> None:
    table = coverage.render(coverage.read_report(_report(), root=root), EASY)
    assert [line.split()[0] for line in table.splitlines()[1:]] == list(coverage.MEASURES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        json.dumps({"meta": {"branch_coverage": False}, "files": {}}),
        json.dumps({"meta": {"branch_coverage": True}, "files": {}}),
        _report(functions=None),
        _report(summary={}),
        _report(summary=_summary(0, 4)),
    ],
)
def test_a_report_that_proves_nothing_could_not_be_checked(root: Path, text: str) -> None:
    with pytest.raises(CommandError, match="could not be checked"):
        coverage.read_report(text, root=root)


def test_a_file_that_is_gone_counts_its_statements_as_lines(tmp_path: Path) -> None:
    assert coverage.read_report(_report(), root=tmp_path).total("lines") == Measure(3, 4)


def test_the_worst_files_come_first() -> None:
    files = {name: {"lines": Measure(10 - missing, 10)} for name, missing in {"a": 1, "b": 5, "c": 0}.items()}
    assert [path for path, _ in coverage.Coverage(files).worst("lines")] == ["b", "a"]


def _split() -> coverage.Coverage:
    """Two folders of which one hides behind the other."""
    files = {"good/a.py": Measure(99, 100), "goods/b.py": Measure(0, 1), "bad/c.py": Measure(8, 10)}
    return coverage.Coverage({path: dict.fromkeys(coverage.MEASURES, lines) for path, lines in files.items()})


@pytest.mark.parametrize(
    ("folders", "shortfall"),
    [
        ({"good": 99.0}, None),
        ({"bad": 80.0}, None),
        ({"good": 99.0, "bad": 80.1}, "lines of bad: 80.00 % is below 80.1 %; most is missing in bad/c.py"),
        ({"gone": 0.0}, "lines of gone: no file of it was measured"),
    ],
)
def test_a_folder_cannot_hide_behind_another(folders: dict[str, float], shortfall: str | None) -> None:
    thresholds = CoverageConfig(statements=10, branches=10, functions=10, lines=10, folders=folders)
    found = coverage.shortfalls(_split(), thresholds)
    assert len(found) == (shortfall is not None)
    assert shortfall is None or found[0].startswith(shortfall)
    assert [line for line in coverage.render(_split(), thresholds).splitlines() if line.startswith("lines of ")]


def _repository(folder: Path, threshold: int) -> Path:
    (folder / "module.py").write_text(SOURCE)
    thresholds = "\n".join(f"{name} = {threshold}" for name in coverage.MEASURES)
    (folder / "pyproject.toml").write_text(f'[tool.fairlead]\nname = "x"\n[tool.fairlead.coverage]\n{thresholds}\n')
    report = folder / "report.json"
    report.write_text(_report())
    return report


@pytest.mark.parametrize(("threshold", "code"), [(50, 0), (60, 1)])
def test_the_exit_code_follows_the_thresholds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threshold: int, code: int
) -> None:
    report = _repository(tmp_path, threshold)
    monkeypatch.chdir(tmp_path)
    assert coverage.judge([str(report)]) == code
    captured = capsys.readouterr()
    assert "statements" in captured.out
    assert ("is below 60 %" in captured.err) == bool(code)


def test_a_missing_report_could_not_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _repository(tmp_path, 50)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="could not be checked"):
        coverage.judge(["none.json"])
