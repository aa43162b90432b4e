"""What an approval is, and the error that says why there is none."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fairlead.exceptions import ApprovalError

_LONGEST_REMARK = 500


class NotApprovedError(ApprovalError):
    """Nobody approved this deploy; `problems` holds one line for each reason."""

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's yes to a deploy.

    `digest` is None where the yes is not bound to one: GitHub's reviewers approve a run. `issued_at` and `expires_at`
    are whole seconds since 1970. `nonce` tells two approvals of one digest apart.
    """

    environment: str
    approver: str
    how: Literal["signed", "github", "terminal"]
    digest: str | None = None
    issued_at: int | None = None
    expires_at: int | None = None
    reason: str | None = None
    nonce: str | None = None

    @property
    def sentence(self) -> str:
        """Say in one line who approved, how, until when and why."""
        end = f", until {render_moment(self.expires_at)}" if self.expires_at is not None else ""
        return f"approved by {self.approver} ({self.how}{end}){f': {self.reason}' if self.reason else ''}"


def render_moment(seconds: int) -> str:
    """Render seconds since 1970 for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def as_remark(text: str) -> str | None:
    """Return what a person wrote as one printable line of bounded length, or None where nothing is left."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return (line if len(line) <= _LONGEST_REMARK else f"{line[: _LONGEST_REMARK - 1]}…") or None
