"""The database that safety reads, in its schema 2.0.0: two files, made from the advisories that pip-audit is told of.

`insecure.json` lists by package what versions are affected, as specifiers; safety looks there whether a version is, and
then in `insecure_full.json` for the advisories that have the very same specifier.
"""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from fairlead.security.advisories import Advisory, Database, events_of, listed_versions, parts_about

SCHEMA: Final = "2.0.0"
_BRIEF: Final = "insecure.json"
_FULL: Final = "insecure_full.json"
#: Leaves nothing out, and names a pre-release: a specifier that names none need not hold for one.
_ANY: Final = ">=0.dev0"


def write(database: Database, folder: Path) -> None:
    """Write the advisories, without those that were withdrawn, and the control's where there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = database.with_controls()
    entries_by_name = {name: [_entry(one, name) for one in whole.of(name)] for name in whole.packages}
    full = {name: entries for name, entries in entries_by_name.items() if entries}
    brief = {name: sorted({text for entry in entries for text in entry["specs"]}) for name, entries in full.items()}
    for file, packages in ((_BRIEF, brief), (_FULL, full)):
        document = {"meta": {"schema_version": SCHEMA, "packages": {}}, "vulnerable_packages": packages}
        (folder / file).write_text(json.dumps(document), "utf-8")


def find_gaps(folder: Path, expected: Collection[str]) -> list[str]:
    """Return a line for each reason why what is in a folder is no database about the packages `expected`.

    Safety takes a database without packages for one that finds none of them vulnerable.
    """
    gaps: list[str] = []
    for file in (_BRIEF, _FULL):
        try:
            document: dict[str, Any] = json.loads((folder / file).read_text("utf-8"))
            schema, packages = document["meta"]["schema_version"], set(document["vulnerable_packages"])
        except FileNotFoundError:
            gaps.append(f"there is no {file} in its database")
        except (OSError, ValueError, KeyError, TypeError) as error:
            gaps.append(f"{file} of its database cannot be read: {type(error).__name__}: {error}")
        else:
            if schema != SCHEMA:
                gaps.append(f"{file} of its database has the schema {schema!r}, and {SCHEMA} is what it reads")
            if not packages:
                gaps.append(f"{file} of its database is empty")
            elif not packages & set(expected):
                gaps.append(f"{file} of its database is about none of the locked packages")
    return gaps


def specifiers(part: Mapping[str, Any]) -> list[str]:
    """Return specifiers that together say of which versions one part of an advisory is.

    They mean what OSV's events mean: 1.0rc1 is below 1.0, which `<1.0` alone would deny.
    """
    given = part.get("database_specific", {}).get("specifiers")
    if given is not None:
        return [",".join(filter(None, (_ANY, text))) for text in given]
    ranges = [text for events in events_of(part) for text in _intervals(events)]
    return ranges + [f"=={version}" for version in sorted(listed_versions(part))]


def _intervals(events: Sequence[Mapping[str, str]]) -> Iterator[str]:
    steps = sorted(((Version(text), kind) for event in events for kind, text in event.items()), key=lambda one: one[0])
    since: Version | None = None
    for at, kind in steps:
        if kind == "introduced":
            since = at if since is None else since
        elif since is not None and kind in {"fixed", "last_affected"}:
            without = f",!={at}" if kind == "fixed" else ""
            yield f"{_since(since)},<={at}{without}"
            since = None
    if since is not None:
        yield _since(since)


def _since(version: Version) -> str:
    return _ANY if version == Version("0") else f"{_ANY},>={version}"


def _entry(advisory: Advisory, name: str) -> dict[str, Any]:
    parts = parts_about(advisory, name)
    names = [advisory["id"], *(alias for alias in advisory.get("aliases") or [] if alias != advisory["id"])]
    return {
        "ids": [{"type": "pyup", "id": advisory["id"]}],
        "specs": sorted({text for part in parts for text in specifiers(part)}),
        "advisory": advisory.get("summary") or advisory.get("details") or advisory["id"],
        "fixed_versions": [str(version) for version in sorted(_find_fixed(parts))],
        "published_date": advisory.get("published"),
        "transitive": False,
        # The one field that safety hands on as it is, and so the one that can carry all names of an advisory.
        "vulnerability_resources": [f"https://osv.dev/vulnerability/{one}" for one in names],
    }


def _find_fixed(parts: Sequence[Mapping[str, Any]]) -> set[Version]:
    found: set[Version] = set()
    for event in (event for part in parts for events in events_of(part) for event in events if "fixed" in event):
        with contextlib.suppress(InvalidVersion):  # it is told as advice, and decides nothing where it cannot be read
            found.add(Version(event["fixed"]))
    return found
