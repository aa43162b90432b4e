"""Reads what an application says about its variables: fairlead-settings/1, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead.exceptions import CommandError

FORMAT: Final = "fairlead-settings/1"
_REQUIRED: Final = ("never", "deployed", "always")
_KINDS: Final = ("missing", "empty", "malformed", "placeholder", "partial")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable; `required` is never, deployed (everywhere but on a developer's machine) or always.

    `expected` says what its value should look like, `purpose` what it does, `read_by` names another program. One that
    is `shared` has the same value in all services of an environment.
    """

    name: str
    group: str
    expected: str
    purpose: str
    default: str | None
    secret: bool
    required: str
    example: str | None
    read_by: str | None
    shared: bool

    def is_required(self, *, deployed: bool) -> bool:
        """Say whether nothing starts without it."""
        return self.required == "always" or (deployed and self.required == "deployed")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the page, and the Markdown below it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """All that an application says about its variables.

    `groups` has the heading of each subject, `together` the variables that are all given, or none of them.
    """

    title: str
    introduction: str
    groups: Mapping[str, str]
    variables: tuple[Variable, ...]
    together: tuple[tuple[str, ...], ...]
    closing: tuple[Section, ...]

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name, whose capitals do not matter."""
        return next((one for one in self.variables if one.name == name.upper()), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one variable, and why.

    `kind` is missing, empty, malformed, placeholder, partial, misspelt or different.
    """

    variable: str
    kind: str
    reason: str


def read_description(text: str) -> Description:
    """Read a description; raise `CommandError` saying what of it is not as fairlead-settings/1 has it."""
    document = _Table(_parse(text), "")
    groups = {one.text("name"): one.line("title") for one in document.tables("groups")}
    variables = tuple(_read_variable(one, groups) for one in document.tables("variables"))
    names = [one.name for one in variables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _wrong(f"{twice[0]} is described twice")
    together = tuple(document.name_lists("together"))
    if strangers := [name for names in together for name in names if name not in {one.name for one in variables}]:
        raise _wrong(f"together names {strangers[0]}, which is not described")
    return Description(
        title=document.text("title"),
        introduction=document.text("introduction", ""),
        groups=groups,
        variables=variables,
        together=together,
        closing=tuple(Section(one.text("title"), one.text("text")) for one in document.tables("closing")),
    )


def read_problems(text: str, *, known: Description) -> tuple[Problem, ...]:
    """Read the problems that a check found with variables that are `known`; raise `CommandError` as above."""
    found = []
    for one in _Table(_parse(text), "").tables("problems", required=True):
        kind, name = one.text("kind"), one.text("variable")
        if kind not in _KINDS:
            raise _wrong(f"{one.path}.kind is none of {', '.join(_KINDS)}")
        if known.find(name) is None:
            raise _wrong(f"{one.path}.variable is not described")
        found.append(Problem(name, kind, one.text("reason")))
    return tuple(found)


def _read_variable(one: "_Table", groups: Mapping[str, str]) -> Variable:
    name, group, required = one.text("name"), one.text("group"), one.text("required", "never")
    if not name.isidentifier() or name != name.upper():
        raise _wrong(f"{one.path}.name is not the name of a variable in capitals")
    if group not in groups:
        raise _wrong(f"{one.path}.group is none of the groups")
    if required not in _REQUIRED:
        raise _wrong(f"{one.path}.required is none of {', '.join(_REQUIRED)}")
    return Variable(
        name=name,
        group=group,
        expected=one.line("expected"),
        purpose=one.line("purpose"),
        default=one.optional_line("default"),
        secret=one.flag("secret"),
        required=required,
        example=one.optional_line("example"),
        read_by=one.optional_line("read_by"),
        shared=one.flag("shared"),
    )


class _Table:
    """An object of the document, which says where it stands when something in it is wrong."""

    def __init__(self, value: Mapping[str, Any], path: str) -> None:
        self._value = value
        self.path = path

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value.get(key, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise _wrong(f"{self._at(key)} is not a text")
        return value

    def line(self, key: str) -> str:
        text = self.text(key)
        if not text.isprintable():
            raise _wrong(f"{self._at(key)} is not one line of text")
        return text

    def optional_line(self, key: str) -> str | None:
        return None if self._value.get(key) is None else self.line(key)

    def flag(self, key: str) -> bool:
        value = self._value.get(key, False)
        if not isinstance(value, bool):
            raise _wrong(f"{self._at(key)} is neither true nor false")
        return value

    def tables(self, key: str, *, required: bool = False) -> "list[_Table]":
        value = self._value.get(key, None if required else [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise _wrong(f"{self._at(key)} is not a list of objects")
        return [_Table(one, f"{self._at(key)}[{index}]") for index, one in enumerate(value)]

    def name_lists(self, key: str) -> list[tuple[str, ...]]:
        value = self._value.get(key, [])
        lists = isinstance(value, list) and all(isinstance(one, list) for one in value)
        if not lists or not all(isinstance(name, str) for one in value for name in one):
            raise _wrong(f"{self._at(key)} is not a list of lists of names")
        return [tuple(one) for one in value]

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _parse(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong("it is not JSON") from None
    if not isinstance(document, dict):
        raise _wrong("it is not an object")
    if document.get("format") != FORMAT:
        raise _wrong(f'its "format" is not "{FORMAT}"')
    return document


def _wrong(why: str) -> CommandError:
    # What was printed is not repeated: it may hold values.
    return CommandError(
        f"what env.describe printed cannot be understood: {why}",
        hint="docs/reference.md says what the command of [tool.fairlead.env] describe has to print",
    )
