"""Turns a gate's function into a program: expected errors become one message and an exit code."""

from collections.abc import Callable, Sequence

from fairlead import _output
from fairlead.exceptions import ConfigurationError, Error


def run(gate: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a gate and return its exit code: 0 passed, 1 failed, else the code of the error that kept it from judging."""
    try:
        return gate(arguments)
    except Error as error:
        problems = error.problems if isinstance(error, ConfigurationError) else ()
        output = getattr(error, "output", "")
        _output.error(error.message, problems=problems, hint=error.hint, output=output)
        return error.exit_code
