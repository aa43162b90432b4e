"""Shows a running deploy on the terminal, step by step."""

import sys

from fairlead import _output


class TerminalReporter:
    """Prints one line for each finished step, and the platform's log lines below the step that they belong to."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def step(self, name: str) -> None:
        """Say that a step begins; on a terminal only, where the line is replaced when it ends."""
        if self._live:
            sys.stderr.write(f"· {name} …\r")
            sys.stderr.flush()

    def done(self, name: str, seconds: float, detail: str) -> None:
        """Say that a step ended well."""
        _output.status("ok", f"{name:<10} {_output.duration(seconds):>8}  {detail}".rstrip())

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        _output.status("note", text)

    def log(self, line: str) -> None:
        """Pass on a line of the platform's log."""
        if not self._quiet:
            _output.status("dim", f"  {line}")

    def uploaded(self, sent: int, total: int) -> None:
        """Say how many bytes of the bundle were sent; on a terminal only."""
        if self._live and total:
            sys.stderr.write(f"· upload {_output.size(sent)} of {_output.size(total)}\r")
            sys.stderr.flush()
