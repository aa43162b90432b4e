"""What is found between two documents: each change with its level, its rule, and why it breaks whom."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Level = Literal["breaking", "warning", "compatible"]
Direction = Literal["request", "response", "operation"]

_REFUSED: Final = "a client that sends what was valid until now is refused"
_UNEXPECTED: Final = "a client may receive what the document ruled out until now"

#: Why a rule's changes break whom, where that is not what its direction says already.
WHY: Final[Mapping[tuple[str, str], str]] = {
    ("required", "request"): "a client that leaves it out, as it might until now, is refused",
    ("required", "response"): "a client that counts on it may find nothing",
    ("default", "request"): "a client that leaves it out gets another behaviour without having changed anything",
    ("default-removed", "request"): "a client that leaves it out may get another behaviour",
    ("input-removed", "request"): "what clients send there is ignored from now on, without a word",
    ("output-removed", "response"): "a client that reads it finds nothing",
    ("values", "response"): "a client may meet a value that it does not know",
    ("unjudged", "request"): "these keywords cannot be compared, so it counts as breaking until somebody has looked",
    ("unjudged", "response"): "these keywords cannot be compared, so it counts as breaking until somebody has looked",
    ("operation-removed", "operation"): "every client that calls it fails",
    ("parameter-removed", "request"): "what clients send there is ignored from now on, without a word",
    ("parameter-required", "request"): "a client that leaves it out, as it might until now, is refused",
    ("parameter-style", "request"): "a client that writes it the old way is misread",
    ("parameter-moved", "request"): "a generated client puts its value where another one is read",
    ("body-required", "request"): "a client that sends no body, as it might until now, is refused",
    ("body-removed", "request"): "what clients send there is ignored from now on, without a word",
    ("media-type-removed", "request"): "a client that sends this media type is refused",
    ("media-type-removed", "response"): "a client that reads this media type cannot read the answer",
    ("media-type-added", "response"): "a client that asks for no media type in particular may receive this one",
    ("status-added", "response"): "a client that counts on the documented outcomes meets another one",
    ("status-removed", "response"): "a client that waits for this outcome never sees it",
    ("header-removed", "response"): "a client that reads it finds nothing",
    ("header-optional", "response"): "a client that counts on it may find nothing",
    ("header-style", "response"): "a client that reads it the old way misreads it",
    ("content-removed", "response"): "a client that reads the body finds nothing",
    ("security", "request"): "a client that authenticates as it could until now is refused",
    ("operation-id", "operation"): "the method of generated clients gets another name",
    ("parameter-name", "request"): "the argument of generated clients gets another name",
    ("not-compared", "operation"): "this is not compared, so it counts as breaking until somebody has looked",
}
_WARNINGS: Final = {"default-removed", "media-type-added", "operation-id", "parameter-name"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two documents.

    `operations` are those that it reaches, `where` is the part of them, `pointer` leads to it in the new document,
    or in the old one where `gone`.
    """

    level: Level
    rule: str
    direction: Direction
    operations: tuple[str, ...]
    where: str
    pointer: str
    what: str
    gone: bool = False

    @property
    def why(self) -> str:
        """Say whom the change breaks; empty where it breaks nobody."""
        if self.level == "compatible":
            return ""
        return WHY.get((self.rule, self.direction)) or (_REFUSED if self.direction == "request" else _UNEXPECTED)

    def as_dict(self) -> dict[str, Any]:
        """Return the change as a program reads it."""
        return {**asdict(self), "operations": list(self.operations), "why": self.why}

    def __str__(self) -> str:
        named = ", ".join(self.operations[:3])
        if len(self.operations) > 3:
            named += f" and {len(self.operations) - 3} more"
        reason = f": {self.why}" if self.why else ""
        return f"{named}: {self.where}: {self.what}{reason} [{self.direction} {self.rule}, {self.pointer}]"


def level_of(rule: str) -> Level:
    """Return how much a rule's changes matter."""
    return "warning" if rule in _WARNINGS else "breaking"


def join(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Make one change of those that operations have in common, because they share a component; breaking ones first."""
    found: dict[tuple[str, ...], Change] = {}
    for change in changes:
        key = (change.level, change.rule, change.direction, change.pointer, change.what)
        earlier = found.get(key, change)
        operations = dict.fromkeys((*earlier.operations, *change.operations))
        found[key] = Change(**{**_fields(earlier), "operations": tuple(operations)})
    order = ("breaking", "warning", "compatible")
    return tuple(sorted(found.values(), key=lambda one: (order.index(one.level), one.operations[:1], one.where)))


def _fields(change: Change) -> dict[str, Any]:
    return {name: getattr(change, name) for name in Change.__slots__}
