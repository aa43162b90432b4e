import pytest

from fairlead.security.report import Finding, Scan, judge

FINDING = Finding("a.py:1", "B105", "a password")
CLEAN = Scan("bandit", "3 files")
FOUND = Scan("bandit", "3 files", findings=(FINDING,))
GAP = Scan("pip-audit", "nothing", gaps=("no answer",))


@pytest.mark.parametrize(
    ("scans", "code"),
    [([CLEAN], 0), ([CLEAN, CLEAN], 0), ([FOUND], 1), ([GAP], 5), ([CLEAN, GAP], 5), ([FOUND, GAP], 1), ([], 5)],
)
def test_the_exit_code_tells_found_from_not_looked_at(scans: list[Scan], code: int) -> None:
    assert judge(scans) == code


def test_a_gap_is_called_could_not_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    judge([GAP, FOUND])
    told = capsys.readouterr().err
    assert "pip-audit: could not be checked" in told
    assert "no answer" in told
    assert "bandit: 1 finding" in told
    assert "a.py:1: B105: a password" in told
