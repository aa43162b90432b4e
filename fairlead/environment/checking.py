"""Puts together what is wrong with the variables of one service: by their names, and by their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fairlead._output import passwords_in, redact
from fairlead.environment.application import Application
from fairlead.environment.description import Description, Problem
from fairlead.environment.names import find_misspelt, find_notes, find_problems


@dataclass(frozen=True, slots=True)
class Service:
    """A service and its variables; None stands for a value that nobody can read."""

    name: str
    variables: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a service; `unread` names the variables whose value was not looked at."""

    service: str
    present: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    unread: tuple[str, ...]


def judge_all(
    services: Sequence[Service], *, described: Description, application: Application | None, deployed: bool
) -> tuple[Verdict, ...]:
    """Judge each service, as `judge` does, and with their values what they should have the same of."""
    different = compare(services, described) if application is not None else {}
    verdicts = (judge(service, described=described, application=application, deployed=deployed) for service in services)
    return tuple(replace(one, problems=(*one.problems, *different.get(one.service, ()))) for one in verdicts)


def judge(service: Service, *, described: Description, application: Application | None, deployed: bool) -> Verdict:
    """Find what is wrong with a service's variables; without an `application` to ask, by their names alone.

    With `deployed` the rules of a deployed release hold. Raises `CommandError` where the application cannot be asked.
    """
    present = {name: value != "" for name, value in service.variables.items()}
    values = {name: value for name, value in service.variables.items() if value}
    _mask(values, described)
    known = [name for name in sorted(present) if described.find(name) is not None]
    problems = {one.variable: one for one in find_problems(described, present, deployed=deployed)}
    unread = {name for name in known if present[name] and (application is None or name not in values)}
    if application is not None:
        excused = _find_excused({name.upper() for name in unread}, described)
        for one in application.check(values, described=described, deployed=deployed):
            if (one.variable, one.kind) not in excused:
                problems.setdefault(one.variable, one)
    return Verdict(
        service=service.name,
        present=tuple(known),
        problems=tuple(problems.values()),
        notes=find_notes(described, present),
        unread=tuple(sorted(unread)),
    )


def _find_excused(unread: set[str], described: Description) -> set[tuple[str, str]]:
    """Return what the application is not believed: a value that nobody can read is missing there and nowhere else.

    Whether a group is given by halves has been told by the names.
    """
    halved = {name for names in described.together if unread.intersection(names) for name in names}
    return {*((name, "missing") for name in unread), *((name, "partial") for name in halved)}


def compare(services: Sequence[Service], described: Description) -> Mapping[str, tuple[Problem, ...]]:
    """Return, by service, what differs from the first service that has it, of what all services have the same of."""
    found: dict[str, tuple[Problem, ...]] = {}
    for one in (variable for variable in described.variables if variable.shared):
        values = [(service.name, value) for service in services if (value := _value(service, one.name))]
        for name, value in values[1:]:
            if value != values[0][1]:
                problem = Problem(one.name, "different", f"is not the same as {values[0][0]} has")
                found[name] = (*found.get(name, ()), problem)
    return found


def _value(service: Service, name: str) -> str | None:
    return next((value for given, value in service.variables.items() if given.upper() == name), None)


def _mask(values: Mapping[str, str], described: Description) -> None:
    """Have the secrets among the values masked, also those under a name that is misspelt."""
    secrets = {one.name for one in described.variables if one.secret}
    misspelt = {wrong for wrong, _ in find_misspelt(described, values)}
    for name, value in values.items():
        if name.upper() in secrets or name in misspelt:
            for secret in (value, *passwords_in(value)):
                redact.register(secret)
