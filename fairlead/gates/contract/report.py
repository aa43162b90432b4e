"""What the comparison says: as text, as JSON, and as GitHub's annotations."""

from dataclasses import dataclass
from typing import Any

from fairlead import _output
from fairlead.gates.contract.changes import Change
from fairlead.gates.contract.documents import line_of
from fairlead.gates.contract.versions import may_break, next_breaking

_QUIET = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two documents compared: what with, their versions, and every change."""

    base: str
    old_version: str
    new_version: str
    changes: tuple[Change, ...]

    @property
    def breaking(self) -> tuple[Change, ...]:
        """The changes that break clients."""
        return tuple(change for change in self.changes if change.level == "breaking")

    @property
    def announced(self) -> bool:
        """Whether the new version says that clients break."""
        return may_break(self.old_version, self.new_version)

    @property
    def passed(self) -> bool:
        """Whether no client breaks unannounced."""
        return not self.breaking or self.announced

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a program reads it."""
        return {
            "passed": self.passed,
            "base": self.base,
            "old_version": self.old_version,
            "new_version": self.new_version,
            "announced": self.announced,
            "changes": [change.as_dict() for change in self.changes],
        }


def tell(comparison: Comparison) -> None:
    """Print on standard error what breaks and how to go on, what may surprise, and what else changed."""
    breaking, base, passed = comparison.breaking, comparison.base, comparison.passed
    others = {level: [one for one in comparison.changes if one.level == level] for level in ("warning", "compatible")}
    for change in others["warning"]:
        _output.status("warn", str(change))
    for change in others["compatible"][:_QUIET]:
        _output.status("dim", str(change))
    if len(others["compatible"]) > _QUIET:
        _output.status(
            "dim", f"and {len(others['compatible']) - _QUIET} more that break nobody (--json tells them all)"
        )
    if not breaking:
        _output.status("ok", f"nothing that clients of {base} use was broken: {_counted(comparison.changes)}")
        return
    if passed:
        for change in breaking:
            _output.status("warn", f"breaking, and announced: {change}")
        versions = f"{comparison.old_version} → {comparison.new_version}"
        _output.status("ok", f"clients of {base} break in {len(breaking)} ways, and the version says so: {versions}")
        return
    _output.error(
        f"clients of {base} break in {len(breaking)} ways, and version {comparison.new_version} does not say so",
        problems=[str(change) for change in breaking],
        hint="expand, then contract: bring the new beside the old, move the clients, take the old away later; or "
        f"announce it: set `version` in [tool.fairlead] to {next_breaking(comparison.old_version)} or above, then run "
        "nox -s contract -- --write",
    )


def render_annotations(comparison: Comparison, *, text: str, path: str) -> str:
    """Return workflow commands of GitHub's for what breaks and what may surprise, beside its line of the document."""
    lines = []
    for change in comparison.changes:
        if change.level != "compatible":
            level = "error" if change.level == "breaking" and not comparison.passed else "warning"
            line = line_of(text, change.pointer)
            lines.append(_output.annotation(level, str(change), path=path, line=line, title=f"contract {change.rule}"))
    return "\n".join(lines)


def _counted(changes: tuple[Change, ...]) -> str:
    return "no change" if not changes else "1 change" if len(changes) == 1 else f"{len(changes)} changes"
