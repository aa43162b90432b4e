"""A snapshot of a database's schema as facts in words, read from the catalogs, and what differs between two.

The order of columns, the white space of function bodies and what belongs to an extension are no part of it, nor is
the table in which migrations are recorded.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fairlead.migrations.catalog_query import QUERY

if TYPE_CHECKING:
    from psycopg import Connection


class Entry(NamedTuple):
    """One thing in the schema: its kind, its name and what it is a part of, if anything; thousands are compared."""

    kind: str
    name: str
    of: str = ""

    def __str__(self) -> str:
        within = f"{self.of}." if self.of and not self.kind.endswith((" on", " of")) else ""
        return f"{self.kind} {within}{self.name}"


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that two snapshots do not agree on; None stands for its absence."""

    entry: Entry
    before: str | None
    after: str | None


Snapshot = Mapping[Entry, str]

_LONGEST_DEFINITION: Final = 160
_WHOEVER: Final = "whoever migrates"
#: What the words depend on, whatever a migration left set: names are told in full, values in one spelling, and who
#: looks is who connected. Compiling the query would double the time.
_SETTINGS: Final = """
SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; SET LOCAL search_path = ''; SET LOCAL jit = off;
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on
"""
#: A column's definition as the query below puts it.
_COLUMN: Final = re.compile(
    r"(?P<type>.*?)(?: (?P<null>NOT NULL))?(?: (?P<identity>GENERATED (?:ALWAYS|BY DEFAULT) AS IDENTITY))?"
    r"(?: (?P<value>(?:DEFAULT|GENERATED ALWAYS AS) .*))?",
    re.DOTALL,
)


def take_snapshot(connection: "Connection[tuple[Any, ...]]") -> Snapshot:
    """Read the schema of the database behind `connection`, within its transaction where one is open."""
    facts: dict[Entry, str] = {}
    with connection.transaction(force_rollback=True):
        connection.execute(_SETTINGS)
        for kind, name, of, definition in connection.execute(f"EXECUTE {_prepare(connection)}".encode()).fetchall():
            facts[Entry(kind, name, of)] = definition or ""
    return facts


def _prepare(connection: "Connection[tuple[Any, ...]]") -> str:
    """Return the name of the prepared query: planning it takes as long as running it over a small schema.

    Its plan fits the size that the catalogs have now, so that there is another one when they have doubled.
    """
    row = connection.execute(
        "SELECT name, EXISTS (SELECT FROM pg_prepared_statements p WHERE p.name = each.name) FROM ("
        "SELECT 'fairlead_snapshot_' || floor(log(2, pg_relation_size('pg_attribute')))) each (name)"
    ).fetchone()
    name, known = row or ("fairlead_snapshot", False)
    if not known:
        connection.execute(f"PREPARE {name} AS {QUERY}".encode())
    return str(name)


def compare(before: Snapshot, after: Snapshot) -> tuple[Difference, ...]:
    """Return what differs; the parts of what is itself missing on one side are not told apart."""
    differing = {entry for entry, definition in before.items() if after.get(entry) != definition}
    differing |= after.keys() - before.keys()
    found = [Difference(entry, before.get(entry), after.get(entry)) for entry in sorted(differing)]
    whole = {d.entry.name for d in found if not d.entry.of and (d.before is None) != (d.after is None)}
    return tuple(d for d in found if d.entry.of not in whole)


def describe_difference(difference: Difference, step: str) -> str:
    """Say in words what a step (`down`, `up after down`) did not bring back as it was."""
    entry, before, after = difference.entry, difference.before, difference.after
    if entry.kind == "owner of":
        return f"{step} does not restore {entry}: it was {before or _WHOEVER}, and is {after or _WHOEVER}"
    if after is None:
        return f"{step} does not restore {entry}" + (f" ({_shorten(before)})" if before else "")
    if before is None:
        return f"{step} leaves {entry} behind"
    if entry.kind == "column" and (lost := _lost_of_column(before, after)):
        return f"{step} does not restore {entry.of}.{entry.name} {lost}"
    if entry.kind == "type" and (labels := _labels(before) - _labels(after)):
        return f"{step} does not restore the label {', '.join(sorted(labels))} of {entry}"
    if min(len(before), len(after)) > _LONGEST_DEFINITION:
        equal = (one == other for one, other in zip(before, after, strict=False))
        begin = max(sum(itertools.takewhile(bool, equal)) - _LONGEST_DEFINITION // 2, 0)
        before, after = (f"{'…' if begin else ''}{text[begin:]}" for text in (before, after))
    return f"{step} does not restore {entry}: it was {_shorten(before)}, and is {_shorten(after)}"


def _lost_of_column(before: str, after: str) -> str:
    """Return what a column had besides its type and has no more, where its type is the same."""
    one, other = _COLUMN.fullmatch(before), _COLUMN.fullmatch(after)
    if one is None or other is None or one["type"] != other["type"]:
        return ""
    return " ".join(one[part] for part in ("null", "identity", "value") if one[part] and one[part] != other[part])


def _labels(definition: str) -> set[str]:
    return set(re.findall(r"'(?:[^']|'')*'", definition)) if definition.startswith("ENUM") else set()


def _shorten(text: str | None) -> str:
    text = text or "nothing"
    return text if len(text) <= _LONGEST_DEFINITION else f"{text[:_LONGEST_DEFINITION]}…"
