"""What is concluded from checks and suites: the exit codes, and that nothing unchecked is ever healthy."""

import json
from pathlib import Path

import pytest

from fairlead.verification import Check, Outcome, Suite, SuiteReport, SuiteResult, Verdict, conclude
from fairlead.verification.phases import Phase, find_phase, in_phase
from fairlead.verification.results import judge_suite

PASSED = Check("notes", "test_a", Outcome.PASSED, 0.1)
UNCHECKED = Check("notes", "test_b", Outcome.NOT_CHECKED, 0.1, None, "there is no ledger")
WITHOUT = Check("notes", "test_c", Outcome.WITHOUT, 0.1, None, "there is no ledger")


def failed(phase: str) -> Check:
    return Check("notes", f"test_{phase}", Outcome.FAILED, 0.1, Phase(phase), "it is broken")


def report(*checks: Check, errors: tuple[str, ...] = (), interrupted: bool = False) -> SuiteReport:
    return SuiteReport("http://notes.test", False, interrupted, errors, checks)


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        ("authentication", 1),
        ("fetch", 2),
        ("update", 3),
        ("integration", 3),
        ("persistence", 4),
        ("state", 4),
        ("unexpected", 5),
    ],
)
def test_each_phase_has_its_exit_code(phase: str, code: int) -> None:
    assert report(PASSED, UNCHECKED, failed(phase)).exit_code == code


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (report(PASSED), 0),
        (report(PASSED, WITHOUT), 0),
        (report(PASSED, UNCHECKED), 5),
        (report(), 5),
        (report(PASSED, errors=("test_x.py cannot be imported",)), 5),
        (report(PASSED, interrupted=True), 5),
        (report(failed("persistence"), failed("fetch"), failed("unexpected")), 2),
    ],
)
def test_a_suite_ends_with_the_first_phase_that_failed_and_with_5_where_something_is_unknown(
    given: SuiteReport, code: int
) -> None:
    assert given.exit_code == code


def test_the_innermost_phase_counts_and_what_was_in_none_is_unexpected() -> None:
    with pytest.raises(AssertionError) as caught, in_phase("update"), in_phase("fetch"):
        raise AssertionError
    assert find_phase(caught.value) is Phase.FETCH
    assert find_phase(AssertionError()) is Phase.UNEXPECTED
    assert find_phase(AssertionError(), default="state") is Phase.STATE
    assert find_phase(caught.value, default="state") is Phase.FETCH


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = report(PASSED, UNCHECKED, failed("fetch"), errors=("one",))
    written.write(tmp_path / "a" / "report.json", exit_code=2)
    assert SuiteReport.load(tmp_path / "a" / "report.json") == written


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"checks": 1}', '{"url": "u", "checks": [{"suite": 1}]}'])
def test_a_report_that_makes_no_sense_is_none(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content, "utf-8")
    assert SuiteReport.load(file) is None


def test_a_report_with_an_outcome_that_there_is_not_is_none(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    report(PASSED).write(file, exit_code=0)
    facts = json.loads(file.read_text("utf-8"))
    facts["checks"][0]["outcome"] = "splendid"
    file.write_text(json.dumps(facts), "utf-8")
    assert SuiteReport.load(file) is None


SUITE = Suite("notes", Path("test_notes.py"), 1)


def result(outcome: Outcome, *, order: int | None = 1, name: str = "notes") -> SuiteResult:
    suite = Suite(name, Path(f"test_{name}.py"), order)
    check = WITHOUT if outcome is Outcome.WITHOUT else PASSED
    return SuiteResult(suite, outcome, 0, 1.0, Path("notes.log"), (check,), "because")


@pytest.mark.parametrize(
    ("exit_code", "given", "outcome", "says"),
    [
        (0, report(PASSED), Outcome.PASSED, None),
        (0, report(PASSED, WITHOUT), Outcome.PASSED, "there is no ledger"),
        (0, report(WITHOUT), Outcome.WITHOUT, "there is no ledger"),
        (5, report(PASSED, UNCHECKED), Outcome.NOT_CHECKED, "test_b: there is no ledger"),
        (4, report(PASSED, failed("state")), Outcome.FAILED, "test_state (state): it is broken"),
        (2, report(failed("unexpected"), failed("fetch")), Outcome.FAILED, "test_fetch (fetch)"),
        (5, report(), Outcome.NOT_CHECKED, "it has no check"),
        (5, report(errors=("a\nE   no module",)), Outcome.NOT_CHECKED, "no module"),
        (5, report(PASSED, interrupted=True), Outcome.NOT_CHECKED, "broken off"),
        (-9, None, Outcome.NOT_CHECKED, "could not be run (exit code -9)"),
        (1, report(PASSED), Outcome.NOT_CHECKED, "no check says why"),
    ],
)
def test_a_suite_passes_only_where_its_process_and_its_report_both_say_so(
    exit_code: int, given: SuiteReport | None, outcome: Outcome, says: str | None
) -> None:
    judged = judge_suite(SUITE, exit_code=exit_code, seconds=1.0, log=Path("notes.log"), report=given)
    assert judged.outcome is outcome
    assert (says is None and judged.reason is None) or (says or "") in (judged.reason or "")


def test_a_suite_that_does_not_end_has_failed_whatever_it_reported() -> None:
    judged = judge_suite(SUITE, exit_code=-9, seconds=9.0, log=Path("x.log"), report=report(PASSED), within=9.0)
    assert (judged.outcome, judged.reason) == (Outcome.FAILED, "it did not end within 9 s and was killed")


@pytest.mark.parametrize(
    ("results", "code", "verdict"),
    [
        ([result(Outcome.PASSED)], 0, Verdict.HEALTHY),
        ([result(Outcome.PASSED), result(Outcome.WITHOUT)], 0, Verdict.HEALTHY),
        ([result(Outcome.FAILED, order=1), result(Outcome.PASSED)], 1, Verdict.UNHEALTHY),
        ([result(Outcome.PASSED), result(Outcome.FAILED, order=2)], 2, Verdict.UNHEALTHY),
        ([result(Outcome.FAILED, order=3), result(Outcome.NOT_CHECKED)], 3, Verdict.UNHEALTHY),
        ([result(Outcome.FAILED, order=4)], 4, Verdict.UNHEALTHY),
        ([result(Outcome.FAILED, order=None)], 4, Verdict.UNHEALTHY),
        ([result(Outcome.FAILED, order=1), result(Outcome.FAILED, order=2)], 4, Verdict.UNHEALTHY),
        ([result(Outcome.PASSED), result(Outcome.NOT_CHECKED)], 5, Verdict.INCONCLUSIVE),
        ([result(Outcome.WITHOUT)], 5, Verdict.INCONCLUSIVE),
        ([], 5, Verdict.INCONCLUSIVE),
    ],
)
def test_one_suite_that_failed_is_told_by_its_place_and_several_by_4(
    results: list[SuiteResult], code: int, verdict: Verdict
) -> None:
    concluded = conclude(results)
    assert (concluded.exit_code, concluded.verdict) == (code, verdict)
