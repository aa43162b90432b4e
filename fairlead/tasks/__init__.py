"""The acts: each parses, calls and prints; what they do lies below.

Nothing heavy is imported here, and a module of acts only when one of its acts is asked for. `collection` makes Invoke's
tasks of them all, `program` runs one without Invoke.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from fairlead.tasks._act import Act, act

__all__ = ["Act", "act", "find_act", "load_acts"]

#: Which module declares the acts that stand alone, and which ones are a group of that name with all their `ACTS`.
_ALONE: Final[Mapping[str, str]] = {
    "serve": "serve",
    "migrate": "migrations",
    "build": "releases",
    "approve": "approve",
    "deploy": "deploys",
    "promote": "deploys",
    "rollback": "deploys",
    "releases": "releases",
    "verify": "verify",
}
_GROUPS: Final = ("config", "db", "env", "image", "migrations", "platform", "railway", "security")


def find_act(name: str) -> Act | None:
    """Return the act called `name` (`deploy`, `db.backup`), or None."""
    group, _, last = name.rpartition(".")
    if not group:
        return _alone(name) if name in _ALONE else None
    return next((one for one in _grouped(group) if one.name == last), None) if group in _GROUPS else None


def load_acts() -> Mapping[str, Act]:
    """Return every act by its name, those that stand alone first."""
    grouped = {f"{group}.{one.name}": one for group in _GROUPS for one in _grouped(group)}
    return {**{name: _alone(name) for name in _ALONE}, **grouped}


def _alone(name: str) -> Act:
    found: Act = getattr(import_module(f"fairlead.tasks.{_ALONE[name]}"), name)
    return found


def _grouped(group: str) -> tuple[Act, ...]:
    acts: tuple[Act, ...] = import_module(f"fairlead.tasks.{group}").ACTS
    return acts
