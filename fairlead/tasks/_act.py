"""What an act is: a function with options, a help text for each, and an exit code for every error.

An act is declared here and known to no command line: `fairlead.tasks.collection` makes Invoke's tasks of all of them,
`fairlead.tasks.program` reads the arguments of `python -m fairlead`. Only here does an error become an exit code.
"""

import contextlib
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fairlead import _output
from fairlead._imports import skip_command_line_of_httpx
from fairlead.exceptions import ApprovalError, ConfigurationError, Error

_INTERRUPTED, _TERMINATED = 130, 143


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever is under way is undone as at a Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of an act, by its Python name; a `default` of None means that it must be given."""

    name: str
    kind: type
    default: Any
    help: str
    positional: bool
    short: str

    @property
    def flag(self) -> str:
        """The option as it is typed, without its dashes in front."""
        return _typed(self.name)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is done to the world by name; `body` takes its options as keywords."""

    body: Callable[..., None]
    options: tuple[Option, ...]

    @property
    def name(self) -> str:
        """The name as it is typed, within its group."""
        return self.body.__name__.replace("_", "-")

    @property
    def doc(self) -> str:
        """What it does; the first line is one sentence."""
        return inspect.getdoc(self.body) or ""

    def run(self, values: Mapping[str, Any], *, debug: bool = False) -> int:
        """Run the act and return its exit code; an expected error is printed as what, why and next.

        With `debug` its traceback is printed as well, without the secrets that are known.
        """
        skip_command_line_of_httpx()
        try:
            with _ended_by_sigterm():
                self._refuse_flags(values)
                self.body(**values)
        except Error as error:
            if debug:
                _output.trace(error)
            _output.report(error)
            return error.exit_code
        except KeyboardInterrupt as interrupt:
            _output.error("interrupted")
            return _TERMINATED if isinstance(interrupt, _Terminated) else _INTERRUPTED
        return 0

    def _refuse_flags(self, values: Mapping[str, Any]) -> None:
        """Refuse a flag in a positional's place, which Invoke would pass as its value."""
        for option in self.options:
            value = values.get(option.name)
            if option.positional and isinstance(value, str) and value.startswith("-"):
                raise ConfigurationError(
                    f"{value} stands where the {option.flag} of {self.name} belongs",
                    hint="options are explained by: invoke --help, and the name of the act",
                )


def act(
    *,
    help: Mapping[str, str] | None = None,  # noqa: A002 - the word that Invoke has for it
    positional: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Act]:
    """Declare an act; its function takes the options, each with a default or among the `positional`.

    `help` has a text for each option, by its name as it is typed. Raises `TypeError` at what Invoke would let pass in
    silence: an `async def`, which would never run and still exit 0, and an `int` parameter without a default, which
    would arrive as a string.
    """
    texts = help or {}

    def declare(body: Callable[..., None]) -> Act:
        if inspect.iscoroutinefunction(body):
            raise TypeError(f"{body.__name__} is a coroutine function: Invoke would never run it")
        options: list[Option] = []
        parameters = inspect.signature(body).parameters.values()
        taken = {parameter.name for parameter in parameters}
        for parameter in parameters:
            required = parameter.default is inspect.Parameter.empty
            if required and parameter.annotation is int:
                raise TypeError(f"{body.__name__}: {parameter.name} needs a default, or Invoke passes a string")
            short = _short_of(parameter.name, taken)
            taken.add(short)
            options.append(
                Option(
                    parameter.name,
                    str if required else type(parameter.default),
                    None if required else parameter.default,
                    texts.get(_typed(parameter.name), ""),
                    required or parameter.name in positional,
                    short,
                )
            )
        return Act(body, tuple(options))

    return declare


def _typed(name: str) -> str:
    """Return an option's name as it is typed; one that is a word of Python's ends in an underscore there."""
    return name.rstrip("_").replace("_", "-")


def _short_of(name: str, taken: set[str]) -> str:
    """Return the letter that an option may be shortened to: its first that no other one has, as Invoke does it."""
    return next((letter for letter in name if letter != name and letter not in taken), "")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end an act as a Ctrl-C does, so that its clean-up runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def confirm(question: str, *, auto_confirm: bool) -> None:
    """Ask on the terminal and go on only at a yes; raise `ApprovalError` otherwise, and where nobody can be asked."""
    if auto_confirm:
        return
    if ask(f"{question} [y/N]", instead="--auto-confirm to say yes").lower() not in {"y", "yes"}:
        raise ApprovalError("not confirmed; nothing was changed")


def ask(question: str, *, instead: str = "--name") -> str:
    """Return the line typed on the terminal; raise `ApprovalError` naming `instead` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        plain = question.removesuffix(" [y/N]")
        raise ApprovalError(f"{plain} Nobody can be asked here.", hint=f"pass {instead}")
    return _output.ask(question)
