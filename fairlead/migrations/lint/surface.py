"""What a release can see of a schema, by name, and what of that is gone, renamed or narrower afterwards.

Two questions are told apart. Does the release that still serves find what it names? That is asked by name: a view may
stand in for a table. Is data lost? That is asked by the catalogs' own numbers: what was renamed is still there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from psycopg import Connection

Effect = Literal["contract", "destructive"]

_RELATIONS: Final = r"""
SELECT c.oid::bigint, c.relkind::text,
       CASE n.nspname WHEN 'public' THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.relname),
       a.attnum, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasdef OR a.attidentity <> ''
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  AND c.relname NOT IN ('schema_migrations', 'alembic_version')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid, a.attnum
"""
_OTHERS: Final = r"""
SELECT 'the label ' || quote_literal(e.enumlabel) || ' of the type ' || format_type(e.enumtypid, NULL),
       e.enumlabel::text
FROM pg_catalog.pg_enum e
UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'the procedure ' ELSE 'the function ' END || p.oid::regprocedure::text,
       p.proname::text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""
_KINDS: Final = {"v": "view", "m": "materialized view", "f": "foreign table"}
#: Relations that hold rows which are written nowhere else.
STORING: Final = {"r", "p"}
#: Types of which every value is one of those after it as well, and reaches the application as the same kind.
_WIDER: Final = (
    ("smallint", "integer", "bigint"),
    ("real", "double precision"),
    ("character varying", "text"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column as those who write to the table know it."""

    number: int
    name: str
    type: str
    required: bool
    filled: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, a view or the like, with its columns by name."""

    oid: int
    name: str
    kind: str
    columns: Mapping[str, Column]

    def __str__(self) -> str:
        return f"the {_KINDS.get(self.kind, 'table')} {self.name}"


@dataclass(frozen=True, slots=True)
class Surface:
    """What a release can name: relations by name, and in words the functions and the labels of enums."""

    relations: Mapping[str, Relation]
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What was taken away from whoever knew the schema before, and the `names` by which they knew it."""

    effect: Effect
    message: str
    names: tuple[str, ...] = ()


def take_surface(connection: "Connection[tuple[Any, ...]]") -> Surface:
    """Read what a release can see of the database behind `connection`, within its transaction where one is open."""
    relations: dict[str, Relation] = {}
    with connection.transaction(force_rollback=True):
        # Names are told in full then, whatever a migration did to the search path.
        connection.execute("SET LOCAL search_path = ''")
        rows = connection.execute(_RELATIONS).fetchall()
        others = dict(connection.execute(_OTHERS).fetchall())
    for oid, kind, name, number, column, kind_of_column, required, filled in rows:
        columns = dict(relations[name].columns) if name in relations else {}
        if number is not None:
            columns[column] = Column(number, column, kind_of_column, required, filled)
        relations[name] = Relation(oid, name, kind, columns)
    return Surface(relations, others)


def find_changes(before: Surface, after: Surface) -> tuple[Change, ...]:
    """Return what `after` takes away from a release that was made for `before`, and what data it throws away."""
    return (*_find_losses(before, after), *_find_breaks(before, after))


def _find_losses(before: Surface, after: Surface) -> Iterator[Change]:
    by_oid = {relation.oid: relation for relation in after.relations.values()}
    for relation in before.relations.values():
        if relation.kind not in STORING:
            continue
        now = by_oid.get(relation.oid)
        if now is None:
            yield Change("destructive", f"drops {relation} with all its rows")
            continue
        numbers = {column.number for column in now.columns.values()}
        for column in relation.columns.values():
            if column.number not in numbers:
                yield Change("destructive", f"drops the column {relation.name}.{column.name} with all its values")


def _find_breaks(before: Surface, after: Surface) -> Iterator[Change]:
    renamed = {relation.oid: relation.name for relation in after.relations.values()}
    for relation in before.relations.values():
        now = after.relations.get(relation.name)
        if now is None:
            to = renamed.get(relation.oid)
            what = f"renames {relation} to {to}" if to else f"drops {relation}"
            yield Change("contract", what, (relation.name.rpartition(".")[2],))
        else:
            yield from _find_narrowings(relation, now)
    for what, name in before.others.items():
        if what not in after.others:
            yield Change("contract", f"takes away {what}", (name,))


def _find_narrowings(before: Relation, now: Relation) -> Iterator[Change]:
    renamed = {column.number: column.name for column in now.columns.values()} if now.oid == before.oid else {}
    for column in before.columns.values():
        same, label = now.columns.get(column.name), f"the column {now.name}.{column.name}"
        if same is None:
            to = renamed.get(column.number)
            yield Change("contract", f"renames {label} to {to}" if to else f"drops {label}", (column.name,))
            continue
        if not _holds_all(column.type, same.type):
            yield Change("contract", f"changes {label} from {column.type} to {same.type}", (column.name,))
        if same.required and not same.filled and not (column.required and not column.filled):
            lost = "takes its default from" if column.required else "demands a value in"
            yield Change("contract", f"{lost} {label}, which writers need not give so far", (column.name,))
    known = {column.number for column in before.columns.values()}
    for column in now.columns.values():
        new = column.name not in before.columns and column.number not in known
        if new and column.required and not column.filled and now.kind in STORING:
            what = f"adds {now.name}.{column.name}, which is NOT NULL without a default, so that inserts fail"
            yield Change("contract", what, (before.name.rpartition(".")[2],))


def _holds_all(one: str, other: str) -> bool:
    """Tell whether every value of a type is one of the other type, by what is known of them."""
    if one == other:
        return True
    (base, sizes), (wider, limits) = _parts(one), _parts(other)
    if base == wider:
        if not limits:
            return True
        if base == "numeric" and len(sizes) == len(limits) == 2:
            return limits[1] >= sizes[1] and limits[0] - limits[1] >= sizes[0] - sizes[1]
        return bool(sizes) and all(limit >= size for size, limit in zip(sizes, limits, strict=False))
    for family in _WIDER:
        if base in family and wider in family:
            return family.index(base) < family.index(wider) and not limits
    return False


def _parts(name: str) -> tuple[str, tuple[int, ...]]:
    """Return the type without its numbers, and these: numeric(10,2) is numeric with 10 and 2."""
    head, bracket, rest = name.partition("(")
    inside, _, tail = rest.partition(")")
    numbers = tuple(int(part) for part in inside.split(",")) if bracket else ()
    return f"{head.strip()}{tail}".strip(), numbers
