"""What Fairlead prints: status lines on standard error, results on standard output, and no secret on either.

Every line passes the redactor. Colour is used on terminals only, and never when `NO_COLOR` is set. Rich draws tables;
it is imported when there is one to draw, so that listing commands stays quick.
"""

import contextlib
import errno
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TextIO

from fairlead._redaction import MASK, Redactor, passwords_in, redact
from fairlead.exceptions import Error

__all__ = [
    "MASK",
    "Redactor",
    "annotation",
    "ask",
    "colour",
    "duration",
    "error",
    "guard_tracebacks",
    "live",
    "passwords_in",
    "printable",
    "redact",
    "redact_value",
    "result",
    "result_json",
    "reveal",
    "size",
    "status",
    "table",
    "trace",
]

_UNBOUNDED_WIDTH: Final = 1_000_000
#: What a terminal obeys: colours, the cursor, its title.
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]"
)
#: How writing fails when whoever read has gone.
_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET})
_COLOURS: Final = {"ok": "32", "fail": "31", "warn": "33", "note": "36", "dim": "2"}


def redact_value(value: Any) -> Any:
    """Return `value`, made of what JSON is made of, with every text in it masked; other types become masked text.

    Masking before rendering keeps the JSON whole, and finds secrets whose characters JSON would escape.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {redact(key) if isinstance(key, str) else key: redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    text = str(value)
    masked = redact(text)
    return value if masked == text and isinstance(value, int | float) else masked


def status(kind: str, text: str, *, stream: TextIO | None = None) -> None:
    """Print one status line on standard error; `kind` is ok, fail, warn, note or dim and gives mark and colour."""
    target = stream or sys.stderr
    mark = {"ok": "✓", "fail": "✗", "warn": "!", "note": "·", "dim": " "}[kind]
    line = f"{mark} {redact(text)}"
    _write(target, colour(line, kind, target) + "\n")


def error(message: str, *, problems: Sequence[str] = (), hint: str | None = None, output: str = "") -> None:
    """Print what went wrong, why, and what to do next, on standard error."""
    _write(sys.stderr, colour(f"error: {redact(message)}", "fail", sys.stderr) + "\n")
    for problem in problems:
        _write(sys.stderr, f"  - {redact(problem)}\n")
    if output.strip():
        _write(sys.stderr, "".join(f"  | {line}\n" for line in redact(output.strip()).splitlines()))
    if hint:
        _write(sys.stderr, f"  next: {redact(hint)}\n")


def report(problem: Error) -> None:
    """Print an expected error: what and why, every problem it lists, and what to do next."""
    error(
        problem.message,
        problems=getattr(problem, "problems", ()),
        hint=problem.hint,
        output=getattr(problem, "output", ""),
    )


def live(text: str) -> None:
    """Write on standard error without ending the line, for what is shown on a terminal while something goes on."""
    _write(sys.stderr, redact(text))


def ask(question: str) -> str:
    """Print a question on standard error and return the line that is typed."""
    _write(sys.stderr, f"{redact(question)} ")
    return sys.stdin.readline().strip()


def trace(error: BaseException) -> None:
    """Print the traceback of an error on standard error."""
    import traceback

    _write(sys.stderr, redact("".join(traceback.format_exception(error))))


def guard_tracebacks() -> None:
    """Have the errors that nobody expects, in every thread, printed without secrets as well."""
    import threading

    def show(kind: type[BaseException], error: BaseException | None, place: TracebackType | None) -> None:
        if error is None or issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error or kind(), place)
        else:
            trace(error.with_traceback(place))

    def show_of_thread(told: threading.ExceptHookArgs) -> None:
        if not issubclass(told.exc_type, SystemExit):
            show(told.exc_type, told.exc_value, told.exc_traceback)

    # Whoever has put something else there, a debugger for one, has a reason.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = show_of_thread


def result(text: str, *, end: str = "\n") -> None:
    """Print a result on standard output."""
    _write(sys.stdout, redact(text) + end)


def reveal(secret: str) -> None:
    """Print on standard output, unmasked, a secret that was asked for by name: for another program to read."""
    _write(sys.stdout, secret + "\n")


def result_json(value: Any) -> None:
    """Print a result on standard output as JSON, for a program to read."""
    _write(sys.stdout, json.dumps(redact_value(value), indent=2, ensure_ascii=False) + "\n")


def annotation(level: str, message: str, *, path: str, line: int, column: int = 0, title: str = "") -> str:
    """Render a workflow command of GitHub's, by which a finding shows beside its line; they count from 1."""

    def escape(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    properties = {"file": path, "line": line, "col": column or None, "title": title or None}
    told = ",".join(
        f"{name}={escape(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value is not None
    )
    return redact(f"::{level} {told}::{escape(redact(message))}")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, stream: TextIO | None = None) -> None:
    """Print a table on standard output, as wide as its content where the output is not a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    target = stream or sys.stdout
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, highlight=False)
    for heading in headings:
        drawn.add_column(redact(heading), overflow="fold")
    for row in rows:
        drawn.add_row(*(redact(cell) for cell in row))
    console = Console(
        file=target,
        width=None if target.isatty() else _UNBOUNDED_WIDTH,
        color_system="auto" if _colourful(target) else None,
        force_terminal=_colourful(target),
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as captured:
        console.print(drawn)
    _write(target, captured.get())


def colour(text: str, kind: str, stream: TextIO) -> str:
    """Wrap `text` in the colour of `kind` where `stream` is a terminal that wants colour."""
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if _colourful(stream) else text


def duration(seconds: float) -> str:
    """Render a time span for people: 340 ms, 4.2 s, 3 min 05 s."""
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def size(count: float) -> str:
    """Render a number of bytes for people: 812 B, 14.2 kB, 3.1 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _colourful(stream: TextIO) -> bool:
    import os

    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """Make a foreign text fit for a terminal: one line, without colours or anything else that a terminal obeys."""
    return "".join(letter if letter.isprintable() else " " for letter in _ESCAPES.sub("", text))


def _write(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        _abandon(stream)


def _abandon(stream: TextIO) -> None:
    """Print into the void from now on: who read has gone, and what is being done goes on to its end all the same."""
    import os

    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
