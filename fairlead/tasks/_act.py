"""What every act shares: it is declared with `act`, and only here does an error become an exit code."""

import contextlib
import functools
import inspect
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from fairlead import _output
from fairlead.exceptions import ApprovalError, ConfigurationError, Error

_INTERRUPTED, _TERMINATED = 130, 143


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever is under way is undone as at a Ctrl-C."""


def act(
    *,
    help: Mapping[str, str] | None = None,  # noqa: A002 - the word that Invoke has for it
    positional: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Declare an Invoke task that ends with the exit code of its error, and prints what, why and next.

    The function takes the act's options and no Invoke context. `help` has a text for each option, `positional` the
    names that need no flag. Raises `TypeError` at what Invoke would let pass in silence: an `async def`, which would
    never run and still exit 0, and an `int` parameter without a default, which would arrive as a string.
    """

    def declare(body: Callable[..., None]) -> Task[Any]:
        return Task(_guarded(body, positional), help=dict(help or {}), positional=list(positional) or None)

    return declare


def _guarded(body: Callable[..., None], positional: Sequence[str] = ()) -> Callable[..., None]:
    if inspect.iscoroutinefunction(body):
        raise TypeError(f"{body.__name__} is a coroutine function: Invoke would never run it")
    options = list(inspect.signature(body).parameters.values())
    for option in options:
        if option.annotation is int and option.default is inspect.Parameter.empty:
            raise TypeError(f"{body.__name__}: {option.name} needs a default, or Invoke passes a string")

    @functools.wraps(body)
    def run(context: Context, *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - Invoke passes it, acts need none
        try:
            with _ended_by_sigterm():
                _refuse_flags(body, inspect.signature(body).bind(*args, **kwargs).arguments, positional)
                body(*args, **kwargs)
        except Error as error:
            if logging.getLogger("invoke").isEnabledFor(logging.DEBUG):
                raise
            report(error)
            raise Exit(code=error.exit_code) from None
        except KeyboardInterrupt as interrupt:
            _output.error("interrupted")
            raise Exit(code=_TERMINATED if isinstance(interrupt, _Terminated) else _INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read the output has gone; there is nobody left to tell.
            sys.stderr.close()
            raise Exit(code=0) from None

    # Invoke reads the options from the signature and expects its context first.
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]  # a documented hook of inspect
    return run


def _refuse_flags(body: Callable[..., None], values: Mapping[str, Any], positional: Sequence[str]) -> None:
    """Refuse a flag in a positional's place, which Invoke would pass as its value."""
    for name in positional:
        value = values.get(name)
        if isinstance(value, str) and value.startswith("-"):
            raise ConfigurationError(
                f"{value} stands where the {name} of {body.__name__} belongs",
                hint="options are explained by: invoke --help, and the name of the act",
            )


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


def report(error: Error) -> None:
    """Print an expected error: what and why, every problem it lists, and what to do next."""
    _output.error(
        error.message,
        problems=getattr(error, "problems", ()),
        hint=error.hint,
        output=getattr(error, "output", ""),
    )


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
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
