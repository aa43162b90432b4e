"""Migration files: `015_new_feature.sql` with `015_new_feature.down.sql` beside it. No database is touched here."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.exceptions import MigrationError
from fairlead.migrations.statements import has_statement

_NAME = re.compile(r"(?P<version>\d+)_(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)(?P<down>\.down)?\.sql")
_IGNORED = re.compile(r"\..*|README.*|.*\.md|__pycache__")
_CONVENTION = "files are named 015_new_feature.sql, with 015_new_feature.down.sql beside it"
_SHORTEST_VERSION = 3


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: its texts as they are sent, and the checksum that is recorded with it."""

    version: str
    name: str
    file: Path
    sql: str = field(repr=False)
    checksum: str
    down_file: Path | None = None
    down_sql: str | None = field(default=None, repr=False)
    #: Whether up and down run within a transaction, which a mark in the file switches off.
    transactional: bool = True
    down_transactional: bool = True

    @property
    def order(self) -> tuple[int, ...]:
        """The version as the numbers that it is ordered by."""
        return order_of(self.version)

    @property
    def label(self) -> str:
        """The version and name, as people call it: 015_new_feature."""
        return f"{self.version}_{self.name}"


@dataclass(frozen=True, slots=True)
class _Found:
    version: str
    name: str
    file: Path
    text: str


def load_migrations(directory: Path) -> tuple[Migration, ...]:
    """Read the migrations in `directory`, in the order of their versions as numbers.

    Hidden files, README and Markdown files are passed over. Raises `MigrationError` naming every file at fault: one
    that is not named by the convention, empty or not UTF-8, a second of one version, a down without its up.
    """
    problems: list[str] = []
    ups: list[_Found] = []
    downs: list[_Found] = []
    for file in _list_files(directory):
        match = _NAME.fullmatch(file.name)
        if match is None or not file.is_file():
            problems.append(f"{file.name}: does not fit the convention ({_CONVENTION})")
            continue
        text = _read(file, problems)
        found = _Found(match["version"], match["name"], file, text)
        (downs if match["down"] else ups).append(found)
    problems += _duplicates(ups)
    by_name = {(up.version, up.name): up for up in ups}
    down_of: dict[tuple[str, str], _Found] = {}
    for down in downs:
        key = (down.version, down.name)
        if key not in by_name:
            problems.append(f"{down.file.name}: there is no {down.version}_{down.name}.sql that it would revert")
        down_of[key] = down
    if problems:
        raise _rejected(directory, problems)
    loaded = (_migration(up, down_of.get((up.version, up.name))) for up in ups)
    return tuple(sorted(loaded, key=lambda migration: migration.order))


def order_of(version: str) -> tuple[int, ...]:
    """Return what a version is ordered by: its numbers, so that 2 comes before 10, and 015 is 15."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def checksum(text: str) -> str:
    """Return the checksum of a migration's text, which the style of its line ends does not change."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def find_migration(migrations: Sequence[Migration], name: str) -> Migration:
    """Find a migration by version (`15` or `015`), label or file name; raise `MigrationError` when there is none."""
    wanted = Path(name).name.removesuffix(".sql").removesuffix(".down")
    for migration in migrations:
        if migration.label == wanted or (wanted.isdecimal() and migration.order == order_of(wanted)):
            return migration
    last = f"the newest is {migrations[-1].label}" if migrations else "there are no migrations"
    raise MigrationError(f"there is no migration {name}; {last}", hint="list them with: invoke migrations.status")


def create_migration(directory: Path, slug: str) -> tuple[Path, Path]:
    """Make the next numbered pair of files, up and down, and return both paths.

    `slug` may be any short text; what is not a letter or a digit becomes an underscore. The files hold a comment only,
    and are refused as empty until they hold statements.
    """
    name = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_")
    if not name:
        raise MigrationError(f"{slug!r} holds no letter or digit to name a migration by", hint="such as: add_bookings")
    directory.mkdir(parents=True, exist_ok=True)
    versions = [match["version"] for file in directory.iterdir() if (match := _NAME.fullmatch(file.name))]
    number = max((int(version) for version in versions), default=0) + 1
    width = max((len(version) for version in versions), default=_SHORTEST_VERSION)
    label = f"{number:0{width}d}_{name}"
    up, down = directory / f"{label}.sql", directory / f"{label}.down.sql"
    with up.open("x", encoding="utf-8") as stream:
        stream.write(f"-- {label}: write here what changes.\n")
    with down.open("x", encoding="utf-8") as stream:
        stream.write(f"-- {label}: write here what undoes it.\n")
    return up, down


def _list_files(directory: Path) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if not _IGNORED.fullmatch(file.name))
    except FileNotFoundError:
        raise MigrationError(
            f"there is no folder {directory}",
            hint="make it with: invoke migrations.new SLUG, or set directory in [tool.fairlead.migrations]",
        ) from None
    except NotADirectoryError:
        raise MigrationError(
            f"{directory} is not a folder", hint="set directory in [tool.fairlead.migrations]"
        ) from None
    except OSError as error:
        raise MigrationError(f"{directory} cannot be read: {error.strerror}") from error


def _read(file: Path, problems: list[str]) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{file.name}: is not UTF-8 (byte {error.start + 1})")
        return ""
    except OSError as error:
        problems.append(f"{file.name}: cannot be read: {error.strerror}")
        return ""
    if "\0" in text:
        problems.append(f"{file.name}: holds a NUL character, which PostgreSQL refuses")
    elif not has_statement(text):
        problems.append(f"{file.name}: is empty; write its statements")
    return text


def _duplicates(ups: Iterable[_Found]) -> list[str]:
    by_number: dict[int, list[str]] = {}
    for up in ups:
        by_number.setdefault(int(up.version), []).append(up.file.name)
    return [
        f"{', '.join(names)}: {len(names)} files of version {number}; give all but one a new number"
        for number, names in sorted(by_number.items())
        if len(names) > 1
    ]


def _migration(up: _Found, down: _Found | None) -> Migration:
    return Migration(
        version=up.version,
        name=up.name,
        file=up.file,
        sql=up.text,
        checksum=checksum(up.text),
        down_file=down.file if down else None,
        down_sql=down.text if down else None,
    )


def _rejected(directory: Path, problems: Sequence[str]) -> MigrationError:
    count = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return MigrationError(f"{count} in {directory} cannot be used:\n{lines}", hint=_CONVENTION)
