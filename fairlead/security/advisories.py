"""Reads advisories from files or from a service, and serves them on loopback as OSV does.

Two kinds of file are read: OSV's own JSON (one advisory, or a list of them, in each `.json`), and one package a line in
`.jsonl` or `.jsonl.xz`: `{"name": …, "vulns": [{"id", "aliases", "summary", "published", "specs", "fixed"}]}`.
"""

import concurrent.futures
import contextlib
import json
import lzma
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fairlead import _http
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.security import dependencies

if TYPE_CHECKING:
    import httpx

Advisory = Mapping[str, Any]

#: The one major version of OSV's schema that tools read; they pass over another one without failing.
_SCHEMA: Final = 1
_ECOSYSTEM: Final = "PyPI"
_AT_ONCE: Final = 8
_SECONDS_PER_REQUEST: Final = 15.0


class Database:
    """Advisories by package; answers which of them affect one version of it.

    `unreadable` names, by package, the advisories whose versions are not Python's, or which name none: what they affect
    cannot be said.
    """

    def __init__(self, advisories: Sequence[Advisory]) -> None:
        self._by_package: dict[str, list[Advisory]] = {}
        self.unreadable: dict[str, list[str]] = {}
        for advisory in advisories:
            for name in {canonicalize_name(part["package"]["name"]) for part in _of_pypi(advisory)}:
                if advisory.get("withdrawn") or _is_readable(parts_about(advisory, name)):
                    self._by_package.setdefault(name, []).append(advisory)
                else:
                    self.unreadable.setdefault(name, []).append(advisory["id"])

    def __len__(self) -> int:
        return len({advisory["id"] for advisories in self._by_package.values() for advisory in advisories})

    @property
    def packages(self) -> list[str]:
        """The packages that have an advisory which can be read, by their normalised names."""
        return sorted(self._by_package)

    def with_controls(self) -> "Database":
        """Return a database that knows of the controls as well."""
        whole = Database([])
        whole.unreadable = self.unreadable
        whole._by_package = {name: list(advisories) for name, advisories in self._by_package.items()}
        for control in dependencies.CONTROLS:
            if not self.affecting(control.name, control.version):
                whole._by_package.setdefault(control.name, []).append(dependencies.advisory_of(control))
        return whole

    def of(self, name: str) -> list[Advisory]:
        """Return the advisories of a package that are not withdrawn, whatever version they affect."""
        return [one for one in self._by_package.get(canonicalize_name(name), []) if not one.get("withdrawn")]

    def find_unreadable(self, expected: Collection[str]) -> list[str]:
        """Return a line for each advisory of the packages `expected` that cannot be applied."""
        return [
            f"{name}: its advisory {advisory} names versions that cannot be read"
            for name in sorted(set(expected) & set(self.unreadable))
            for advisory in self.unreadable[name]
        ]

    def find_gaps(self, expected: Collection[str]) -> list[str]:
        """Return a line for each thing that a database which was not made for the packages `expected` does not say."""
        known = set(self._by_package) | set(self.unreadable)
        gaps = [] if known & set(expected) else ["the advisories are about none of the locked packages"]
        return [*gaps, *self.find_unreadable(expected)]

    def affecting(self, name: str, version: str) -> list[Advisory]:
        """Return the advisories, not withdrawn, that affect one version of a package."""
        wanted, canonical = Version(version), canonicalize_name(name)
        return [
            advisory
            for advisory in self.of(name)
            if any(_affects(part, wanted) for part in parts_about(advisory, canonical))
        ]


def load(path: Path) -> Database:
    """Read a file of advisories, or every such file in a folder.

    Raises `ConfigurationError` when there is none or one cannot be read: half a database proves nothing.
    """
    files = _find_files(path) if path.is_dir() else [path]
    advisories: list[Advisory] = []
    for file in files:
        try:
            found = list(_read_file(file))
            for advisory in found:
                _check_shape(advisory)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, lzma.LZMAError) as error:
            message = f"{file} is not a file of advisories: {type(error).__name__}: {error}"
            raise ConfigurationError(message, hint="OSV's JSON, or .jsonl[.xz] with one package a line") from None
        advisories += found
    if not advisories:
        raise ConfigurationError(f"there are no advisories in {path}", hint="name a file or a folder that holds some")
    return Database(advisories)


def fetch(names: Collection[str], *, url: str) -> Database:
    """Ask the OSV service at `url` for every advisory of each package; the database holds the control's as well.

    Raises `InconclusiveError` when it does not answer, answers with something else, or does not know the control.
    """
    import httpx

    asked = sorted({*names, *(one.name for one in dependencies.CONTROLS)})
    with (
        _http.make_client(url, timeout=_SECONDS_PER_REQUEST) as client,
        concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        try:
            found = list(pool.map(lambda name: _fetch_package(client, url, name), asked))
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            pool.shutdown(cancel_futures=True)
            message = f"asking {url} for advisories failed: {type(error).__name__}: {error}"
            raise InconclusiveError(message) from None
    database = Database([advisory for advisories in found for advisory in advisories])
    for control in dependencies.CONTROLS:
        if not database.affecting(control.name, control.version):
            raise InconclusiveError(f"{url} knows no advisory of {control}, which is known to be vulnerable")
    return database


def parts_about(advisory: Advisory, name: str) -> list[Mapping[str, Any]]:
    """Return the parts of an advisory that say which versions of one package, by its normalised name, are affected."""
    return [part for part in _of_pypi(advisory) if canonicalize_name(part["package"]["name"]) == name]


@contextlib.contextmanager
def serve(database: Database) -> Iterator[str]:
    """Answer OSV's `/v1/query` on a free port of loopback; yields the address to ask.

    Without a version, every advisory of the package is the answer. The controls are known even where `database` does
    not know them.
    """
    whole = database.with_controls()

    class Handler(BaseHTTPRequestHandler):
        # One connection for all that is asked, and no wait between the two parts of an answer.
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            try:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name, version = query["package"]["name"], query.get("version")
                found = whole.of(name) if version is None else whole.affecting(name, version)
                status, answer = 200, json.dumps({"vulns": found} if found else {})
            except (ValueError, KeyError, TypeError) as error:
                status, answer = 400, json.dumps({"message": str(error)})
                self.close_connection = True  # what is left of the question is no next one
            body = answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep the terminal for the findings."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _fetch_package(client: "httpx.Client", url: str, name: str) -> list[Advisory]:
    found: list[Advisory] = []
    query: dict[str, Any] = {"package": {"name": name, "ecosystem": "PyPI"}}
    while True:
        response = client.post(url, json=query)
        response.raise_for_status()
        answer = response.json()
        for advisory in answer.get("vulns", []):
            _check_shape(advisory)
            found.append(advisory)
        if not answer.get("next_page_token"):
            return found
        query["page_token"] = answer["next_page_token"]


def _find_files(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from None

    found: list[Path] = []
    # `rglob` passes over a folder that may not be read, and over a link to one.
    for place, folders, names in os.walk(folder, onerror=fail):
        for link in (Path(place) / name for name in folders if (Path(place) / name).is_symlink()):
            raise ConfigurationError(f"{link} is a link to a folder, which is not followed", hint="name that folder")
        found += (file for file in (Path(place) / name for name in names) if _kind(file))
    return sorted(found)


def _kind(file: Path) -> bool:
    return file.name.endswith((".json", ".jsonl", ".jsonl.xz")) and file.is_file()


def _read_file(file: Path) -> Iterator[Advisory]:
    if file.name.endswith(".json"):
        content = json.loads(file.read_text("utf-8"))
        yield from content if isinstance(content, list) else [content]
        return
    with lzma.open(file, "rt", encoding="utf-8") if file.suffix == ".xz" else file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                package = json.loads(line)
                yield from (_from_specs(package["name"], vulnerability) for vulnerability in package["vulns"])


def _from_specs(name: str, vulnerability: Mapping[str, Any]) -> Advisory:
    events = [{"introduced": "0"}, *({"fixed": version} for version in vulnerability["fixed"])]
    affected = {
        "package": {"name": canonicalize_name(name), "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
        "database_specific": {"specifiers": vulnerability["specs"]},
    }
    return {
        "id": vulnerability["id"],
        "aliases": vulnerability.get("aliases", []),
        "summary": vulnerability.get("summary") or vulnerability["id"],
        "published": vulnerability.get("published"),
        "affected": [affected],
    }


def _check_shape(advisory: Advisory) -> None:
    if not isinstance(advisory["id"], str):
        raise TypeError("an advisory's id must be a text")
    schema = str(advisory.get("schema_version", _SCHEMA))
    if schema.split(".", maxsplit=1)[0] != str(_SCHEMA):
        raise ValueError(f"{advisory['id']} has version {schema} of OSV's schema, and {_SCHEMA} is what tools read")
    if (withdrawn := advisory.get("withdrawn")) is not None and _moment(withdrawn) > datetime.now(UTC):
        raise ValueError(f"{advisory['id']} is withdrawn {withdrawn}, which is not yet")
    for part in advisory["affected"]:
        # Of a project that is on no index, only its commits are told.
        package = part.get("package", {"name": "", "ecosystem": ""})
        canonicalize_name(package["name"])
        if (ecosystem := str(package["ecosystem"])) != _ECOSYSTEM and ecosystem.casefold() == _ECOSYSTEM.casefold():
            raise ValueError(f"{advisory['id']} is about {ecosystem!r}, which no tool takes for {_ECOSYSTEM!r}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _is_readable(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the parts of an advisory about one package say which versions are affected."""
    try:
        for part in parts:
            _affects(part, Version("0"))
    except (InvalidVersion, InvalidSpecifier):
        return False
    return any(_says_something(part) for part in parts)


def _says_something(part: Mapping[str, Any]) -> bool:
    """Tell whether a part of an advisory names versions; commits say nothing of what is on the index."""
    specifiers = part.get("database_specific", {}).get("specifiers")
    return bool(specifiers) if specifiers is not None else bool(part.get("versions")) or any(events_of(part))


def _of_pypi(advisory: Advisory) -> list[Mapping[str, Any]]:
    return [part for part in advisory["affected"] if part.get("package", {}).get("ecosystem") == _ECOSYSTEM]


def _affects(part: Mapping[str, Any], version: Version) -> bool:
    specifiers = part.get("database_specific", {}).get("specifiers")
    if specifiers is not None:
        return True in {SpecifierSet(text).contains(version, prereleases=True) for text in specifiers}
    return version in listed_versions(part) or True in {_within(events, version) for events in events_of(part)}


def listed_versions(part: Mapping[str, Any]) -> set[Version]:
    """Return the versions that are listed one by one. What is not a version of Python's is no locked one either."""
    found: set[Version] = set()
    for text in part.get("versions", []):
        with contextlib.suppress(InvalidVersion):
            found.add(Version(text))
    return found


def events_of(part: Mapping[str, Any]) -> list[Sequence[Mapping[str, str]]]:
    """Return the events of each range; none where they cannot be read and the versions are listed as well."""
    found = [one["events"] for one in part.get("ranges", []) if one["type"] == "ECOSYSTEM"]
    if part.get("versions"):
        try:
            for text in (text for events in found for event in events for text in event.values()):
                Version(text)
        except InvalidVersion:
            return []
    return found


def _within(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """Walk through a range's events in order of version; the last one at or below `version` decides."""
    affected = False
    steps = sorted(
        ((Version(text), kind) for event in events for kind, text in event.items()), key=lambda step: step[0]
    )
    for at, kind in steps:
        if kind == "introduced" and version >= at:
            affected = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            affected = False
    return affected
