"""What a probe asks, and what came back."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a live service: a path that must answer 200 with a JSON object."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: whether anything did, after how many seconds, and what was wrong with it, if something was."""

    probe: Probe
    reached: bool
    seconds: float
    status: int | None = None
    body: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def digest(self) -> str | None:
        """The digest in the body, where there is one."""
        value = (self.body or {}).get("digest")
        return value if isinstance(value, str) else None

    @property
    def sentence(self) -> str:
        """Say in a few words how this probe went."""
        return f"{self.probe.path}: {self.problem or 'well'}"
