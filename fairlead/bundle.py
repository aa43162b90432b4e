"""Makes the bundle: an allow-list of files, a reproducible archive, and the digest that is its identity.

The digest is a SHA-256 over the sorted list of `mode SP size SP sha256 SP path` of every file but build-info.json. It
depends on nothing else: not on the folder, the umask, the clock, the owner or the compression.
"""

import contextlib
import functools
import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fairlead import build
from fairlead.build import BuildInfo
from fairlead.config import Config
from fairlead.exceptions import Error, PreflightError

_PACKAGE = Path(__file__).parent
_EXECUTABLE, _PLAIN = 0o755, 0o644
_EPOCH = 315532800  # 1980-01-01: the earliest time that every archive format can hold

#: Never bundled, whatever a pattern says: names that hold secrets, caches or version control.
_REFUSED = (
    ".env",
    ".git",
    "__pycache__",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".fairlead",
    ".nox",
    ".venv",
)
_ALLOWED = (".env.example",)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle: its path inside, its mode there, and its content."""

    path: PurePosixPath
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """What would be deployed: its files but build-info.json, and the facts that become build-info.json."""

    entries: tuple[Entry, ...]
    info: BuildInfo

    @property
    def digest(self) -> str:
        """The bundle's identity, `sha256:` and 64 hexadecimal digits."""
        return self.info.digest

    def files(self) -> tuple[str, ...]:
        """Return the paths inside, sorted."""
        return tuple(sorted([*(str(entry.path) for entry in self.entries), build.FILE]))

    def write(self, target: Path) -> int:
        """Write the gzipped tar archive to `target`, whole or not at all; return its size in bytes.

        Raises `Error` when it cannot be written; what was at `target` is still there then.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._write(target)
        except OSError as error:
            raise Error(
                f"{target} cannot be written: {error.strerror}", hint="free some space or mend its permissions"
            ) from None

    def _write(self, target: Path) -> int:
        info = Entry(PurePosixPath(build.FILE), _PLAIN, self.info.to_json().encode())
        with _replacing(target) as file:
            # Level 6 and no name or time in the header: the same entries give the same bytes.
            with (
                gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
            ):
                for entry in sorted([*self.entries, info], key=lambda entry: str(entry.path)):
                    archive.addfile(_header(entry), io.BytesIO(entry.content))
            return file.tell()


def make_bundle(config: Config, info: BuildInfo) -> Bundle:
    """Collect the bundle of the backend that `config` describes and fill its digest into `info`.

    Raises `PreflightError` with every problem: the folder is missing, a pattern matches no file, a match lies outside
    the backend, is a link, cannot be read, or has a name that never belongs in a release; the migrations lie where the
    toolkit would not find them in a release.
    """
    problems: list[str] = []
    entries = {entry.path: entry for entry in _backend_entries(config, problems)}
    if config.bundle.toolkit:
        if _migrations_inside(config).startswith(".."):
            problems.append(
                "tool.fairlead.migrations.directory: must lie within the backend's folder for the toolkit to go along"
            )
        entries.update({entry.path: entry for entry in _toolkit_entries(config)})
    if problems:
        raise PreflightError(
            "the bundle cannot be made", problems=tuple(problems), hint="see [tool.fairlead.bundle] in pyproject.toml"
        )
    ordered = tuple(sorted(entries.values(), key=lambda entry: str(entry.path)))
    return Bundle(ordered, info.with_digest(compute_digest(ordered)))


def compute_digest(entries: tuple[Entry, ...]) -> str:
    """Compute the digest of `entries`, in any order; build-info.json, if among them, does not count."""
    lines = sorted(
        f"{entry.mode:o} {len(entry.content)} {hashlib.sha256(entry.content).hexdigest()} {entry.path}\n"
        for entry in entries
        if str(entry.path) != build.FILE
    )
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def read_entries(archive: Path) -> tuple[Entry, ...]:
    """Read the files of an archive made by `Bundle.write`; raise `Error` when it is not one."""
    try:
        # Unpacked to the last byte first: tarfile stops before the checksum at the end.
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes())), mode="r:") as tar:
            members = [member for member in tar if member.isfile()]
            return tuple(
                Entry(PurePosixPath(member.name), member.mode, (tar.extractfile(member) or io.BytesIO()).read())
                for member in members
            )
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise Error(f"{archive} is not a bundle: {error}", hint="make one: invoke build") from None


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
            path
            for path in sorted(backend.glob(pattern))
            if not _is_cache(path.relative_to(backend)) and (path.is_symlink() or not path.is_dir())
        ]
        if not matches:
            problems.append(f"{pattern!r} matches no file in {backend}")
        for path in matches:
            inside = PurePosixPath(path.relative_to(backend).as_posix())
            problem = _unfit(path, inside, real)
            if problem is None:
                try:
                    yield _entry(path, inside)
                except OSError as error:
                    problem = f"it cannot be read: {error.strerror}"
            if problem:
                problems.append(f"{_printable(inside)}: {problem}")


def _printable(path: PurePosixPath) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


def _unfit(path: Path, inside: PurePosixPath, backend: Path) -> str | None:
    if not str(inside).isprintable():
        return "its name holds characters that cannot be printed"
    if path.is_symlink() or not path.resolve().is_relative_to(backend):
        return "a link cannot be bundled; put the file itself there"
    if any(part_matches(part) for part in inside.parts):
        return "a file of this name never goes into a release"
    if str(inside) == build.FILE:
        return "it is written by the build; leave it out of the patterns"
    if not path.is_file():
        return "it is not a regular file"
    return None


def part_matches(part: str) -> bool:
    """Tell whether a path part names something that never belongs in a bundle."""
    if part in _ALLOWED:
        return False
    name = PurePosixPath(part.lower())
    return part.lower().startswith(".env") or any(name.match(pattern) for pattern in _REFUSED)


def _is_cache(path: Path) -> bool:
    return "__pycache__" in path.parts


def _toolkit_entries(config: Config) -> Iterator[Entry]:
    """Yield the toolkit and the configuration it needs to migrate inside a release."""
    for path in sorted(_PACKAGE.rglob("*")):
        inside = path.relative_to(_PACKAGE)
        if path.is_file() and not _is_cache(inside) and path.suffix in {".py", ".graphql", ".typed"}:
            yield _entry(path, PurePosixPath("fairlead") / inside.as_posix())
    yield Entry(PurePosixPath("pyproject.toml"), _PLAIN, _release_configuration(config).encode())


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
    return Entry(inside, _EXECUTABLE if executable else _PLAIN, path.read_bytes())


def _header(entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(f"./{entry.path}")
    header.size, header.mode, header.mtime = len(entry.content), entry.mode, _EPOCH
    return header


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[io.BufferedWriter]:
    """Open a temporary file beside `target` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
