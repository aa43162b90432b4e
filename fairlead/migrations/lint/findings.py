"""What the linter finds, and every rule that there is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Level = Literal["error", "warning"]

#: Our own rules; squawk's are named `squawk/NAME`.
RULES: Final[Mapping[str, str]] = {
    "missing-down": "there is no down, and baseline-irreversible does not list the version",
    "needs-no-transaction": "a statement that PostgreSQL refuses in a transaction, in a file that runs in one",
    "several-statements": "a file that runs outside a transaction holds more than one statement",
    "transaction-control": "the file begins or ends a transaction itself",
    "trial-failed": "the file could not be tried on a scratch database, so nothing is known of it",
    "destructive": "rows or columns of data are thrown away, and the file does not say why",
    "contract": "the release that still serves would break, and the file does not say that it was made ready",
    "still-used": "the release that still serves names what is taken away",
    "use-unknown": "whether the release that still serves uses what is taken away was not looked at",
    "table-rewrite": "a table that is there already is written anew, while nobody can read it",
    "scan-under-lock": "a table is read from end to end, while nobody can write to it",
    "work-under-lock": "long work goes on while a lock of an earlier statement is held",
    "lock-table": "a table is locked for all that follows",
    "mass-change": "all rows of a table may be changed in one transaction",
    "needless-mark": "the file says something of itself that does not hold, or gives no reason",
}
#: Those that tell of something to know rather than something to mend.
WARNINGS: Final = {"use-unknown", "needless-mark"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found at a place in a file; `line` and `column` count from 1."""

    rule: str
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    level: Level = "error"

    @property
    def place(self) -> str:
        """The place as editors open it: path:line:column."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in which migrations, in their order."""

    checked: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those that must be mended, or accepted with a reason."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def failed(self) -> bool:
        """Whether anything stands against these migrations going out."""
        return bool(self.errors)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a program reads it."""
        return {
            "failed": self.failed,
            "checked": list(self.checked),
            "findings": [asdict(finding) for finding in self.findings],
        }
