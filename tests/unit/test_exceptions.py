"""The error tree: what its docstring draws is what its classes are, and every exit code means one thing."""

import inspect
import re

import pytest

from fairlead import exceptions

#: The exit codes of the design's table, as users' scripts and CI jobs rely on them.
EXIT_CODES = {
    "Error": 1,
    "ConfigurationError": 10,
    "MigrationError": 11,
    "PlatformError": 12,
    "AuthenticationError": 12,
    "RateLimitError": 12,
    "ResponseError": 12,
    "DeadlineError": 12,
    "DeployError": 13,
    "UnsafeDeployError": 14,
    "LockedError": 15,
    "ApprovalError": 16,
    "PreflightError": 17,
    "CommandError": 18,
    "VerificationError": 4,
    "FirstSuiteError": 1,
    "SecondSuiteError": 2,
    "ThirdSuiteError": 3,
    "InconclusiveError": 5,
}
CLASSES = {
    name: thing
    for name, thing in vars(exceptions).items()
    if inspect.isclass(thing) and issubclass(thing, Exception) and thing.__module__ == exceptions.__name__
}
_LINE = re.compile(r"^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+Error|Error)\b\s+(?P<code>\d+)?", re.MULTILINE)


def drawn_tree() -> dict[str, tuple[str | None, int]]:
    """Read the docstring's drawing: each class with its parent and its exit code, its own or its parent's."""
    tree: dict[str, tuple[str | None, int]] = {}
    above: list[str] = []
    for line in (exceptions.__doc__ or "").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        depth = 0 if not line.startswith(("├", "└", "│", " ")) else len(found["indent"]) // 4 + 1
        parent = above[depth - 1] if depth else None
        inherited = tree[parent][1] if parent else 0
        tree[found["name"]] = (parent, int(found["code"]) if found["code"] else inherited)
        above[depth:] = [found["name"]]
    return tree


def test_drawn_tree_is_the_tree_of_the_classes() -> None:
    actual = {
        name: (error.__bases__[0].__name__ if error is not exceptions.Error else None, error.exit_code)
        for name, error in CLASSES.items()
    }
    assert drawn_tree() == actual


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_exit_code_is_the_documented_one(name: str) -> None:
    assert CLASSES[name].exit_code == EXIT_CODES[name]


def test_families_never_share_an_exit_code() -> None:
    # The root's own code is the one of what was not expected; `verify` has it for its first suite.
    codes = [error.exit_code for name, error in CLASSES.items() if "exit_code" in vars(error) and name != "Error"]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_carries_message_and_hint(name: str) -> None:
    error = CLASSES[name]("the disk is full", hint="free some space")
    assert (str(error), error.message, error.hint) == ("the disk is full", "the disk is full", "free some space")
    assert CLASSES[name]("the disk is full").hint is None


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_has_a_docstring_of_its_own(name: str) -> None:
    assert (CLASSES[name].__doc__ or "").strip().endswith(".")


@pytest.mark.parametrize("name", ["ConfigurationError", "PreflightError"])
def test_errors_that_collect_list_every_problem(name: str) -> None:
    assert CLASSES[name]("two problems", problems=("one", "two")).problems == ("one", "two")
    assert CLASSES[name]("none").problems == ()


def test_command_error_keeps_the_end_of_the_output() -> None:
    assert exceptions.CommandError("it failed", output="last words").output == "last words"
    assert exceptions.CommandError("it failed").output == ""


def test_rate_limit_error_says_how_long_to_wait() -> None:
    assert exceptions.RateLimitError("too often", retry_after=2.5).retry_after == 2.5
    assert exceptions.RateLimitError("too often").retry_after is None
