"""What a file says of itself, each because of something: destructive, contract, and `accept RULE`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.migrations.lint.findings import RULES
from fairlead.migrations.statements import Mark, find_marks

_ACCEPTED = re.compile(r"(?P<rule>[a-z/-]+)[:,]?(?:\s+(?:because\s+)?(?P<reason>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Excuse:
    """A rule that a file says it breaks knowingly, with its reason and the line that says so."""

    rule: str
    reason: str
    line: int

    @property
    def flaw(self) -> str:
        """What is wrong with it, or nothing."""
        if self.rule not in RULES and not self.rule.startswith("squawk/"):
            return f"there is no rule {self.rule or 'without a name'}; there are: {', '.join(RULES)}, squawk/NAME"
        return "" if self.reason else f"the reason is missing: -- fairlead: {_spelling(self.rule)} because …"


def find_excuses(text: str) -> tuple[Excuse, ...]:
    """Return what a file's comments excuse: `destructive because …`, `contract because …`, `accept RULE because …`."""
    return tuple(_read(find_marks(text)))


def _read(marks: Sequence[Mark]) -> Iterator[Excuse]:
    for mark in marks:
        if mark.name in {"destructive", "contract"}:
            yield Excuse(mark.name, mark.reason, mark.line)
        elif mark.name == "accept":
            match = _ACCEPTED.fullmatch(mark.reason)
            yield (
                Excuse(match["rule"], (match["reason"] or "").strip(), mark.line)
                if match
                else Excuse("", "", mark.line)
            )


def _spelling(rule: str) -> str:
    return rule if rule in {"destructive", "contract"} else f"accept {rule}"
