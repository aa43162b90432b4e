import functools
from datetime import date

import pytest

from fairlead.config import SecurityException
from fairlead.security.judge import judge
from fairlead.security.report import Finding, Scan

TODAY = date(2026, 11, 21)
FINDING = Finding("B105", "a password", "a.py", 1)
CLEAN = Scan("bandit", "3 files")
FOUND = Scan("bandit", "3 files", findings=(FINDING,))
GAP = Scan("pip-audit", "nothing", gaps=("no answer",))
ABSENT = Scan("trivy", "", not_run="it is not installed")


def _exception(name: str = "B105", *, path: str = "", tool: str = "", expires: date = TODAY) -> SecurityException:
    return SecurityException(name, "a word of a test", expires, path, tool)


@pytest.mark.parametrize(
    ("scans", "code"),
    [
        ([CLEAN], 0),
        ([CLEAN, CLEAN], 0),
        ([CLEAN, ABSENT], 0),
        ([FOUND], 1),
        ([GAP], 5),
        ([CLEAN, GAP], 5),
        ([FOUND, GAP], 1),
        ([], 5),
    ],
)
def test_the_exit_code_tells_found_from_not_looked_at(scans: list[Scan], code: int) -> None:
    assert judge(scans, today=TODAY).exit_code == code


def test_a_tool_that_must_be_there_and_did_not_run_is_a_gap() -> None:
    judgement = judge([CLEAN, ABSENT], today=TODAY, required={"trivy"})
    assert judgement.exit_code == 5
    assert judgement.scans[1].gaps == ("it is not installed",)


@pytest.mark.parametrize(
    "exception", [_exception(), _exception(path="a.py"), _exception("CVE-1"), _exception(tool="bandit")]
)
def test_an_exception_takes_its_finding_away_through_its_day(exception: SecurityException) -> None:
    found = Scan("bandit", "3 files", findings=(Finding("B105", "a password", "a.py", 1, aliases=("CVE-1",)),))
    judgement = judge([found], exceptions=[exception], today=TODAY)
    assert (judgement.exit_code, len(judgement.excepted), judgement.stale) == (0, 1, ())


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        (_exception(expires=date(2026, 11, 20)), "B105 has expired on 2026-11-20"),
        (_exception("B999"), "B999 is needed by nothing"),
        (_exception(path="b.py"), "B105 in b.py is needed by nothing"),
        (_exception(tool="zizmor"), "B105 is needed by nothing"),
    ],
)
def test_a_stale_exception_fails_and_takes_nothing_away(exception: SecurityException, told: str) -> None:
    judgement = judge([FOUND], exceptions=[exception], today=TODAY)
    assert judgement.exit_code == 1
    assert judgement.scans[0].findings == (FINDING,)
    assert judgement.stale[0].startswith(told)
    assert judge([CLEAN], exceptions=[exception], today=TODAY).exit_code == 1


def test_what_a_tool_would_need_that_is_not_on_this_machine_is_not_stale() -> None:
    assert judge([CLEAN, ABSENT], exceptions=[_exception(tool="trivy")], today=TODAY).exit_code == 0
    assert judge([CLEAN, ABSENT], exceptions=[_exception()], today=TODAY).exit_code == 1


def test_what_only_another_command_would_need_is_not_stale_until_that_command_runs() -> None:
    exception = _exception(tool="trivy-image")
    judge_it = functools.partial(judge, exceptions=[exception], today=TODAY, elsewhere={"trivy-image"})
    assert judge_it([CLEAN]).exit_code == 0
    assert judge_it([CLEAN, Scan("trivy-image", "all")]).stale == ("B105 is needed by nothing: take it out",)


def test_what_nothing_needed_is_not_said_where_not_everything_was_looked_at() -> None:
    judgement = judge([CLEAN, GAP], exceptions=[_exception()], today=TODAY)
    assert (judgement.exit_code, judgement.stale) == (5, ())
