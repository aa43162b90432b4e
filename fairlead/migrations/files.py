"""Migration files: `015_new_feature.sql` with `015_new_feature.down.sql` beside it, and other tools' ways of the same.

No database is touched here. What a file's name means is told by `conventions`.
"""

import codecs
import fcntl
import hashlib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fairlead.exceptions import MigrationError
from fairlead.migrations import conventions
from fairlead.migrations.conventions import Role, order_of
from fairlead.migrations.statements import find_marks, has_statement

__all__ = ["MARKS", "Migration", "checksum", "create_migration", "find_migration", "load_migrations", "order_of"]

#: What `-- fairlead: NAME` may name.
MARKS = ("no-transaction", "destructive", "contract", "accept")


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
    role: Role
    file: Path
    path: str
    text: str
    checksum: str
    transactional: bool = True


def load_migrations(directory: Path) -> tuple[Migration, ...]:
    """Read the migrations in `directory`, in the order of their versions as numbers.

    Hidden files, README and Markdown files are passed over. Raises `MigrationError` naming every file at fault: one
    that is not named by a convention, empty or not UTF-8, a second of one version, a down without its up.
    """
    problems: list[str] = []
    ups: list[_Found] = []
    downs: list[_Found] = []
    for path, is_file in _list_files(directory):
        role = conventions.read_role(path)
        if role is None or not is_file:
            problems.append(f"{path}: {conventions.explain_misfit(path)}")
            continue
        file = directory / path
        if role.down:
            downs.append(_whole(role, file, path, _read(file, path, problems)))
        else:
            up, down = _halves(role, file, path, _read(file, path, problems), problems)
            ups.append(up)
            downs += [down] if down else []
    down_of = _pair(ups, downs, problems)
    if problems:
        raise _rejected(directory, problems)
    loaded = (_migration(up, down_of.get(up.role.pair)) for up in ups)
    return tuple(sorted(loaded, key=lambda migration: migration.order))


def checksum(text: str) -> str:
    """Return the checksum of a migration's text, which the style of its line ends does not change."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def find_migration(migrations: Sequence[Migration], name: str) -> Migration:
    """Find a migration by version (`15` or `015`), label or file name; raise `MigrationError` when there is none."""
    given = Path(name)
    # The files of diesel are told apart by their folder.
    wanted = given.parent.name if given.name in {"up.sql", "down.sql"} else given.name
    order = order_of(wanted) if re.fullmatch(r"\d+(\.\d+)*", wanted) else None
    for migration in migrations:
        if migration.order == order or wanted in _names(migration):
            return migration
    last = f"the newest is {migrations[-1].label}" if migrations else "there are no migrations"
    raise MigrationError(f"there is no migration {name}; {last}", hint="list them with: invoke migrations.status")


def create_migration(directory: Path, slug: str) -> tuple[Path, ...]:
    """Make the next migration in the convention of the newest there, and return its files: up and down, or one of both.

    `slug` may be any short text; what is not a letter or a digit becomes an underscore. The files hold comments only,
    and are refused as empty until they hold statements. Two callers at once get two versions.
    """
    name = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_")
    if not name:
        raise MigrationError(f"{slug!r} holds no letter or digit to name a migration by", hint="such as: add_bookings")
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        present = {path: role for path, _ in _list_files(directory) if (role := conventions.read_role(path))}
        role = conventions.next_role(list(present.values()), name, now=datetime.now(UTC))
        up, down = (directory / path for path in conventions.file_names(role))
        up.parent.mkdir(exist_ok=True)
        label = f"{role.version}_{name}"
        texts = {up: f"-- {label}: write here what changes.\n", down: f"-- {label}: write here what undoes it.\n"}
        if _holds_both(directory, present):
            texts = {up: f"-- migrate:up\n{texts[up]}\n-- migrate:down\n{texts[down]}"}
        for file, text in texts.items():
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
    return tuple(texts)


def _holds_both(directory: Path, present: Mapping[str, Role]) -> bool:
    """Tell whether the newest file of a folder holds up and down in sections."""
    if not present:
        return False
    newest = max(present, key=lambda path: order_of(present[path].version))
    with suppress(UnicodeDecodeError):
        return bool(conventions.read_sections((directory / newest).read_text("utf-8"))[0])
    return False


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep others from choosing a version in this folder at the same time."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _names(migration: Migration) -> set[str]:
    """Return what people may call a migration: its label, its files, each with and without their endings."""
    names = {migration.label, f"{migration.label}.sql", f"{migration.label}.down.sql"}
    for file in (migration.file, migration.down_file):
        if file is None:
            continue
        name = file.parent.name if file.name in {"up.sql", "down.sql"} else file.name
        names |= {name, name.removesuffix(".sql"), name.removesuffix(".sql").removesuffix(".up").removesuffix(".down")}
    return names


def _list_files(directory: Path) -> list[tuple[str, bool]]:
    try:
        return conventions.list_paths(directory)
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


def _read(file: Path, path: str, problems: list[str]) -> str:
    """Return the text of a file, or nothing, with its fault added to `problems`."""
    try:
        with file.open("rb", buffering=0) as stream:
            text = stream.readall().removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        problems.append(f"{path}: is not UTF-8 (byte {error.start + 1})")
        return ""
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return ""
    if "\0" in text:
        problems.append(f"{path}: holds a NUL character, which PostgreSQL refuses")
        return ""
    if not has_statement(text):
        problems.append(f"{path}: is empty; write its statements")
        return ""
    problems += [
        f"{path}:{mark.line}: fairlead has no mark {mark.name!r}; it has {', '.join(MARKS)}"
        for mark in find_marks(text)
        if mark.name not in MARKS
    ]
    return text


def _whole(role: Role, file: Path, path: str, text: str) -> _Found:
    return _Found(role, file, path, text, checksum(text), _is_transactional(file, role, text))


def _halves(role: Role, file: Path, path: str, text: str, problems: list[str]) -> tuple[_Found, _Found | None]:
    """Return what a file holds of a version: its up, and its down where both stand in the one file."""
    sections, fault = conventions.read_sections(text)
    if fault:
        problems.append(f"{path}: {fault}")
    if "up" not in sections:
        return _whole(role, file, path, text), None
    up, down = sections["up"], sections.get("down")
    if not has_statement(up.text):
        problems.append(f"{path}: has nothing below -- migrate:up; write its statements")
    # The up alone counts for the checksum: a down may be mended after its up was applied.
    transactional = up.transactional and _is_transactional(file, role, up.text)
    found = _Found(role, file, path, up.text, checksum(up.text.rstrip()), transactional)
    if down is None or not has_statement(down.text):
        return found, None
    transactional = down.transactional and _is_transactional(file, role, down.text)
    return found, _Found(replace(role, down=True), file, path, down.text, checksum(down.text), transactional)


def _is_transactional(file: Path, role: Role, text: str) -> bool:
    if any(mark.name == "no-transaction" for mark in find_marks(text)):
        return False
    if role.style != "diesel" or not (settings := file.parent / "metadata.toml").is_file():
        return True
    try:
        return tomllib.loads(settings.read_text(encoding="utf-8")).get("run_in_transaction") is not False
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MigrationError(f"{settings} cannot be read: {error}") from None


def _pair(ups: Sequence[_Found], downs: Sequence[_Found], problems: list[str]) -> dict[tuple[str, str, str], _Found]:
    """Return the down of each pair, with what does not fit together added to `problems`."""
    problems += _duplicates(ups)
    known = {up.role.pair for up in ups}
    down_of: dict[tuple[str, str, str], _Found] = {}
    for down in downs:
        if down.role.pair not in known:
            problems.append(f"{down.path}: there is no {down.role.up_name} that it would revert")
        elif other := down_of.get(down.role.pair):
            problems.append(f"{other.path}, {down.path}: 2 downs of version {down.role.version}; keep one")
        down_of[down.role.pair] = down
    return down_of


def _duplicates(ups: Iterable[_Found]) -> list[str]:
    by_order: dict[tuple[int, ...], list[str]] = {}
    for up in ups:
        by_order.setdefault(order_of(up.role.version), []).append(up.path)
    return [
        f"{', '.join(paths)}: {len(paths)} files of version {'.'.join(map(str, order))}; give all but one a new number"
        for order, paths in sorted(by_order.items())
        if len(paths) > 1
    ]


def _migration(up: _Found, down: _Found | None) -> Migration:
    return Migration(
        version=up.role.version,
        name=up.role.name,
        file=up.file,
        sql=up.text,
        checksum=up.checksum,
        down_file=down.file if down else None,
        down_sql=down.text if down else None,
        transactional=up.transactional,
        down_transactional=down.transactional if down else True,
    )


def _rejected(directory: Path, problems: Sequence[str]) -> MigrationError:
    count = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return MigrationError(f"{count} in {directory} cannot be used:\n{lines}", hint=conventions.SPELLING)
