"""What a scan says: its findings, its gaps, and how much it looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which rule or advisory, what it says, and where.

    `path` is relative to the repository. `subject` is what it is about where a place says little, such as a package and
    its version. `aliases` are other names of the rule. `fingerprint` tells findings of one rule in one file apart.
    """

    rule: str
    message: str
    path: str
    line: int | None = None
    subject: str = ""
    level: Level = "error"
    aliases: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def place(self) -> str:
        """The file, with its line where there is one."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    @property
    def names(self) -> tuple[str, ...]:
        """The rule's name and its aliases."""
        return (self.rule, *self.aliases)

    def __str__(self) -> str:
        about = f"{self.subject} ({self.place})" if self.subject else self.place
        return f"{about}: {' '.join(self.names)}: {self.message}"


@dataclass(frozen=True, slots=True)
class Scan:
    """The outcome of one tool.

    `looked_at` says what was covered, in words; `gaps` names what should have been and was not. `not_run` says why a
    tool that a machine may lack did not run; where it must not be lacking, that is a gap.
    """

    tool: str
    looked_at: str
    findings: tuple[Finding, ...] = ()
    gaps: tuple[str, ...] = ()
    not_run: str = ""

    @property
    def ran(self) -> bool:
        """True when the tool looked at everything that it should."""
        return not self.gaps and not self.not_run

    @property
    def passed(self) -> bool:
        """True when everything was looked at and nothing was found."""
        return self.ran and not self.findings
