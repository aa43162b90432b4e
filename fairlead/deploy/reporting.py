"""What a deploy tells while it runs, and how long each of its steps took."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


class Reporter(Protocol):
    """What a deploy tells while it runs."""

    def step(self, name: str) -> None:
        """Say that a step begins."""

    def done(self, name: str, seconds: float, detail: str) -> None:
        """Say that a step ended well."""

    def note(self, text: str) -> None:
        """Say something worth knowing."""

    def log(self, line: str) -> None:
        """Pass on a line of the platform's log."""

    def uploaded(self, sent: int, total: int) -> None:
        """Say how many bytes of the bundle were sent."""


@dataclass(slots=True)
class Clock:
    """Times the steps of one act and reports them."""

    reporter: Reporter
    started: float = field(default_factory=time.monotonic)
    steps: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is added to the list is told when it ends well."""
        self.reporter.step(name)
        detail: list[str] = []
        began = time.monotonic()
        try:
            yield detail
        finally:
            self.steps[name] = round(time.monotonic() - began, 3)
        self.reporter.done(name, self.steps[name], "; ".join(detail))

    @property
    def seconds(self) -> float:
        """The seconds since the act began."""
        return round(time.monotonic() - self.started, 3)
