"""Writes a lock down as a software bill of materials: CycloneDX 1.6, JSON, the same bytes whenever and wherever made.

What it lists is the lock: each entry with its hashes, and from the `# via` comments who needs it. Its time is that of
the commit, or SOURCE_DATE_EPOCH, and its serial number is made of its content. As a program, for a release:
`python -m fairlead.security.sbom --lock backend/requirements.txt --output F [--licences] [--check]`.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import importlib
import json
import re
import sys
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from fairlead import __version__, _output, build, config
from fairlead._locks import Pin, normalise, parse, read_lock
from fairlead._process import run
from fairlead.build import BuildInfo
from fairlead.exceptions import CommandError, ConfigurationError, Error, InconclusiveError
from fairlead.security import licences
from fairlead.security.locked import read_locked
from fairlead.security.report import Scan

#: By package: its licence in SPDX's terms, and whether the package itself says so ("declared") or somebody found out.
Licences = Mapping[str, tuple[str, str]]

_NONE: Final[Licences] = MappingProxyType({})
_SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
#: Serial numbers are made within this one, so that equal content has an equal number.
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, _SCHEMA)
_ENTRY: Final = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==")
_COMMENT: Final = re.compile(r"^\s+#\s+(?:via\b\s*)?(?P<who>.*)$|\s#\s+via\s+(?P<beside>.*)$")
#: Stands for the project itself where a lock says who needs a package.
_PROJECT: Final = ""


def file_name(lock: str) -> str:
    """Return what a lock's bill is called: `backend-requirements.cdx.json`."""
    return f"{lock.removesuffix('.txt').replace('/', '-')}.cdx.json"


def collect(loaded: config.Config, lock: str) -> BuildInfo:
    """Collect what a bill says of its project; the time is the commit's, `dirty` says that the lock is not as in it.

    Raises `ConfigurationError` where there is neither a commit nor SOURCE_DATE_EPOCH: the clock would not do.
    """
    seconds = _git(loaded.root, "log", "-1", "--format=%ct")
    if not seconds and "SOURCE_DATE_EPOCH" not in loaded.environ:
        message = f"{loaded.root} has no commit whose time the bill could have"
        raise ConfigurationError(message, hint="set SOURCE_DATE_EPOCH to the seconds since 1970")
    now = datetime.fromtimestamp(int(seconds), UTC) if seconds else None
    info = build.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ, now=now)
    return dataclasses.replace(info, dirty=bool(_git(loaded.root, "status", "--porcelain", "--", lock)))


def render(text: str, *, lock: str, info: BuildInfo, known: Licences = _NONE) -> str:
    """Return the bill of a lock's `text`, with the licences that are `known`.

    Raises `ConfigurationError` where the lock holds what cannot be listed, or does not say what a package is there for.
    """
    pins = _parse(text, lock)
    needed_by = read_reasons(text, pins, lock=lock)
    project = f"{info.name}@{info.version}"
    references = {_PROJECT: project, **{name: purl(pin) for name, pin in pins.items()}}
    document: dict[str, Any] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": _metadata(info, project, lock=lock, digest=hashlib.sha256(text.encode()).hexdigest()),
        "components": [_component(pin, known.get(name)) for name, pin in sorted(pins.items())],
        "dependencies": [
            {
                "ref": reference,
                "dependsOn": sorted(references[needed] for needed, by in needed_by.items() if name in by),
            }
            for name, reference in sorted(references.items())
        ],
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, json.dumps(document))}"
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def purl(pin: Pin) -> str:
    """Return a package's URL, the name by which scanners know it. Source: purl-spec, PyPI."""
    return f"pkg:pypi/{pin.name}@{quote(pin.version, safe='')}"


def read_reasons(text: str, pins: Collection[str], *, lock: str) -> dict[str, set[str]]:
    """Read from a lock's `# via` comments who needs each package; the empty name is the project itself.

    Raises `ConfigurationError` where one says nothing, or names what is not in the lock: half a graph misleads.
    """
    reasons: dict[str, set[str]] = {name: set() for name in pins}
    current = None
    for line in text.splitlines():
        if entry := _ENTRY.match(line):
            current = reasons[normalise(entry["name"])]
        if current is not None and (comment := _COMMENT.search(line)):
            named = (one.strip() for one in (comment["who"] or comment["beside"] or "").split(","))
            current |= {_who(one) for one in named if one and not one.startswith("-c ")}
    problems = [f"{name} says nothing of what needs it" for name, by in reasons.items() if not by]
    problems += [
        f"{name} is needed by {one}, which is not in it"
        for name, by in reasons.items()
        for one in sorted(by - {_PROJECT, *pins})
    ]
    if problems:
        message = f"{lock} does not say how its packages depend on each other"
        raise ConfigurationError(message, hint="compile it with its `# via` comments", problems=tuple(problems))
    return reasons


def differences(bill: str, text: str, *, lock: str) -> list[str]:
    """Hold a bill against a lock: name every package that it lacks, has too many or has otherwise, and every edge."""
    pins = _parse(text, lock)
    needed_by = read_reasons(text, pins, lock=lock)
    try:
        document = json.loads(bill)
        listed = {
            one["name"]: (one["version"], one["purl"], sorted(found["content"] for found in one["hashes"]))
            for one in document["components"]
        }
        count = len(document["components"])
        graph = {one["ref"]: set(one["dependsOn"]) for one in document["dependencies"]}
        project = document["metadata"]["component"]["bom-ref"]
    except (ValueError, KeyError, TypeError) as error:
        return [f"it is no bill that can be read: {type(error).__name__}: {error}"]
    wanted = {name: (pin.version, purl(pin), _digests(pin)) for name, pin in pins.items()}
    found = [f"{pins[name]} is not in it" for name in sorted(set(wanted) - set(listed))]
    found += [f"{name} is not in {lock}" for name in sorted(set(listed) - set(wanted))]
    found += [
        f"{pins[name]} stands there as {listed[name][0]}, or with other hashes"
        for name in sorted(set(wanted) & set(listed))
        if wanted[name] != listed[name]
    ]
    found += ["it lists a package twice"] if count != len(listed) else []
    references = {_PROJECT: project, **{name: purl(pin) for name, pin in pins.items()}}
    edges = {ref: {references[one] for one, by in needed_by.items() if name in by} for name, ref in references.items()}
    found += [f"what {ref} depends on differs" for ref in sorted({*edges} & {*graph}) if edges[ref] != graph[ref]]
    found += [f"what {ref} depends on is not in it" for ref in sorted({*edges} - {*graph})]
    return found


def validate(bill: str) -> list[str]:
    """Hold a bill against CycloneDX's own schema, strictly; return what is amiss, or that it could not be done."""
    try:
        # By name: neither the type checker's environment has them, nor that of a person who makes a bill.
        checker = importlib.import_module("jsonschema_rs")
        schemas = importlib.import_module("cyclonedx.schema._res")
        version = importlib.import_module("cyclonedx.schema").SchemaVersion.V1_6
        files = [Path(file) for file in (schemas.BOM_JSON_STRICT[version], schemas.SPDX_JSON, schemas.JSF)]
        schema, *others = [json.loads(file.read_text("utf-8")) for file in files]
        base = _SCHEMA.rpartition("/")[0]
        parts = [(f"{base}/{file.name}", other) for file, other in zip(files[1:], others, strict=True)]
        registry = checker.Registry(parts, retriever=_refuse)
        strict = checker.Draft7Validator(schema, registry=registry, validate_formats=True)
        errors = [("/".join(map(str, one.instance_path)), one.message) for one in strict.iter_errors(json.loads(bill))]
    except ImportError as error:
        return [f"its schema could not be checked: {error.name} is not installed"]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        return [f"its schema could not be checked: {str(error).strip()[:200]}"]
    return [f"it is not valid CycloneDX 1.6: {place}: {message[:200]}" for place, message in errors]


def find_licences(loaded: config.Config, lock: str) -> Licences:
    """Return the licence of every package in a lock, as it is installed here.

    Raises `InconclusiveError` naming those that cannot be seen, or whose licence nobody has said.
    """
    seen = licences.collect()
    reasons = {normalise(name): text for name, text in loaded.security.licence_exceptions.items()}
    found: dict[str, tuple[str, str]] = {}
    problems: list[str] = []
    for name, pin in sorted(read_locked(loaded.root, [lock]).items()):
        if gap := licences.unseen(seen.get(name), pin):
            problems.append(gap)
        elif expression := seen[name].expression:
            found[name] = (expression, "declared")
        elif expression := licences.concluded(reasons.get(name, "")):
            found[name] = (expression, "concluded")
        else:
            problems.append(f"{pin}: its licence is not known")
    if problems:
        message = f"the licences in {lock} could not be listed: {'; '.join(problems[:5])}"
        more = f" (and {len(problems) - 5} more)" if problems[5:] else ""
        raise InconclusiveError(message + more, hint=f"install it here: pip install -r {lock}")
    return found


def make(loaded: config.Config, lock: str, *, licensed: bool = False) -> str:
    """Return the bill of one of the repository's locks; `licensed`: with every licence, or `InconclusiveError`."""
    known = find_licences(loaded, lock) if licensed else _NONE
    return render(read_lock(loaded.root, lock), lock=lock, info=collect(loaded, lock), known=known)


def write(folder: Path, loaded: config.Config, locks: Sequence[str], *, licensed: bool = False) -> dict[str, Path]:
    """Write the bills of `locks` into a folder, all or none; return where each stands.

    Raises `InconclusiveError` where they cannot be written.
    """
    bills = {folder / file_name(lock): make(loaded, lock, licensed=licensed) for lock in locks}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, bill in bills.items():
            file.write_text(bill, "utf-8")
    except OSError as error:
        for file in bills:
            with contextlib.suppress(OSError):
                file.unlink()
        message = f"the bills cannot be written into {folder}: {error.strerror}"
        raise InconclusiveError(message, hint="free some space or mend the folder's permissions") from None
    return dict(zip(locks, bills, strict=True))


def scan(loaded: config.Config, folder: Path, *, locks: Sequence[str] = licences.SHIPPED) -> Scan:
    """Write the bills into `folder`, read them back, and hold each against its lock and the schema of CycloneDX."""
    gaps: list[str] = []
    count = 0
    try:
        for lock, file in write(folder, loaded, locks).items():
            bill, text = file.read_text("utf-8"), read_lock(loaded.root, lock)
            wrong = [*differences(bill, text, lock=lock), *validate(bill)]
            gaps += [f"{file.name}: {one}" for one in wrong]
            count += 0 if wrong else len(_parse(text, lock))
    except Error as error:
        gaps += [f"{error.message}: {one}" for one in getattr(error, "problems", ())] or [error.message]
    if not count and not gaps:
        gaps.append("the locks hold no package")
    return Scan("sbom", f"{count} packages listed in {len(locks)} bills", gaps=tuple(gaps))


def main(arguments: Sequence[str]) -> int:
    """Write one bill, or with `--check` hold one against its lock, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fairlead.security.sbom", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--lock", required=True, help="the lock, from the repository's root")
    parser.add_argument("--output", required=True, type=Path, help="the file of the bill")
    parser.add_argument("--licences", action="store_true", help="list every licence, read from what is installed here")
    parser.add_argument("--check", action="store_true", help="write nothing: see that the file lists the lock")
    flags = parser.parse_args(arguments)
    try:
        loaded = config.load()
        if flags.check:
            return _check(flags.output, read_lock(loaded.root, flags.lock), flags.lock)
        bill = make(loaded, flags.lock, licensed=flags.licences)
        flags.output.parent.mkdir(parents=True, exist_ok=True)
        flags.output.write_text(bill, "utf-8")
    except Error as error:
        _output.error(error.message, problems=getattr(error, "problems", ()), hint=error.hint)
        return error.exit_code
    _output.status("ok", f"{flags.output} lists {flags.lock}")
    return 0


def _check(file: Path, text: str, lock: str) -> int:
    try:
        bill = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InconclusiveError(f"{file} cannot be read: {error}", hint="write it first, without --check") from None
    if wrong := differences(bill, text, lock=lock):
        _output.error(f"{file} does not list {lock}", problems=wrong, hint="write it anew, without --check")
        return 1
    _output.status("ok", f"{file} lists {lock}")
    return 0


def _refuse(address: str) -> None:
    raise ValueError(f"{address} is not among the schemas of cyclonedx-python-lib")


def _parse(text: str, lock: str) -> dict[str, Pin]:
    pins, problems = parse(text)
    if problems:
        raise ConfigurationError(f"{lock} holds what cannot be listed", hint="nox -s lock", problems=tuple(problems))
    return pins


def _who(named: str) -> str:
    """Return the package that a comment names; a `.in` file, or a `name (pyproject.toml)`, is the project itself."""
    if named.startswith("-r ") or "(" in named:
        return _PROJECT
    return normalise(named.partition("[")[0])


def _metadata(info: BuildInfo, project: str, *, lock: str, digest: str) -> dict[str, Any]:
    facts = {
        "fairlead:lock": lock,
        "fairlead:lock:sha256": digest,
        "fairlead:revision": f"{info.revision}-dirty" if info.dirty else info.revision,
    }
    return {
        "timestamp": info.build_time,
        "lifecycles": [{"phase": "pre-build"}],
        "tools": {"components": [{"type": "application", "name": "fairlead", "version": __version__}]},
        "component": {
            "type": "application",
            "bom-ref": project,
            "name": info.name,
            "version": info.version,
            "properties": [{"name": name, "value": value} for name, value in facts.items()],
        },
    }


def _component(pin: Pin, licence: tuple[str, str] | None) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl(pin),
        "name": pin.name,
        "version": pin.version,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in _digests(pin)],
    }
    if licence is not None:
        expression, said = licence
        if " " in expression or expression.startswith("LicenseRef-") or expression.endswith("+"):
            component["licenses"] = [{"expression": expression, "acknowledgement": said}]
        else:
            component["licenses"] = [{"license": {"id": expression, "acknowledgement": said}}]
    return {**component, "purl": purl(pin)}


def _digests(pin: Pin) -> list[str]:
    return sorted(one.removeprefix("--hash=sha256:") for one in pin.hashes)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = run(["git", "-C", root, *arguments], check=False, timeout=30)
    except CommandError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
