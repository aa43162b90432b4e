"""Proves that every down reverses its up, revision by revision and then over the whole chain, on a scratch database."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fairlead.exceptions import MigrationError
from fairlead.migrations.catalog import Difference, Snapshot, compare, describe_difference, take_snapshot
from fairlead.migrations.files import Migration, order_of
from fairlead.migrations.runner import Migrator, refuse_unrunnable
from fairlead.migrations.statements import find_marks, split_statements

if TYPE_CHECKING:
    from psycopg import Connection

    from fairlead.migrations.engine import Engine

Progress = Callable[[Migration, int, int], None]


def verify_reversible(
    connection: "Connection[tuple[Any, ...]]",
    migrations: Sequence[Migration],
    *,
    engine: "Engine | None" = None,
    seed: str = "",
    accepted: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Prove that every down reverses its up; raise `MigrationError` naming what is not reversed, and by which one.

    The arguments are those of `find_irreversible`.
    """
    findings = find_irreversible(
        connection, migrations, engine=engine, seed=seed, accepted=accepted, on_progress=on_progress
    )
    if findings:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        raise MigrationError(f"the downs do not undo what the ups do:\n{lines}", hint="mend the down files named above")


def find_irreversible(
    connection: "Connection[tuple[Any, ...]]",
    migrations: Sequence[Migration],
    *,
    engine: "Engine | None" = None,
    seed: str = "",
    accepted: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> tuple[str, ...]:
    """Return in words what the downs do not reverse: nothing, where every one does.

    `connection` leads to an empty scratch database, which holds all migrations afterwards when nothing was found;
    `engine` is what applies them there, by default a `Migrator` on that connection. `seed` is SQL that puts rows in:
    what stands after a comment `-- fairlead: after 012` runs once that version is applied, the rest after the last.
    `accepted` has the versions whose down may lose something, each with its reason.

    For each revision: snapshot, up, snapshot, down, compare with the first, up again, compare with the second. Then all
    down and all up again. Raises `MigrationError` when an up cannot be applied at all, for a database that is not
    empty, and for extensions that the server has not.
    """
    _refuse_unusable(connection, migrations)
    excused = _Accepted(migrations, accepted or {})
    rows = read_seed(seed, migrations)
    walker = _Walker(connection, engine or Migrator(connection, migrations), on_its_own=engine is None)
    start = take_snapshot(connection)
    findings: list[str] = list(excused.unknown)
    before, snapshots = start, [start]
    for index, migration in enumerate(migrations, 1):
        walker.engine.apply(to=migration.version)
        _put_in(connection, rows.get(_key(migration.version), ""), migration)
        after = take_snapshot(connection)
        findings += excused.judge(migration, walker.try_revision(migration, before, after))
        if walker.stuck:
            return tuple(findings)
        before = after
        snapshots.append(after)
        if on_progress is not None:
            on_progress(migration, index, len(migrations))
    if not findings:
        lowest = max((n for n, migration in enumerate(migrations, 1) if excused.holds(migration)), default=0)
        to = migrations[lowest - 1].version if lowest else "0"
        findings += walker.walk_chain(to, snapshots[lowest], before)
    return tuple(findings)


def read_seed(text: str, migrations: Sequence[Migration]) -> Mapping[object, str]:
    """Return what of a seed's SQL runs after which version; raise `MigrationError` for one that there is not."""
    keys = [_key(migration.version) for migration in migrations]
    if not keys or not text.strip():
        return {}
    lines = text.splitlines(keepends=True)
    sections: dict[object, str] = {}
    current, begin = keys[-1], 0
    for mark in find_marks(text):
        if mark.name != "after":
            continue
        sections[current] = sections.get(current, "") + "".join(lines[begin : mark.line - 1])
        current, begin = _key(mark.reason), mark.line
        if current not in keys:
            raise MigrationError(
                f"line {mark.line} of the seed names the version {mark.reason or 'of nothing'}, which there is not",
                hint="write it as: -- fairlead: after 012",
            )
    sections[current] = sections.get(current, "") + "".join(lines[begin:])
    return sections


def _key(version: str) -> object:
    """Return what a version is compared by: 7 is 007, and a revision of Alembic's is its own name."""
    return order_of(version) if re.fullmatch(r"[\d.]+", version) else version


class _Accepted:
    """The versions that may be irreversible; one that is not, and one that there is not, is a finding too."""

    def __init__(self, migrations: Sequence[Migration], reasons: Mapping[str, str]) -> None:
        self._keys = {_key(version) for version in reasons}
        known = {_key(migration.version) for migration in migrations}
        self.unknown = [
            f"{version}: is listed in baseline-irreversible, and there is no such migration; take it out"
            for version in reasons
            if _key(version) not in known
        ]

    def holds(self, migration: Migration) -> bool:
        return _key(migration.version) in self._keys

    def judge(self, migration: Migration, findings: Sequence[str]) -> list[str]:
        if not self.holds(migration):
            return list(findings)
        return [] if findings else [f"{migration.label}: is listed in baseline-irreversible, and reverses; take it out"]


class _Walker:
    """Goes down and up again; `stuck` says that what it left behind lets no other revision be looked at."""

    def __init__(self, connection: "Connection[tuple[Any, ...]]", engine: "Engine", *, on_its_own: bool) -> None:
        self.connection = connection
        self.engine = engine
        self.stuck = False
        self._sql_files = on_its_own

    def try_revision(self, migration: Migration, before: Snapshot, after: Snapshot) -> list[str]:
        """Revert and apply one revision again; return in words what that did not bring back."""
        if migration.down_file is None:
            return [f"{migration.label}: there is no down file"]
        if self._sql_files and migration.transactional and migration.down_transactional:
            found = self._try_and_roll_back(migration, before, after)
            if found is not None:
                return found
        return self._try_for_real(migration, before, after)

    def walk_chain(self, to: str, start: Snapshot, end: Snapshot) -> list[str]:
        """Go down to version `to` and up to the newest; both schemas must be as they were."""
        findings: list[str] = []
        with _telling("the whole chain: down", findings):
            self.engine.revert(to=to)
            findings += _tell("the whole chain", compare(start, take_snapshot(self.connection)), "down")
        if not findings:
            with _telling("the whole chain: up after down", findings):
                self.engine.apply()
                findings += _tell("the whole chain", compare(end, take_snapshot(self.connection)), "up after down")
        return findings

    def _try_and_roll_back(self, migration: Migration, before: Snapshot, after: Snapshot) -> list[str] | None:
        """Try it in a transaction that is rolled back, so that the next one starts clean; None where that cannot be."""
        import psycopg

        step = "down"
        try:
            with self.connection.transaction(force_rollback=True):
                self.connection.execute((migration.down_sql or "").encode())
                self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what its COMMIT would find
                findings = _tell(migration.label, compare(before, take_snapshot(self.connection)), "down")
                if not findings:
                    step = "up after down"
                    self.connection.execute(migration.sql.encode())
                    findings = _tell(migration.label, compare(after, take_snapshot(self.connection)), step)
        except psycopg.errors.UnsafeNewEnumValueUsage:
            return None  # a label cannot be used in the transaction that adds it
        except psycopg.Error as error:
            if step != "down" and isinstance(error, psycopg.errors.IntegrityError):
                return None  # it may count on constraints that are not asked before its own COMMIT
            return [f"{migration.label}: {step} fails: {_first_line(error)}"]
        return findings

    def _try_for_real(self, migration: Migration, before: Snapshot, after: Snapshot) -> list[str]:
        findings: list[str] = []
        self.stuck = True
        with _telling(f"{migration.label}: down", findings):
            self.engine.revert(steps=1)
            findings += _tell(migration.label, compare(before, take_snapshot(self.connection)), "down")
            again: list[str] = []
            with _telling(f"{migration.label}: up after down", again):
                self.engine.apply(to=migration.version)
                again += _tell(migration.label, compare(after, take_snapshot(self.connection)), "up after down")
            findings += again if not findings else ()
            self.stuck = bool(again)
        return findings


def _refuse_unusable(connection: "Connection[tuple[Any, ...]]", migrations: Sequence[Migration]) -> None:
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if (row and row[0]) or any(entry.kind in {"table", "view"} for entry in take_snapshot(connection)):
        raise MigrationError(
            "the database to verify migrations on is not empty", hint="give the address of a database made for this"
        )
    refuse_unrunnable(
        (m.down_file, m.down_sql) for m in migrations if m.down_file and m.down_sql and m.down_transactional
    )
    if missing := _missing_extensions(connection, migrations):
        raise MigrationError(
            f"this server has not what the migrations need: {', '.join(missing)}",
            hint="verify on a server that has these extensions",
        )


def _missing_extensions(connection: "Connection[tuple[Any, ...]]", migrations: Sequence[Migration]) -> list[str]:
    wanted: dict[str, Migration] = {}
    for migration in migrations:
        if "extension" not in migration.sql.lower():
            continue
        for statement in split_statements(migration.sql):
            words = [word for word in statement.words if word not in {"IF", "NOT", "EXISTS"}]
            if words[:2] == ["CREATE", "EXTENSION"] and len(words) > 2:
                wanted.setdefault(words[2].strip('"').lower(), migration)
    known = {row[0] for row in connection.execute("SELECT name FROM pg_available_extensions").fetchall()}
    return [f"extension {name} ({migration.label})" for name, migration in wanted.items() if name not in known]


def _put_in(connection: "Connection[tuple[Any, ...]]", rows: str, migration: Migration) -> None:
    import psycopg

    if not rows.strip():
        return
    try:
        connection.execute(rows.encode())
    except psycopg.Error as error:
        raise MigrationError(f"the seed's rows for {migration.label} were refused: {_first_line(error)}") from None


@contextmanager
def _telling(what: str, findings: list[str]) -> Iterator[None]:
    """Make a finding of a migration that fails."""
    try:
        yield
    except MigrationError as error:
        findings.append(f"{what} fails: {error.message.strip().partition(chr(10))[0]}")


def _tell(who: str, differences: Sequence[Difference], step: str) -> list[str]:
    return [f"{who}: {describe_difference(difference, step)}" for difference in differences]


def _first_line(error: Exception) -> str:
    return re.split(r"\r?\n", str(error).strip(), maxsplit=1)[0]
