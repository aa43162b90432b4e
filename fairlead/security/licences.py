"""Tells which licence each locked package is under, from its installed metadata, and whether that is allowed.

Only what a package says of itself at the very version that is locked counts. What is not installed, or at another
version, was not looked at: that is a gap. Where a package names several licences without saying how they go together,
all of them must be allowed.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import distributions
from typing import Final

from fairlead._locks import LOCKS, normalise
from fairlead._sections import SecurityConfig
from fairlead.security.locked import Locked
from fairlead.security.report import Finding, Scan

#: What a release installs, and what a person does; the tools of the gates go no further than the gates.
SHIPPED: Final = LOCKS[:2]
_FILE: Final = "pyproject.toml"
#: A longer licence field holds the licence's text.
_LONGEST_NAME: Final = 60

_NAMES: Final[Mapping[str, str]] = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu affero general public license v3 or later (agplv3+)": "AGPL-3.0-or-later",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later",
    "mit license": "MIT",
    "mit no attribution license (mit-0)": "MIT-0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the mit license": "MIT",
    "the unlicense (unlicense)": "Unlicense",
    "zlib/libpng license": "Zlib",
}
#: Classifiers that name a family: they say nothing alone, and nothing more beside a member of it.
_FAMILIES: Final[Mapping[str, str]] = {
    "bsd license": "BSD-",
    "gnu general public license (gpl)": "GPL-",
    "gnu library or lesser general public license (lgpl)": "LGPL-",
}


@dataclass(frozen=True, slots=True)
class Licence:
    """What an installed package says: its version, its licence in SPDX's terms ("" where unknown), and in its words."""

    version: str
    expression: str
    words: str = ""


def canonical(expression: str) -> str:
    """Return an SPDX expression in its one spelling; empty where it is none."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression:
        return ""


def permits(expression: str, allowed: Collection[str]) -> bool:
    """Tell whether the licences in `allowed` are enough for an SPDX expression.

    An `OR` needs one of its sides and an `AND` both. What comes after a `WITH` only permits more than the licence does.
    """
    return _any_of(deque(re.findall(r"[()]|[^\s()]+", expression)), allowed)


def read(metadata: str) -> Licence:
    """Read a package's METADATA: `License-Expression`, or else the `License` field together with the classifiers."""
    headers = HeaderParser().parsestr(metadata)
    version = str(headers.get("Version", ""))
    if expression := str(headers.get("License-Expression", "")).strip():
        return Licence(version, canonical(expression), expression)
    name = str(headers.get("License", "")).strip()
    if name.upper() == "UNKNOWN" or len(name) > _LONGEST_NAME or "\n" in name:
        name = ""
    classifiers = [
        str(one).rpartition("::")[2].strip()
        for one in headers.get_all("Classifier", [])
        if str(one).startswith("License ::") and not str(one).endswith(":: OSI Approved")
    ]
    words = "; ".join(dict.fromkeys([*([name] if name else []), *classifiers]))
    return Licence(version, _together(name, classifiers), words)


def collect(path: Sequence[str] | None = None) -> dict[str, Licence]:
    """Return what every package installed in the folders `path` says, by its normalised name; default: `sys.path`."""
    found: dict[str, Licence] = {}
    for installed in distributions() if path is None else distributions(path=list(path)):
        text = installed.read_text("METADATA")
        name = HeaderParser().parsestr(text or "").get("Name")
        if text and name and normalise(str(name)) not in found:
            found[normalise(str(name))] = read(text)
    return found


def judge(seen: Mapping[str, Licence], *, expected: Mapping[str, Locked], accepted: SecurityConfig) -> Scan:
    """Hold what packages say against what is accepted.

    An exception begins with the licence that it is for (`"LGPL-3.0-only: why"`) and holds for that one only; where a
    package's own words say nothing, it says what somebody found out.
    """
    gaps = [f"security.licences: {one!r} is no SPDX identifier" for one in accepted.licences if not canonical(one)]
    allowed = {canonical(one) for one in accepted.licences} - {""}
    exceptions = {normalise(name): reason for name, reason in accepted.licence_exceptions.items()}
    if not allowed:
        # Without a list everything would be found fault with, which says less than this.
        return Scan("licences", "nothing", gaps=(*gaps, "security.licences names no licence that is allowed"))
    gaps += [] if expected else ["the locks hold no package"]
    needed: set[str] = set()
    findings: list[Finding] = []
    for name, pin in sorted(expected.items()):
        if gap := unseen(seen.get(name), pin):
            gaps.append(gap)
            needed.add(name)
        elif not permits(seen[name].expression, allowed):
            needed.add(name)
            findings += _refuse(pin, seen[name], exceptions.get(name))
    findings += [
        Finding("unused-licence-exception", f"the exception for {name} is needed by nothing: take it out", _FILE)
        for name in sorted(set(exceptions) - needed)
    ]
    count = sum(not unseen(seen.get(name), pin) for name, pin in expected.items())
    return Scan("licences", f"{count} of {len(expected)} packages seen", tuple(findings), tuple(gaps))


def scan(
    locked: Mapping[str, Locked],
    accepted: SecurityConfig,
    *,
    locks: Collection[str] = SHIPPED,
    path: Sequence[str] | None = None,
) -> Scan:
    """Judge the licences of what is locked in `locks`, as it is installed in `path` (default: this environment)."""
    expected = {name: pin for name, pin in locked.items() if pin.lock in locks}
    return judge(collect(path), expected=expected, accepted=accepted)


def unseen(licence: Licence | None, pin: Locked) -> str:
    """Say why the licence of a locked package could not be looked at; empty where it could."""
    from packaging.version import InvalidVersion, Version

    if licence is None:
        return f"{pin}: is not installed here, so what it says of its licence cannot be read"
    try:
        same = Version(licence.version) == Version(pin.version)
    except InvalidVersion:
        same = False
    return "" if same else f"{pin}: {licence.version or 'an unknown version'} is installed here in its place"


def concluded(reason: str) -> str:
    """Return the licence that an exception begins with; empty where it names none."""
    return canonical(reason.partition(":")[0].strip()) if ":" in reason else ""


def _refuse(pin: Locked, licence: Licence, reason: str | None) -> Iterable[Finding]:
    """Yield what is wrong with a licence that is not allowed, unless the exception is for it."""
    stated = licence.expression or f"{licence.words!r}, which is no licence by SPDX's names"
    if not licence.words:
        stated = "nothing"
    if reason is not None and not concluded(reason):
        message = f"its exception must begin with the licence that it is for, as in 'LGPL-3.0-only: {reason}'"
        yield Finding("licence-exception", message, _FILE, subject=str(pin))
    elif reason is not None and licence.expression and concluded(reason) != licence.expression:
        message = f"its licence is {stated}, and its exception is for {concluded(reason)}"
        yield Finding("disallowed-licence", message, pin.lock, pin.line, str(pin))
    elif reason is None and licence.expression:
        message = f"its licence is {stated}: allow it in security.licences, or the package in licence-exceptions"
        yield Finding("disallowed-licence", message, pin.lock, pin.line, str(pin))
    elif reason is None:
        message = f"of its licence it says {stated}: read it, and write what it is into licence-exceptions"
        yield Finding("unknown-licence", message, pin.lock, pin.line, str(pin))


def _together(name: str, classifiers: Sequence[str]) -> str:
    """Join what the older fields say into one expression; empty where any of it is not understood."""
    stated = [_spdx(name)] if name else []
    for classifier in classifiers:
        family = _FAMILIES.get(classifier.lower())
        if family and any(part.startswith(family) for part in _parts(stated)):
            continue
        expression = _spdx(classifier)
        if expression not in _parts(stated):
            stated.append(expression)
    if not stated or "" in stated:
        return ""
    return canonical(" AND ".join(f"({one})" if " OR " in one else one for one in stated)) if stated[1:] else stated[0]


def _spdx(words: str) -> str:
    return canonical(words) or _NAMES.get(" ".join(words.lower().split()), "")


def _parts(expressions: Sequence[str]) -> set[str]:
    return {part for one in expressions for part in re.findall(r"[^\s()]+", one)}


def _any_of(tokens: deque[str], allowed: Collection[str]) -> bool:
    met = _all_of(tokens, allowed)
    while tokens and tokens[0] == "OR":
        tokens.popleft()
        met = _all_of(tokens, allowed) or met
    return met


def _all_of(tokens: deque[str], allowed: Collection[str]) -> bool:
    met = _one_of(tokens, allowed)
    while tokens and tokens[0] == "AND":
        tokens.popleft()
        met = _one_of(tokens, allowed) and met
    return met


def _one_of(tokens: deque[str], allowed: Collection[str]) -> bool:
    if not tokens:
        return False
    name = tokens.popleft()
    if name == "(":
        met = _any_of(tokens, allowed)
        tokens.popleft()
        return met
    if tokens and tokens[0] == "WITH":
        tokens.popleft()
        return f"{name} WITH {tokens.popleft()}" in allowed or name in allowed
    return name in allowed
