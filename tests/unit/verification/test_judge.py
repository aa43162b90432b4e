"""The judge: a table of answers and the verdict that each deserves. No data is never healthy."""

import itertools

import pytest

from fairlead.verification import Answer, Probe, Verdict, judge

HEALTH, VERSION = Probe("health", "/api/health"), Probe("version", "/api/v1/version")
RIGHT, WRONG = "sha256:right", "sha256:wrong"

WELL = Answer(HEALTH, True, 0.1, 200, {"status": "pass"})
RIGHT_RELEASE = Answer(VERSION, True, 0.1, 200, {"digest": RIGHT})
OLD_RELEASE = Answer(VERSION, True, 0.1, 200, {"digest": WRONG})
NO_DIGEST = Answer(VERSION, True, 0.1, 200, {"version": "1"})
ODD_DIGEST = Answer(VERSION, True, 0.1, 200, {"digest": 3})
SICK = Answer(HEALTH, True, 0.1, 503, {"status": "fail"}, problem="status 503 (database fails)")
SILENT = Answer(HEALTH, False, 0.1, problem="no answer (connection refused)")
SILENT_VERSION = Answer(VERSION, False, 5.0, problem="no answer within 5 s")


@pytest.mark.parametrize(
    ("answers", "digest", "verdict", "reason"),
    [
        ([], None, Verdict.INCONCLUSIVE, "nothing was asked"),
        ([], RIGHT, Verdict.INCONCLUSIVE, "nothing was asked"),
        ([WELL], None, Verdict.HEALTHY, "every probe answered well"),
        ([WELL, RIGHT_RELEASE], None, Verdict.HEALTHY, "every probe answered well"),
        ([WELL, RIGHT_RELEASE], RIGHT, Verdict.HEALTHY, "every probe answered well"),
        ([WELL, OLD_RELEASE], None, Verdict.HEALTHY, "every probe answered well"),
        ([WELL, OLD_RELEASE], RIGHT, Verdict.UNHEALTHY, f"it serves {WRONG}, not {RIGHT}"),
        ([OLD_RELEASE, RIGHT_RELEASE], RIGHT, Verdict.UNHEALTHY, f"it serves {WRONG}"),
        ([RIGHT_RELEASE, OLD_RELEASE], RIGHT, Verdict.UNHEALTHY, f"it serves {WRONG}"),
        ([WELL], RIGHT, Verdict.UNHEALTHY, f"it serves no digest, not {RIGHT}"),
        ([WELL, NO_DIGEST], RIGHT, Verdict.UNHEALTHY, "no digest"),
        ([WELL, ODD_DIGEST], RIGHT, Verdict.UNHEALTHY, "no digest"),
        ([SICK], None, Verdict.UNHEALTHY, "/api/health: status 503 (database fails)"),
        ([SICK, RIGHT_RELEASE], RIGHT, Verdict.UNHEALTHY, "/api/health: status 503"),
        ([WELL, SILENT_VERSION], RIGHT, Verdict.INCONCLUSIVE, "/api/v1/version: no answer within 5 s"),
        ([SILENT], None, Verdict.INCONCLUSIVE, "/api/health: no answer (connection refused)"),
        ([SILENT, SILENT_VERSION], None, Verdict.INCONCLUSIVE, "; /api/v1/version: no answer"),
        ([SICK, SILENT_VERSION], RIGHT, Verdict.UNHEALTHY, "/api/health: status 503"),
        ([SILENT, OLD_RELEASE], RIGHT, Verdict.INCONCLUSIVE, "no answer (connection refused)"),
    ],
)
def test_verdict_follows_from_the_answers(
    answers: list[Answer], digest: str | None, verdict: Verdict, reason: str
) -> None:
    report = judge(answers, digest=digest)
    assert report.verdict is verdict
    assert reason in report.reason
    assert report.answers == tuple(answers)


EVERY = [WELL, RIGHT_RELEASE, OLD_RELEASE, NO_DIGEST, SICK, SILENT, SILENT_VERSION]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_healthy_needs_an_answer_of_every_probe_and_the_right_digest(count: int) -> None:
    for answers in itertools.product(EVERY, repeat=count):
        report = judge(answers, digest=RIGHT)
        served = {answer.digest for answer in answers} - {None}
        well = all(answer.reached and answer.problem is None for answer in answers)
        assert (report.verdict is Verdict.HEALTHY) == (bool(answers) and well and served == {RIGHT})


@pytest.mark.parametrize(
    ("answers", "digest"),
    [([], None), ([WELL], None), ([WELL, RIGHT_RELEASE], RIGHT), ([SILENT], None), ([ODD_DIGEST], None)],
)
def test_report_knows_the_digest_that_was_served(answers: list[Answer], digest: str | None) -> None:
    assert judge(answers).digest == digest


def test_answer_is_said_in_a_few_words() -> None:
    assert WELL.sentence == "/api/health: well"
    assert SILENT.sentence == "/api/health: no answer (connection refused)"
