"""What a scan says: its findings, its gaps, and how much it looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import _output


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, which rule or advisory, what it says."""

    where: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Scan:
    """The outcome of one tool. `looked_at` says what was covered, in words; `gaps` names what was not."""

    tool: str
    looked_at: str
    findings: tuple[Finding, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True when everything was looked at and nothing was found."""
        return not self.findings and not self.gaps


def judge(scans: Sequence[Scan]) -> int:
    """Print what each scan says and return the exit code: 0 passed, 1 something was found, 5 only gaps."""
    for scan in scans:
        if scan.passed:
            _output.status("ok", f"{scan.tool}: {scan.looked_at}, nothing found")
        if scan.findings:
            count = "1 finding" if len(scan.findings) == 1 else f"{len(scan.findings)} findings"
            _output.error(f"{scan.tool}: {count} ({scan.looked_at})", problems=[str(one) for one in scan.findings])
        if scan.gaps:
            _output.error(f"{scan.tool}: could not be checked", problems=scan.gaps)
    if not scans:
        _output.error("security could not be checked: no tool ran")
        return 5
    if any(scan.findings for scan in scans):
        return 1
    return 5 if any(scan.gaps for scan in scans) else 0
