"""Concludes from the answers of probes: healthy, unhealthy or inconclusive. No data is never healthy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fairlead.verification.answers import Answer


class Verdict(StrEnum):
    """What a verification concludes."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict, the sentence that explains it, and the answers that it rests on."""

    verdict: Verdict
    reason: str
    answers: tuple[Answer, ...]

    @property
    def digest(self) -> str | None:
        """The digest that the service says it serves, where it said one."""
        return next((answer.digest for answer in reversed(self.answers) if answer.digest), None)


def judge(answers: Sequence[Answer], *, digest: str | None = None) -> Report:
    """Conclude from one answer of each probe.

    Without an answer at all, or with one that never came because the network failed, the verdict is inconclusive; a
    wrong status, an unreadable body or any digest other than `digest` makes it unhealthy.
    """
    given = tuple(answers)
    if not given:
        return Report(Verdict.INCONCLUSIVE, "nothing was asked", given)
    refused = [answer for answer in given if answer.reached and answer.problem]
    if refused:
        return Report(Verdict.UNHEALTHY, "; ".join(answer.sentence for answer in refused), given)
    silent = [answer for answer in given if not answer.reached]
    if silent:
        return Report(Verdict.INCONCLUSIVE, "; ".join(answer.sentence for answer in silent), given)
    if digest is not None:
        served = {answer.digest for answer in given if answer.digest}
        if served != {digest}:
            said = " and ".join(sorted(served - {digest})) or "no digest"
            return Report(Verdict.UNHEALTHY, f"it serves {said}, not {digest}", given)
    return Report(Verdict.HEALTHY, "every probe answered well", given)
