"""Decides whether scans are good enough: what is found and not excepted fails, and so does what was not looked at."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from fairlead._sections import SecurityException
from fairlead.security.report import Finding, Scan

Verdict = Literal["clean", "vulnerable", "not checked"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What scans come to together.

    In `scans` what is excepted is left out, and stands in `excepted` with its exception. `stale` are exceptions that
    have expired, or that nothing needed.
    """

    scans: tuple[Scan, ...]
    excepted: tuple[tuple[str, Finding, SecurityException], ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whatever is found is `vulnerable`, also where something else could not be checked."""
        if self.stale or any(scan.findings for scan in self.scans):
            return "vulnerable"
        if not self.scans or any(scan.gaps for scan in self.scans):
            return "not checked"
        return "clean"

    @property
    def exit_code(self) -> int:
        """0 clean, 1 something was found, 5 something could not be checked."""
        return {"clean": 0, "vulnerable": 1, "not checked": 5}[self.verdict]


def judge(
    scans: Sequence[Scan],
    *,
    exceptions: Sequence[SecurityException] = (),
    today: date,
    required: Collection[str] = (),
    elsewhere: Collection[str] = (),
    partial: bool = False,
) -> Judgement:
    """Judge scans. An exception holds through the day that it names.

    `required` names tools that must not be lacking, as under CI: that one of them did not run is a gap. `elsewhere`
    names tools that only other commands run: which exceptions those need is not known here. `partial` scans are some of
    those that there are: what is found by the others may need an exception.
    """
    valid = [one for one in exceptions if one.expires >= today]
    excepted: list[tuple[str, Finding, SecurityException]] = []
    left: list[Scan] = []
    for scan in scans:
        found = [(finding, _find_exception(finding, scan.tool, valid)) for finding in scan.findings]
        excepted += [(scan.tool, finding, one) for finding, one in found if one is not None]
        gaps = (*scan.gaps, scan.not_run) if scan.not_run and scan.tool in required else scan.gaps
        left.append(replace(scan, findings=tuple(finding for finding, one in found if one is None), gaps=gaps))
    stale = [
        f"{one.name} has expired on {one.expires:%Y-%m-%d}: mend what it is about, or judge it anew ({one.reason})"
        for one in exceptions
        if one.expires < today
    ]
    # What was not looked at may hold what an exception is for.
    if not partial and not any(scan.gaps for scan in left):
        lacking = {scan.tool for scan in left if scan.not_run} | (set(elsewhere) - {scan.tool for scan in left})
        used = {one for _, _, one in excepted} | {one for one in valid if one.tool in lacking}
        stale += [f"{one.name} is needed by nothing: take it out" for one in valid if one not in used]
    return Judgement(tuple(left), tuple(excepted), tuple(stale))


def _find_exception(finding: Finding, tool: str, exceptions: Sequence[SecurityException]) -> SecurityException | None:
    for one in exceptions:
        if one.id in finding.names and one.path in ("", finding.path) and one.tool in ("", tool):
            return one
    return None
