"""The process of a project's own environment in which its Alembic runs, one command after the other.

Starting Python and importing Alembic takes longer than most commands. A process in which a command failed is ended, and
the next command has a new one.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from types import TracebackType
from typing import Any, Final, Self

from fairlead import _process

_PROGRAM: Final = Path(__file__).with_name("_alembic_program.py")
_LOOK_EVERY: Final = 0.01
_GRACE: Final = 2.0

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: its exit code, the lines of its report, and what it printed."""

    code: int
    report: tuple[Line, ...]
    output: str


class AlembicProcess:
    """Runs commands with `python` in `folder`; `environment` is what it is given beside the address of its report.

    Raises `CommandError` when that Python cannot be started. Used as a context manager, it ends with its block.
    """

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._python = python
        self._folder = folder
        self._environment = environment
        self._child: Popen[bytes] | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="fairlead-alembic-")
        self._report = Path(self._scratch.name) / "report"
        self._output = Path(self._scratch.name) / "output"
        self._told = self._said = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()
        self._scratch.cleanup()

    def run(self, command: Sequence[str], *, on_line: Callable[[Line], None] | None = None) -> Ended:
        """Run a command to its end; `on_line` is told each line of its report as it comes."""
        child = self._child or self._start()
        assert child.stdin is not None  # noqa: S101 - it was asked for  # nosec B101
        lines: list[Line] = []
        code: int | None = None
        with self._report.open(encoding="utf-8") as stream:
            stream.seek(self._told)
            with contextlib.suppress(BrokenPipeError):  # it ended already, and its report says why
                child.stdin.write(json.dumps(list(command)).encode() + b"\n")
                child.stdin.flush()
            rest = ""
            while code is None:
                ended = child.poll()
                *whole, rest = (rest + stream.read()).split("\n")
                for line in map(json.loads, whole):
                    code = line.get("ended", code)
                    lines += [line] if "ended" not in line else []
                    if on_line is not None:
                        on_line(line)
                if code is None:
                    code = ended
                    time.sleep(_LOOK_EVERY)
            self._told = stream.tell()
        with self._output.open("rb") as output:
            output.seek(self._said)
            said = output.read().decode(errors="replace")
            self._said = output.tell()
        if code != 0:
            self._end()
        return Ended(code, tuple(lines), said)

    def _start(self) -> "Popen[bytes]":
        self._report.touch()
        with self._output.open("ab") as output:
            self._child = _process.spawn(
                [self._python, _PROGRAM],
                cwd=self._folder,
                env={**self._environment, "FAIRLEAD_ALEMBIC_REPORT": str(self._report)},
                output=output,
                stdin=PIPE,
            )
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.close()
            _process.terminate(child, grace=_GRACE)
