"""Reads advisories from files and serves them on loopback as OSV does, so that an audit works without a network.

Two kinds of file are read: OSV's own JSON (one advisory, or a list of them, in each `.json`), and one package a line in
`.jsonl` or `.jsonl.xz`: `{"name": …, "vulns": [{"id", "aliases", "summary", "published", "specs", "fixed"}]}`.
"""

import contextlib
import json
import lzma
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fairlead.exceptions import ConfigurationError

Advisory = Mapping[str, Any]


class Database:
    """Advisories by package; answers which of them affect one version of it.

    `unreadable` names, by package, the advisories whose versions are not Python's: what they affect cannot be said.
    """

    def __init__(self, advisories: Sequence[Advisory]) -> None:
        self._by_package: dict[str, list[Advisory]] = {}
        self.unreadable: dict[str, list[str]] = {}
        for advisory in advisories:
            readable = _is_readable(advisory)
            for name in {canonicalize_name(part["package"]["name"]) for part in _of_pypi(advisory)}:
                if readable:
                    self._by_package.setdefault(name, []).append(advisory)
                else:
                    self.unreadable.setdefault(name, []).append(advisory["id"])

    def __len__(self) -> int:
        return len({advisory["id"] for advisories in self._by_package.values() for advisory in advisories})

    def affecting(self, name: str, version: str) -> list[Advisory]:
        """Return the advisories, not withdrawn, that affect one version of a package."""
        wanted, canonical = Version(version), canonicalize_name(name)
        return [
            advisory
            for advisory in self._by_package.get(canonical, [])
            if not advisory.get("withdrawn")
            and any(
                _affects(part, wanted)
                for part in _of_pypi(advisory)
                if canonicalize_name(part["package"]["name"]) == canonical
            )
        ]


def load(path: Path) -> Database:
    """Read a file of advisories, or every such file in a folder.

    Raises `ConfigurationError` when there is none or one cannot be read: half a database proves nothing.
    """
    files = sorted(file for file in path.rglob("*") if _kind(file)) if path.is_dir() else [path]
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


@contextlib.contextmanager
def serve(database: Database) -> Iterator[str]:
    """Answer OSV's `/v1/query` on a free port of loopback; yields the address to ask."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                found = database.affecting(query["package"]["name"], query["version"])
                status, answer = 200, json.dumps({"vulns": found} if found else {})
            except (ValueError, KeyError, TypeError) as error:
                status, answer = 400, json.dumps({"message": str(error)})
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
    for part in advisory["affected"]:
        canonicalize_name(part["package"]["name"])
        str(part["package"]["ecosystem"])


def _is_readable(advisory: Advisory) -> bool:
    try:
        for part in _of_pypi(advisory):
            _affects(part, Version("0"))
    except (InvalidVersion, InvalidSpecifier):
        return False
    return True


def _of_pypi(advisory: Advisory) -> list[Mapping[str, Any]]:
    return [part for part in advisory["affected"] if part["package"]["ecosystem"] == "PyPI"]


def _affects(part: Mapping[str, Any], version: Version) -> bool:
    specifiers = part.get("database_specific", {}).get("specifiers")
    if specifiers is not None:
        return True in {SpecifierSet(text).contains(version, prereleases=True) for text in specifiers}
    listed = {Version(text) for text in part.get("versions", [])}
    ranges = {_within(one["events"], version) for one in part.get("ranges", []) if one["type"] == "ECOSYSTEM"}
    return version in listed or True in ranges


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
