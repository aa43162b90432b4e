"""Becomes a process of the Procfile without a shell: `python -m fairlead.image.start web`.

A container then needs no shell, and its first process is the service itself, which gets every signal.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fairlead import _output, _procfile
from fairlead.exceptions import CommandError, ConfigurationError, Error

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<given>:-(?P<default>[^{}$]*))?\})"
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
#: What only a shell can do; the words are split already, so that a quoted one counts too.
_SHELL: Final = re.compile(r"[`;<>|&()*?~$]|\{|\}")


def make_command(line: str, environ: Mapping[str, str]) -> list[str]:
    """Return the arguments of a line of the Procfile, `$NAME`, `${NAME}` and `${NAME:-default}` filled in.

    Raises `ConfigurationError` where the line needs more of a shell than that, and naming every variable that is
    neither set nor has a default.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigurationError(f"{_procfile.FILE}: {line!r} cannot be split into words: {error}") from None
    beyond = [word for word in words if _SHELL.search(_VARIABLE.sub("", word))]
    if not words or beyond or _ASSIGNMENT.match(words[0]):
        raise ConfigurationError(
            f"{_procfile.FILE}: {line!r} needs a shell, and an image is started without one",
            hint="one command with its arguments; variables as $NAME, ${NAME} or ${NAME:-default}",
        )
    missing: list[str] = []
    command = [_VARIABLE.sub(lambda match: _fill(match, environ, missing), word) for word in words]
    if missing:
        problems = tuple(f"{name} is not set and has no default" for name in dict.fromkeys(missing))
        raise ConfigurationError(f"{_procfile.FILE}: {line!r} cannot be started", problems=problems)
    return command


def _fill(match: re.Match[str], environ: Mapping[str, str], missing: list[str]) -> str:
    name = match["plain"] or match["braced"]
    value = environ.get(name, "")
    if value or (name in environ and not match["given"]):
        return value
    if match["given"]:
        return match["default"] or ""
    missing.append(name)
    return ""


def find_line(text: str, kind: str) -> str:
    """Return the command of one kind of process; raise `ConfigurationError` where the Procfile has none."""
    processes = _procfile.parse(text)
    if kind not in processes:
        known = ", ".join(sorted(processes)) or "none"
        raise ConfigurationError(f"{_procfile.FILE} has no process {kind!r}; it has: {known}")
    return processes[kind]


def main(arguments: Sequence[str]) -> int:
    """Become the process, or say why that is impossible and return the exit code."""
    try:
        if len(arguments) != 1:
            raise ConfigurationError("usage: python -m fairlead.image.start KIND, a kind of process in the Procfile")
        try:
            text = Path(_procfile.FILE).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{_procfile.FILE} cannot be read in {Path.cwd()}: {error}") from None
        command = make_command(find_line(text, arguments[0]), os.environ)
        _become(command)
    except Error as error:
        _output.error(error.message, problems=getattr(error, "problems", ()), hint=error.hint)
        return error.exit_code
    return 0


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606 # nosec B606 - no shell is the point of it
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be started: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
