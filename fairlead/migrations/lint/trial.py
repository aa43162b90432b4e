"""Runs the statements of a file one by one in a transaction that is rolled back, and reads what each did to the tables.

The catalogs tell what no parser can: which locks a statement took, whether a table was written anew or read from end to
end, also within a DO block and by a function. The tables may be empty: a scan is counted all the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from fairlead.migrations.lint.surface import STORING, Surface, take_surface
from fairlead.migrations.statements import Statement, split_statements

if TYPE_CHECKING:
    from psycopg import Connection, Error

#: The modes that keep writers out, in the order of their strength; the last keeps readers out as well.
BLOCKING: Final = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_WRITING: Final = "RowExclusiveLock"
#: What only puts rows in: a file of a million of these is one step.
_PLAIN: Final = {"INSERT", "COMMENT", "SET"}
#: What leaves the schema alone; what a function of theirs does to it shows at the end of the file.
_WITHIN: Final = {*_PLAIN, "UPDATE", "DELETE", "MERGE"}
#: Statements in which an index is preferred, so that a scan means that there is none to use.
_CHANGING: Final = {"UPDATE", "DELETE", "MERGE", "WITH", "DO", "CALL", "SELECT"}

_FACTS: Final = """
WITH held AS (
    SELECT relation, array_agg(mode) AS modes FROM pg_catalog.pg_locks
    WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND granted GROUP BY relation
)
SELECT base.oid, coalesce(c.relfilenode, 0)::bigint, c.oid IS NULL, coalesce(held.modes, '{}'),
       coalesce(x.seq_scan, 0), coalesce(x.idx_scan, 0)
FROM unnest(%s::bigint[]) AS base (oid)
LEFT JOIN pg_catalog.pg_class c ON c.oid = base.oid
LEFT JOIN held ON held.relation = base.oid
LEFT JOIN pg_catalog.pg_stat_xact_user_tables x ON x.relid = base.oid
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What one statement, or a run of plain ones, did to the tables that were there before, each by name."""

    statement: Statement
    #: The strongest blocking lock that it took itself, and that statements before it had taken.
    locked: Mapping[str, str]
    held: Mapping[str, str]
    rewritten: tuple[str, ...]
    emptied: tuple[str, ...]
    scanned: tuple[str, ...]
    #: Scanned, and rows of it changed.
    changed: tuple[str, ...]
    before: Surface = field(repr=False)
    after: Surface = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """The steps of a file up to its end, or up to the statement that failed."""

    steps: tuple[Step, ...]
    failed: Statement | None = None
    error: "Error | None" = None


@dataclass(frozen=True, slots=True)
class _Fact:
    file: int
    gone: bool
    modes: tuple[str, ...]
    scans: int
    index_scans: int

    @property
    def blocking(self) -> int:
        return max((BLOCKING.index(mode) for mode in self.modes if mode in BLOCKING), default=-1)


def tables_of(surface: Surface) -> Mapping[int, str]:
    """Return what of a schema can be locked, written anew and scanned, by its number in the catalogs."""
    return {one.oid: one.name for one in surface.relations.values() if one.kind in {*STORING, "m"}}


def try_statements(connection: "Connection[tuple[Any, ...]]", text: str, tables: Mapping[int, str]) -> Trial:
    """Run a file's statements in a transaction that is rolled back, and look at `tables` after each.

    `connection` leads to a scratch database and is in autocommit mode. A statement that fails ends the trial.
    """
    import psycopg

    steps: list[Step] = []
    statement = None
    with connection.transaction(force_rollback=True):
        watch = _Watch(connection, tables)
        try:
            for group in _grouped(text):
                prefer = "off" if group[0].first_word in _CHANGING else "on"
                connection.execute(f"SET LOCAL enable_seqscan = {prefer}".encode())
                for statement in _sent_together(connection, text, group):
                    connection.execute(statement.text.encode())
                steps.append(watch.look(group[0]))
        except psycopg.Error as error:
            return Trial(tuple(steps), statement, error)
    return Trial(tuple(steps))


class _Watch:
    """Remembers what the tables were like after the statement before."""

    def __init__(self, connection: "Connection[tuple[Any, ...]]", tables: Mapping[int, str]) -> None:
        self._connection = connection
        self._tables = tables
        self._facts = self._read()
        self._surface = take_surface(connection)

    def look(self, statement: Statement) -> Step:
        before, after = self._facts, self._read()
        surface = self._surface if statement.first_word in _WITHIN else take_surface(self._connection)
        replaced = [oid for oid, fact in after.items() if not fact.gone and fact.file != before[oid].file]
        scanned = [oid for oid, fact in after.items() if _scanned(before[oid], fact)]
        emptied = replaced if _empties(statement) else []
        step = Step(
            statement=statement,
            locked=self._named({oid: f.blocking for oid, f in after.items() if f.blocking > before[oid].blocking}),
            held=self._named({oid: fact.blocking for oid, fact in before.items() if fact.blocking >= 0}),
            rewritten=self._names(oid for oid in replaced if oid not in emptied),
            emptied=self._names(emptied),
            scanned=self._names(scanned),
            changed=self._names(oid for oid in scanned if _changed(statement, before[oid], after[oid])),
            before=self._surface,
            after=surface,
        )
        self._facts, self._surface = after, surface
        return step

    def _read(self) -> dict[int, _Fact]:
        rows = self._connection.execute(_FACTS, [list(self._tables)]).fetchall()
        return {oid: _Fact(file, gone, tuple(modes), scans, found) for oid, file, gone, modes, scans, found in rows}

    def _names(self, oids: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted(self._tables[oid] for oid in oids))

    def _named(self, strengths: Mapping[int, int]) -> Mapping[str, str]:
        return {self._tables[oid]: BLOCKING[strength] for oid, strength in strengths.items()}


def _sent_together(
    connection: "Connection[tuple[Any, ...]]", text: str, group: Sequence[Statement]
) -> Sequence[Statement]:
    """Send a group as one query, and return what is still to be sent: each by itself, where one of them fails."""
    import psycopg

    if len(group) == 1:
        return group
    last = group[-1]
    try:
        with connection.transaction():
            connection.execute(text[group[0].start : last.start + len(last.text)].encode())
    except psycopg.Error:
        return group
    return ()


def _scanned(before: _Fact, after: _Fact) -> bool:
    """Tell whether a table was read as a whole; under a blocking lock, an index may have served for that as well."""
    by_index = after.index_scans > before.index_scans and after.blocking > before.blocking
    return after.scans > before.scans or by_index


def _empties(statement: Statement) -> bool:
    """Tell whether a table that has a new file was emptied rather than written anew."""
    within = statement.first_word in {"DO", "CALL", "SELECT"} and "TRUNCATE" in statement.text.upper()
    return within or statement.first_word == "TRUNCATE"


def _changed(statement: Statement, before: _Fact, after: _Fact) -> bool:
    """Tell whether rows of a table that was scanned may have changed, rather than been read for something else."""
    if after.scans == before.scans or _WRITING not in after.modes:
        return False
    return _WRITING not in before.modes or statement.first_word in _CHANGING - {"SELECT"}


def _grouped(text: str) -> Iterator[tuple[Statement, ...]]:
    """Yield the statements of a file one by one, and neighbours that are plain together."""
    for plain, group in groupby(split_statements(text), key=lambda statement: statement.first_word in _PLAIN):
        if plain:
            yield tuple(group)
        else:
            yield from ((statement,) for statement in group)
