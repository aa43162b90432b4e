"""Finds the end-to-end suites of a repository: each file test_NAME.py of the folder is one, and nothing else names it.

A suite may say which place it has: `SUITE_ORDER = 1` in its own file. The first three are told by an exit code of
their own when they alone fail. Suites without a place come after those with one, by name.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead.exceptions import ConfigurationError

ORDER: Final = "SUITE_ORDER"
_PATTERN: Final = "test_*.py"


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite: its name, its file, and the place that it claims."""

    name: str
    file: Path
    order: int | None = None


def discover(directory: Path) -> tuple[Suite, ...]:
    """Return the suites in a folder, in their order; none where there is no such folder.

    Raises `ConfigurationError` where two claim one place, or where a place is none.
    """
    found = [_read(file) for file in sorted(directory.glob(_PATTERN)) if file.is_file()]
    places: dict[int, Suite] = {}
    problems = []
    for suite in found:
        if suite.order is None:
            continue
        if suite.order < 1:
            problems.append(f"{suite.file}: {ORDER} is {suite.order}; places count from 1")
        other = places.setdefault(suite.order, suite)
        if other is not suite:
            problems.append(f"{suite.file}: {ORDER} = {suite.order} is taken by {other.file.name}")
    if problems:
        raise ConfigurationError(
            "the end-to-end suites cannot be put in order", hint=f"change {ORDER}", problems=tuple(problems)
        )
    return tuple(sorted(found, key=lambda one: (one.order is None, one.order or 0, one.name)))


def _read(file: Path) -> Suite:
    name = file.stem.removeprefix("test_")
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return Suite(name, file)  # running it tells what is wrong with it
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == ORDER for target in targets):
            value = getattr(node, "value", None)
            if isinstance(value, ast.Constant) and type(value.value) is int:
                return Suite(name, file, value.value)
            raise ConfigurationError(f"{file}: {ORDER} must be a whole number, written out", hint=f"{ORDER} = 4")
    return Suite(name, file)
