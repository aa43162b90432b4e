"""What the end-to-end suites came to: each check, each suite, and what is concluded from all of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from fairlead._output import redact_value
from fairlead.verification.judge import Verdict
from fairlead.verification.phases import Phase
from fairlead.verification.suites import Suite

_FORMAT: Final = 1
#: The highest place that has an exit code of its own, and what any other suite that fails alone ends with.
_TOLD_APART: Final = 3
_SEVERAL: Final = 4
_UNCHECKED: Final = 5


class Outcome(StrEnum):
    """What a check or a suite came to; `WITHOUT` is what the environment says it deliberately does not have."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"
    WITHOUT = "without"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a suite: how it ended, after how many seconds, in which phase it failed, and why."""

    suite: str
    name: str
    outcome: Outcome
    seconds: float
    phase: Phase | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """What the process of a suite found out; `errors` are files of it that cannot be read."""

    url: str
    smoke: bool
    interrupted: bool = False
    errors: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the process ends with: the first phase that failed, 5 where something was not checked, else 0."""
        failed = [check.phase.exit_code for check in self.checks if check.phase is not None]
        if failed:
            return min(failed)
        unchecked = any(check.outcome is Outcome.NOT_CHECKED for check in self.checks)
        whole = self.checks and not (unchecked or self.errors or self.interrupted)
        return 0 if whole else Phase.UNEXPECTED.exit_code

    def write(self, file: Path, *, exit_code: int) -> None:
        """Write the report as JSON, without secrets."""
        facts = {"format": _FORMAT, "exit_code": exit_code, **asdict(self)}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps(redact_value(facts), indent=2, ensure_ascii=False) + "\n", "utf-8", "backslashreplace"
        )

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """Read a report; None where there is none, or none that makes sense."""
        try:
            facts: Any = json.loads(file.read_text("utf-8"))
            checks = tuple(
                replace(
                    Check(**one), outcome=Outcome(one["outcome"]), phase=Phase(one["phase"]) if one["phase"] else None
                )
                for one in facts["checks"]
            )
            return cls(facts["url"], facts["smoke"], facts["interrupted"], tuple(facts["errors"]), checks)
        except (OSError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a suite came to, and where its log lies; `reason` says why where it did not pass."""

    suite: Suite
    outcome: Outcome
    exit_code: int | None
    seconds: float
    log: Path
    checks: tuple[Check, ...] = ()
    reason: str | None = None

    def count(self, outcome: Outcome) -> int:
        """Return how many of its checks came to `outcome`."""
        return sum(check.outcome is outcome for check in self.checks)


def judge_suite(
    suite: Suite,
    *,
    exit_code: int | None,
    seconds: float,
    log: Path,
    report: SuiteReport | None,
    within: float | None = None,
) -> SuiteResult:
    """Conclude what a suite came to from its exit code and its report; `within` is the time it did not end in."""
    checks = report.checks if report else ()
    made = SuiteResult(suite, Outcome.NOT_CHECKED, exit_code, seconds, log, checks)
    if within is not None:
        return replace(made, outcome=Outcome.FAILED, reason=f"it did not end within {within:g} s and was killed")
    if report is None:
        return replace(made, reason=f"it could not be run (exit code {exit_code}); its log says why")
    failed = [check for check in checks if check.outcome is Outcome.FAILED]
    if failed:
        first = min(failed, key=lambda check: check.phase.exit_code if check.phase else _UNCHECKED)
        return replace(made, outcome=Outcome.FAILED, reason=f"{first.name} ({first.phase}): {first.reason}")
    if report.interrupted:
        return replace(made, reason="it was broken off")
    if report.errors:
        return replace(made, reason=report.errors[0].strip().rpartition("\n")[2])
    unchecked = next((check for check in checks if check.outcome is Outcome.NOT_CHECKED), None)
    if unchecked is not None:
        return replace(made, reason=f"{unchecked.name}: {unchecked.reason}")
    if not checks:
        return replace(made, reason="it has no smoke check; mark one" if report.smoke else "it has no check")
    if exit_code != 0:
        return replace(made, reason=f"its process ended with exit code {exit_code}, and no check says why")
    passed = any(check.outcome is Outcome.PASSED for check in checks)
    lacking = next((check.reason for check in checks if check.outcome is Outcome.WITHOUT), None)
    return replace(made, outcome=Outcome.PASSED if passed else Outcome.WITHOUT, reason=lacking)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What all suites come to together: a verdict, the exit code of `verify`, and why."""

    verdict: Verdict
    exit_code: int
    reason: str


def conclude(results: Sequence[SuiteResult]) -> Conclusion:
    """Conclude from the results of all suites.

    One suite alone that failed ends with its place, 1 to 3; a later one, or several, with 4. Where none failed and
    something was not checked, or no check passed at all, the verdict is inconclusive: 5.
    """
    failed = [one for one in results if one.outcome is Outcome.FAILED]
    if failed:
        place = failed[0].suite.order
        alone = len(failed) == 1 and place is not None and place <= _TOLD_APART
        names = ", ".join(one.suite.name for one in failed)
        reason = f"{failed[0].suite.name}: {failed[0].reason}" + (f" (failed: {names})" if len(failed) > 1 else "")
        return Conclusion(Verdict.UNHEALTHY, place if alone and place else _SEVERAL, reason)
    count = sum(one.count(Outcome.PASSED) for one in results)
    unchecked = [one for one in results if one.outcome is Outcome.NOT_CHECKED or not count]
    if unchecked or not results:
        reason = "; ".join(f"{one.suite.name}: {one.reason}" for one in unchecked) or "there is no suite"
        return Conclusion(Verdict.INCONCLUSIVE, _UNCHECKED, reason)
    return Conclusion(Verdict.HEALTHY, 0, f"{count} checks of {len(results)} suites passed")
