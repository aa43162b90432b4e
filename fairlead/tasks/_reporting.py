"""Shows a running deploy on the terminal, step by step."""

import sys
from typing import Final

from fairlead import _output

_BAR: Final = 24


class TerminalReporter:
    """Prints one line for each finished step, and the platform's log lines below the step that they belong to."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def step(self, name: str) -> None:
        """Say that a step begins; on a terminal only, where the line is replaced when it ends."""
        if self._live:
            _output.live(f"· {name} …\x1b[K\r")

    def done(self, name: str, seconds: float, detail: str) -> None:
        """Say that a step ended well."""
        self._clear()
        _output.status("ok", f"{name:<10} {_output.duration(seconds):>8}  {detail}".rstrip())

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        self._clear()
        _output.status("note", text)

    def log(self, line: str) -> None:
        """Pass on a line of the platform's log."""
        if not self._quiet:
            self._clear()
            _output.status("dim", f"  {line}")

    def uploaded(self, sent: int, total: int) -> None:
        """Show a bar of how much of the bundle was sent; on a terminal only."""
        if self._live and total:
            done = _BAR * sent // total
            bar = "█" * done + "░" * (_BAR - done)
            _output.live(f"· upload {bar} {_output.size(sent)} of {_output.size(total)}\x1b[K\r")

    def _clear(self) -> None:
        """Take away the line that a running step is shown in."""
        if self._live:
            _output.live("\r\x1b[K")
