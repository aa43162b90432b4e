"""Judges the secrets that a scanner found, against the baseline and against the marks beside lines.

The baseline, `.secrets.baseline`, is in detect-secrets' format, so that its hook reads the same file; the entries of
other scanners stand in it too. An entry excuses a secret once a person has judged it: `"is_secret": false` and a
`"reason"`. A mark, `pragma: allowlist secret - why`, excuses what is found on its line, when it says why.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fairlead.exceptions import ConfigurationError
from fairlead.security.report import Finding, Scan
from fairlead.security.tracked import read_text

FILE: Final = ".secrets.baseline"
#: What the kinds of kingfisher's entries begin with.
KINGFISHER: Final = "kingfisher "

_MARK: Final = re.compile(r"pragma: ?allowlist( nextline)?[ -]secret\b\W*(.*)")
_ADVICE: Final = (
    "revoke it, take it out, and read it from the environment; for a false alarm say why beside it: "
    "`pragma: allowlist secret - why`"
)
_ADVICE_ON_HISTORY: Final = (
    "revoke it: whoever has the repository has it; for a false alarm, or once it is revoked, say so in the baseline"
)


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret that a scanner found: what kind, where, and a digest of it that the baseline knows it by.

    `copy` is the copy that the scanner read, empty where no line of it can be marked. `excuse` is the reason that its
    line is marked with, if it is. `past` is the object of the history that holds it; empty for what is in the tree.
    """

    kind: str
    path: str
    line: int
    digest: str
    copy: str = ""
    excuse: str = ""
    past: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What an entry of the baseline has in common with it: not the line, which moves."""
        return (self.path, self.kind, self.digest)


@dataclass(frozen=True, slots=True)
class Found:
    """What a scanner found, how much it looked at, in words and as a count of files, and what it did not look at."""

    looked_at: str
    secrets: tuple[Secret, ...] = ()
    gaps: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret of the baseline. It is `judged` when a person has said that it is none, and why.

    What is `past` was in a file once: the history holds it for ever, and the tree does not.
    """

    kind: str
    path: str
    digest: str
    reason: str = ""
    judged: bool = False
    past: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What it has in common with the secret that it excuses."""
        return (self.path, self.kind, self.digest)

    def to_secret(self) -> Secret:
        """Return the secret that it is about, as far as it is known: not where it stands."""
        return Secret(self.kind, self.path, 0, self.digest, past="past" if self.past else "")


def digest(secret: str) -> str:
    """Return what the baseline knows a secret by; SHA-1, since that is detect-secrets' format."""
    return hashlib.sha1(secret.encode(), usedforsecurity=False).hexdigest()


def load(root: Path) -> tuple[Entry, ...]:
    """Read the baseline's entries, none where there is no baseline; raise `ConfigurationError` on a broken one."""
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads((root / FILE).read_text("utf-8"))["results"]
        return tuple(
            Entry(
                str(one["type"]),
                path,
                str(one["hashed_secret"]),
                str(one.get("reason", "")).strip(),
                one.get("is_secret") is False,
                one.get("past") is True,
            )
            for path, entries in results.items()
            for one in entries
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{FILE} cannot be read: {type(error).__name__}: {error}"
        raise ConfigurationError(message, hint="make it anew: nox -s security -- --write-baseline") from None


def judge(
    secrets: Iterable[Secret], entries: Sequence[Entry], *, complete: bool, history: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for every secret that nothing excuses, and, of a `complete` scan, for every stale entry.

    `entries` are those of the scanner that found `secrets`, be it in the tree or in the history.
    """
    known = {entry.key for entry in entries if history or not entry.past}
    found = sorted(set(secrets), key=lambda one: (one.path, one.line, one.kind, one.past))
    # One file has many versions in the history, and one secret of it is told of once.
    new = {(one.key, 0 if history else one.line): one for one in found if not one.excuse and one.key not in known}
    findings = [_to_finding(one) for one in new.values()]
    present = {one.key for one in found if not one.excuse}
    faults: list[Finding] = []
    for entry in entries:
        if entry.past is not history:
            continue
        if entry.key in present and (not entry.judged or not entry.reason):
            message = f'{entry.kind} in {entry.path} is not judged: it needs "is_secret": false and a "reason"'
            faults.append(Finding("unjudged-baseline-entry", message, FILE, fingerprint=_fingerprint(entry.key)))
        elif entry.key not in present and complete:
            message = f"{entry.kind} in {entry.path} is not found any more: nox -s security -- --write-baseline"
            faults.append(Finding("stale-baseline-entry", message, FILE, fingerprint=_fingerprint(entry.key)))
    return (*findings, *faults)


def scan(
    root: Path, tool: str, find: Callable[[Path], Found], *, own: Callable[[Entry], bool], history: bool = False
) -> Scan:
    """Return what a tool finds below `root` and neither the baseline nor a mark excuses; `own` are its entries."""
    try:
        entries = [entry for entry in load(root) if own(entry)]
    except ConfigurationError as error:
        return Scan(tool, "nothing", gaps=(error.message,))
    found = find(root)
    findings = judge(found.secrets, entries, complete=not found.gaps, history=history)
    return Scan(tool, found.looked_at, findings, found.gaps)


def render(secrets: Iterable[Secret], entries: Sequence[Entry], settings: Mapping[str, Any]) -> str:
    """Render a baseline of `secrets`, with what people had said of them; `settings` are for detect-secrets' hook.

    What is new in it is not judged, and fails the gate until it is.
    """
    known = {entry.key: entry for entry in entries}
    # What is in the tree is in the history as well, and stands here once.
    unexcused = {one.key: one for one in sorted(secrets, key=lambda one: not one.past) if not one.excuse}
    results: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(unexcused):
        one, entry = unexcused[key], known.get(key)
        facts = {"type": one.kind, "filename": one.path, "hashed_secret": one.digest, "is_verified": False}
        line = {"line_number": one.line} if one.line else {}
        past = {"past": True} if one.past else {}
        said = {"is_secret": False} if entry is not None and entry.judged else {}  # nosec B105 - a judgement, no password
        reason = {"reason": entry.reason if entry is not None else ""}
        results.setdefault(one.path, []).append({**facts, **line, **past, **said, **reason})
    return json.dumps({**settings, "results": results}, indent=2, ensure_ascii=False) + "\n"


def find_excuse(lines: Sequence[str], line: int) -> str:
    """Return the reason that the mark on a line, or the mark for it on the line before, gives; empty without one."""
    for number, for_next in ((line, False), (line - 1, True)):
        mark = _MARK.search(lines[number - 1]) if 0 < number <= len(lines) else None
        if mark is not None and bool(mark[1]) is for_next:
            return mark[2].strip(" \t-*/>)")
    return ""


def excuse(folder: Path, secrets: Sequence[Secret]) -> tuple[Secret, ...]:
    """Return the secrets, each with the reason that its line, in its copy in `folder`, is marked with."""
    texts: dict[str, list[str]] = {"": []}
    for one in secrets:
        if one.copy not in texts:
            texts[one.copy] = re.split(r"\r\n|\r|\n", read_text((folder / one.copy).read_bytes()))
    return tuple(replace(one, excuse=find_excuse(texts[one.copy], one.line)) for one in secrets)


def _to_finding(secret: Secret) -> Finding:
    kind = secret.kind.removeprefix(KINGFISHER)
    rule = re.sub(r"[^a-z0-9./]+", "-", kind.lower()).strip("-")
    advice = _ADVICE_ON_HISTORY if secret.past else _ADVICE
    place = f"{secret.past[:10]} in the history" if secret.past else ""
    message = f"a secret of the kind {kind}: {advice}"
    return Finding(rule, message, secret.path, secret.line or None, place, fingerprint=_fingerprint(secret.key))


def _fingerprint(key: tuple[str, str, str]) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:12]
