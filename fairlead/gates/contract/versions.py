"""Whether a version announces that clients break, by Semantic Versioning.

From 1.0.0 on, the major version does. Below it the first number that is not 0 does, as every resolver of the caret
operator reads it: 0.3.1 → 0.4.0, 0.0.4 → 0.0.5. What follows a pre-release of such a version (2.0.0-rc.1) may break
too, for that promised nothing yet; what follows one of another (1.4.0-rc.1) goes to the clients of 1.3.0, and may not.
A deprecation announces a removal, and does not excuse it: the removal still needs its version.

Source: https://semver.org, items 4, 7, 8, 9 and 11.
"""

import re
from typing import Final

from fairlead.exceptions import ConfigurationError

_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def may_break(old: str, new: str) -> bool:
    """Say whether a document of version `new` may break the clients of `old`; raise when either is no version."""
    (before, pre), (after, later) = _parse(old), _parse(new)
    told = _told(before)
    if pre and not any(before[told:]):
        return (after, _order(later)) > (before, _order(pre))
    return after[:told] > before[:told]


def next_breaking(old: str) -> str:
    """Return the lowest version that may break the clients of `old`."""
    (major, minor, patch), pre = _parse(old)
    if pre and not any((major, minor, patch)[_told((major, minor, patch)) :]):
        return f"{major}.{minor}.{patch}"
    if major:
        return f"{major + 1}.0.0"
    return f"0.{minor + 1}.0" if minor else f"0.0.{patch + 1}"


def _told(numbers: tuple[int, int, int]) -> int:
    """Count the numbers up to and with the first that is not 0: those that announce a break."""
    return next((place for place, number in enumerate(numbers) if number), 2) + 1


def _order(pre: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Return what orders pre-releases of one version: numbers before names, and the release itself last."""
    parts = pre.split(".")
    return not pre, [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _parse(version: str) -> tuple[tuple[int, int, int], str]:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ConfigurationError(
            f"the contract cannot be judged: {version!r} is not a version such as 1.4.0",
            hint="set `version` in [tool.fairlead] of pyproject.toml, then: nox -s contract -- --write",
        )
    major, minor, patch, pre = match.groups()
    return (int(major), int(minor), int(patch)), pre or ""
