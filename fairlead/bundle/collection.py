"""Collects what goes into a bundle: the backend's files that the patterns name, and the toolkit where it goes along."""

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fairlead import build
from fairlead.build import BuildInfo
from fairlead.bundle.archive import EXECUTABLE, PLAIN, Bundle, Entry, compute_digest
from fairlead.bundle.refusals import collect_secrets, find_secret, is_leftover, refused_part
from fairlead.config import Config
from fairlead.exceptions import PreflightError

_TOOLKIT = Path(__file__).parents[1]
_TOOLKIT_SUFFIXES = frozenset({".py", ".graphql", ".typed"})


def make_bundle(config: Config, info: BuildInfo) -> Bundle:
    """Collect the bundle of the backend that `config` describes and fill its digest into `info`.

    Raises `PreflightError` with every problem: the folder is missing, a pattern matches no file, a match lies outside
    the backend, is a link, cannot be read, has a name that never belongs in a release, or holds a private key or a
    secret of this process's environment; the migrations lie where the toolkit would not find them in a release.
    """
    problems: list[str] = []
    entries = {entry.path: entry for entry in _backend_entries(config, problems)}
    if config.bundle.toolkit:
        if _migrations_inside(config).startswith(".."):
            problems.append(
                "tool.fairlead.migrations.directory: must lie within the backend's folder for the toolkit to go along"
            )
        entries.update({entry.path: entry for entry in _toolkit_entries(config)})
    ordered = tuple(sorted(entries.values(), key=lambda entry: str(entry.path)))
    problems += _name_secrets(config, ordered)
    if problems:
        raise PreflightError(
            "the bundle cannot be made",
            problems=tuple(dict.fromkeys(problems)),
            hint="see [tool.fairlead.bundle] in pyproject.toml",
        )
    return Bundle(ordered, info.with_digest(compute_digest(ordered)))


def _backend_entries(config: Config, problems: list[str]) -> Iterator[Entry]:
    backend = config.backend
    if not backend.is_dir():
        problems.append(f"the backend's folder {backend} does not exist (tool.fairlead.backend)")
        return
    if not config.bundle.include:
        problems.append("no pattern in tool.fairlead.bundle.include says what to bundle")
    real = backend.resolve()
    for pattern in config.bundle.include:
        if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
            problems.append(f"{pattern!r}: a pattern stays within the backend's folder")
            continue
        matches = [
            (path, inside)
            for path in sorted(backend.glob(pattern))
            if not is_leftover(inside := PurePosixPath(path.relative_to(backend).as_posix()))
            and (path.is_symlink() or not path.is_dir())
        ]
        if not matches:
            problems.append(f"{pattern!r} matches no file in {backend}")
        for path, inside in matches:
            problem = _unfit(path, inside, real)
            if problem is None:
                try:
                    yield _entry(path, inside)
                except OSError as error:
                    problem = f"{inside}: it cannot be read: {error.strerror}"
            if problem:
                problems.append(problem)


def _unfit(path: Path, inside: PurePosixPath, backend: Path) -> str | None:
    """Say why a match cannot be bundled, by everything but its content."""
    if not str(inside).isprintable():
        return f"{str(inside)!a}: its name holds characters that cannot be printed"
    refused = refused_part(inside)
    # Before the links: a link of such a name is amiss twice, and this is the worse.
    if refused is not None:
        return f"{refused}: a {'file' if refused == inside else 'folder'} of this name never goes into a release"
    if path.is_symlink() or not path.resolve().is_relative_to(backend):
        return f"{inside}: a link cannot be bundled; put the file itself there"
    if str(inside) == build.FILE:
        return f"{inside}: it is written by the build; leave it out of the patterns"
    return None if path.is_file() else f"{inside}: it is not a regular file"


def _name_secrets(config: Config, entries: tuple[Entry, ...]) -> list[str]:
    declared = {name for one in config.environments.values() for name in (one.token_env, one.database_url_env) if name}
    secrets = collect_secrets(config.environ, declared)
    found = ((entry.path, find_secret(entry.content, secrets)) for entry in entries)
    return [f"{path}: {problem}" for path, problem in found if problem]


def _toolkit_entries(config: Config) -> Iterator[Entry]:
    """Yield the toolkit and the configuration it needs to migrate inside a release."""
    for path in sorted(_TOOLKIT.rglob("*")):
        inside = PurePosixPath(path.relative_to(_TOOLKIT).as_posix())
        if path.suffix in _TOOLKIT_SUFFIXES and path.is_file() and not is_leftover(inside):
            yield _entry(path, "fairlead" / inside)
    yield Entry(PurePosixPath("pyproject.toml"), PLAIN, _release_configuration(config).encode())


def _migrations_inside(config: Config) -> str:
    return os.path.relpath(config.migrations.directory, config.backend).replace(os.sep, "/")


def _release_configuration(config: Config) -> str:
    # A JSON text is a TOML text too.
    quoted = functools.partial(json.dumps, ensure_ascii=False)
    return f"""\
# Written by the build: what the toolkit needs to know inside a release.
[tool.fairlead]
name = {quoted(config.name)}
version = {quoted(config.version)}
backend = "."
app = {quoted(config.app)}
health-path = {quoted(config.health_path)}
version-path = {quoted(config.version_path)}

[tool.fairlead.migrations]
engine = {quoted(config.migrations.engine)}
directory = {quoted(_migrations_inside(config))}
{_migration_settings(config)}
[tool.fairlead.environments.local]
database-url-env = "DATABASE_URL"
"""


def _migration_settings(config: Config) -> str:
    """Return how a release runs its migrations, where that is set: as elsewhere."""
    names = ("lock-timeout", "statement-timeout", "transaction-control")
    values = ((name, config.values.get(f"migrations.{name}")) for name in names)
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values if value is not None)


def _entry(path: Path, inside: PurePosixPath) -> Entry:
    executable = bool(path.stat().st_mode & 0o100)
    return Entry(inside, EXECUTABLE if executable else PLAIN, path.read_bytes())
