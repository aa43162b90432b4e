"""The acts as Invoke's tasks: a `tasks.py` that imports `namespace` from here has them all."""

import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.tasks import Task

from fairlead._output import guard_tracebacks
from fairlead.tasks import load_acts
from fairlead.tasks._act import Act

__all__ = ["as_task", "namespace"]


class _Optional(Argument):
    """A positional argument that may be left out, which Invoke knows nothing of.

    Invoke fills a positional that has no value yet with the next word, and complains of one without a value when it
    wraps the task up. It looks at this one property for both, so the property looks at who asks.
    """

    @property
    def value(self) -> Any:
        """The word that was given; without one None, and once the task is wrapped up the default."""
        return self.default if self._value is None and _is_wrapping_up() else self._value

    @value.setter
    def value(self, given: str) -> None:
        self.set_value(given)


class _Task(Task[Any]):
    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the arguments that Invoke parses the command line with."""
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            if argument.positional and argument.default is not None:
                argument.__class__ = _Optional
            if argument.kind in {int, float}:
                argument.kind = _make_reader(argument.kind, str(argument.name))
        return arguments


def _make_reader(kind: type[int] | type[float], name: str) -> Callable[[str], float]:
    """Return what reads an option's number; Invoke by itself would end with a traceback at anything else."""

    def read(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise ParseError(f"--{name.replace('_', '-')} takes a number, not {text!r}") from None

    read.__name__ = kind.__name__
    return read


def _is_wrapping_up() -> bool:
    frame = sys._getframe(1)
    for _ in range(5):
        if frame.f_code.co_name == "complete_context":
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


def as_task(declared: Act) -> Task[Any]:
    """Make Invoke's task of an act, which ends with the act's exit code: `namespace.add_task(as_task(mine))`."""
    defaults = {option.name: option.default for option in declared.options}

    def run(_context: Context, **given: Any) -> None:
        guard_tracebacks()
        debug = logging.getLogger("invoke").isEnabledFor(logging.DEBUG)
        values = {name: defaults[name] if value is None else value for name, value in given.items()}
        if code := declared.run(values, debug=debug):
            raise Exit(code=code)

    # Invoke reads the options from the signature and expects its context first.
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [context, *inspect.signature(declared.body).parameters.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a documented hook of inspect
    run.__name__, run.__doc__, run.__module__ = declared.body.__name__, declared.doc, declared.body.__module__
    return _Task(
        run,
        help={option.flag: option.help for option in declared.options if option.help},
        positional=[option.name for option in declared.options if option.positional] or None,
    )


def _collect() -> Collection:
    collection = Collection()
    for name, declared in load_acts().items():
        group, _, _ = name.rpartition(".")
        if group and group not in collection.collections:
            collection.add_collection(Collection(group))
        (collection.collections[group] if group else collection).add_task(as_task(declared))
    return collection


namespace = _collect()
