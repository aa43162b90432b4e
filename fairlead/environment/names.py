"""Finds what is wrong with an environment by the names of its variables alone."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fairlead.environment.description import Description, Problem

#: Names as long as this may be misspelt by one letter, and those twice as long by two.
_LONG_ENOUGH: Final = 5


def find_problems(described: Description, present: Mapping[str, bool], *, deployed: bool) -> tuple[Problem, ...]:
    """Return what is missing, empty, given by halves or misspelt.

    `present` are the names of an environment, with whether the variable has a value.
    """
    given = {name.upper() for name, has_value in present.items() if has_value}
    empty = {name.upper() for name in present} - given
    misspelt = {wrong: right for wrong, right in find_misspelt(described, present) if right not in given}
    problems = [
        Problem(one.name, "empty", "is empty, which counts as missing")
        if one.name in empty
        else Problem(one.name, "missing", "is missing")
        for one in described.variables
        if one.is_required(deployed=deployed) and one.name not in given
    ]
    problems += [
        Problem(wrong, "misspelt", f"is read by nothing; is {right} meant?") for wrong, right in misspelt.items()
    ]
    return (*problems, *_find_halves(described, given))


def find_notes(described: Description, present: Mapping[str, bool]) -> tuple[str, ...]:
    """Return what is odd about an environment and stops nothing, in a sentence each."""
    given = {name.upper() for name, has_value in present.items() if has_value}
    odd = [
        f"{name} is empty, which counts as absent"
        for name, has_value in present.items()
        if not has_value and (one := described.find(name)) is not None and one.required == "never"
    ]
    slips = [(wrong, right) for wrong, right in find_misspelt(described, present) if right in given]
    return (*odd, *(f"{wrong} is read by nothing, and {right} is set" for wrong, right in slips))


def find_misspelt(described: Description, present: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return the names that nothing reads and that look like one that is read, with that one."""
    known = [one.name for one in described.variables]
    for name in sorted(present):
        near = None if name.upper() in known else _nearest(name.upper(), known)
        if near is not None:
            yield name, near


def _find_halves(described: Description, given: set[str]) -> Iterator[Problem]:
    for names in described.together:
        there, absent = [name for name in names if name in given], [name for name in names if name not in given]
        if there:
            yield from (Problem(name, "partial", f"is missing; {there[0]} needs it") for name in absent)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is a slip away from: a letter wrong, missing, too many, or two in turn."""
    plain = re.sub("_", "", name)
    for one in known:
        if re.sub("_", "", one) == plain:
            return one
        allowed = 0 if len(one) < _LONG_ENOUGH else 1 if len(one) < 2 * _LONG_ENOUGH else 2
        if abs(len(one) - len(name)) <= allowed and _distance(name, one) <= allowed:
            return one
    return None


def _distance(left: str, right: str) -> int:
    """Count the slips between two names. Source: optimal string alignment, G. Navarro, ACM Computing Surveys 33.1."""
    before, above = list[int](), list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        current = [row]
        for column, other in enumerate(right, 1):
            cost = min(above[column] + 1, current[-1] + 1, above[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
