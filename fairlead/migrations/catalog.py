"""A snapshot of a database's schema as facts in words, read from the catalogs, and what differs between two.

The order of columns, the white space of function bodies and what belongs to an extension are no part of it, nor is
the table in which migrations are recorded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from psycopg import Connection


class Entry(NamedTuple):
    """One thing in the schema: its kind, its name and what it is a part of, if anything; thousands are compared."""

    kind: str
    name: str
    of: str = ""

    def __str__(self) -> str:
        within = f"{self.of}." if self.of and not self.kind.endswith(" on") else ""
        return f"{self.kind} {within}{self.name}"


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that two snapshots do not agree on; None stands for its absence."""

    entry: Entry
    before: str | None
    after: str | None


Snapshot = Mapping[Entry, str]

_LONGEST_DEFINITION: Final = 160
#: A column's definition as the query below puts it.
_COLUMN: Final = re.compile(
    r"(?P<type>.*?)(?: (?P<null>NOT NULL))?(?: (?P<identity>GENERATED (?:ALWAYS|BY DEFAULT) AS IDENTITY))?"
    r"(?: (?P<value>(?:DEFAULT|GENERATED ALWAYS AS) .*))?",
    re.DOTALL,
)

#: Yields: kind, name, what it is a part of, definition. Each branch is one kind of thing.
_QUERY: Final = r"""
WITH
member AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
space AS (
    SELECT oid, nspname, nspowner, nspacl,
           CASE WHEN nspname = 'public' THEN '' ELSE quote_ident(nspname) || '.' END AS prefix
    FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
      AND oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_namespace'::regclass)
),
relation AS (
    SELECT c.oid, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
           c.relpartbound, c.reloptions, c.relacl, c.relowner, s.prefix || quote_ident(c.relname) AS label,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                          WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind
    FROM pg_class c JOIN space s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname NOT IN ('schema_migrations', 'alembic_version')
      AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
),
routine AS (
    SELECT p.oid, p.prokind, p.proacl, p.proowner,
           s.prefix || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS label
    FROM pg_proc p JOIN space s ON s.oid = p.pronamespace
    WHERE p.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_proc'::regclass)
),
granted AS (
    SELECT kind || ' ' || label AS label, label AS of, relacl AS acl, relowner AS owner,
           CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS type
    FROM relation
    UNION ALL
    SELECT 'schema ' || quote_ident(nspname), quote_ident(nspname), nspacl, nspowner, 'n' FROM space
    UNION ALL SELECT 'function ' || label, label, proacl, proowner, 'f' FROM routine
    UNION ALL SELECT 'column ' || r.label || '.' || quote_ident(a.attname), r.label, a.attacl, r.relowner, 'c'
    FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid WHERE a.attacl IS NOT NULL
),
access AS (  -- what nobody granted is the same for all of an owner, and spelled once
    SELECT label, of, coalesce(acl, acldefault(type, owner)) AS acl,
           CASE WHEN acl IS NULL THEN type::text || owner ELSE label END AS key
    FROM granted
),
spelled AS MATERIALIZED (
    SELECT key, (
        SELECT string_agg(one, ', ' ORDER BY one) FROM (
            SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END || ' ' || string_agg(
                privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ' ' ORDER BY privilege_type) AS one
            FROM aclexplode(acl) GROUP BY grantee) each) AS told
    FROM (SELECT DISTINCT ON (key) key, acl FROM access) each
)

SELECT 'schema', quote_ident(nspname), '', '' FROM space

UNION ALL
SELECT kind, label, '', concat_ws(' ',
    CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
    CASE WHEN relkind IN ('v', 'm') THEN regexp_replace(pg_get_viewdef(oid), '\s+', ' ', 'g') END,
    CASE WHEN relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
    (SELECT 'INHERITS ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
     FROM pg_inherits WHERE inhrelid = relation.oid),
    CASE WHEN relispartition THEN pg_get_expr(relpartbound, oid) END,
    CASE WHEN relrowsecurity THEN 'ROW LEVEL SECURITY' END,
    CASE WHEN relforcerowsecurity THEN 'FORCED' END,
    'WITH (' || array_to_string(reloptions, ', ') || ')')
FROM relation WHERE relkind <> 'S'

UNION ALL
SELECT 'column', quote_ident(a.attname), r.label, concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation::text END,
    CASE WHEN a.attnotnull THEN 'NOT NULL' END,
    CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                       WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
    CASE WHEN a.attgenerated <> '' THEN 'GENERATED ALWAYS AS' WHEN d.oid IS NOT NULL THEN 'DEFAULT' END,
    pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a
JOIN relation r ON r.oid = a.attrelid AND r.relkind <> 'S'
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped

UNION ALL  -- NOT NULL is told with its column
SELECT 'constraint', quote_ident(k.conname), r.label, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid WHERE k.contype <> 'n'

UNION ALL  -- those that are not a constraint's
SELECT 'index', quote_ident(c.relname), r.label,
       pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM pg_index i JOIN relation r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u', 'x'))

UNION ALL
SELECT 'sequence', r.label, '', concat_ws(' ', format_type(s.seqtypid, NULL), 'START', s.seqstart,
    'INCREMENT', s.seqincrement, 'MIN', s.seqmin, 'MAX', s.seqmax, 'CACHE', s.seqcache,
    CASE WHEN s.seqcycle THEN 'CYCLE' END,
    (SELECT 'OWNED BY ' || o.refobjid::regclass::text || '.' || quote_ident(a.attname)
     FROM pg_depend o JOIN pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
     WHERE o.classid = 'pg_class'::regclass AND o.objid = r.oid AND o.deptype IN ('a', 'i')
       AND o.refclassid = 'pg_class'::regclass LIMIT 1))
FROM pg_sequence s JOIN relation r ON r.oid = s.seqrelid

UNION ALL
SELECT 'trigger', quote_ident(g.tgname), r.label, pg_get_triggerdef(g.oid)
    || CASE g.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLED' ELSE ' ENABLED ' || g.tgenabled::text END
FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid WHERE NOT g.tgisinternal

UNION ALL
SELECT 'rule', quote_ident(w.rulename), r.label, pg_get_ruledef(w.oid)
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'

UNION ALL
SELECT 'policy', quote_ident(p.polname), r.label, concat_ws(' ',
    CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR', p.polcmd::text, 'TO',
    (SELECT string_agg(CASE WHEN id = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(id) END, ', ' ORDER BY id)
     FROM unnest(p.polroles) id),
    'USING ' || pg_get_expr(p.polqual, p.polrelid), 'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN relation r ON r.oid = p.polrelid

UNION ALL
SELECT CASE r.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, r.label, '',
    regexp_replace(CASE WHEN r.prokind = 'a' THEN
        (SELECT concat_ws(' ', aggtransfn, aggfinalfn, format_type(aggtranstype, NULL), agginitval)
         FROM pg_aggregate WHERE aggfnoid = r.oid)
        ELSE pg_get_functiondef(r.oid) END, '\s+', ' ', 'g')
FROM routine r

UNION ALL
SELECT 'type', s.prefix || quote_ident(t.typname), '', CASE t.typtype
    WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                               FROM pg_enum WHERE enumtypid = t.oid) || ')'
    WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(t.typbasetype, t.typtypmod),
        CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
        (SELECT string_agg(quote_ident(conname) || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname)
         FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'))
    WHEN 'c' THEN 'COMPOSITE (' || (
        SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped) || ')'
    ELSE 'RANGE ' || (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid) END
FROM pg_type t JOIN space s ON s.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('e', 'd', 'c', 'r') AND (t.typtype <> 'c' OR c.relkind = 'c')
  AND t.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_type'::regclass)

UNION ALL
SELECT 'extension', quote_ident(e.extname), '', e.extversion || ' in ' || n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace

UNION ALL
SELECT 'statistics', s.prefix || quote_ident(x.stxname), '', pg_get_statisticsobjdef(x.oid)
FROM pg_statistic_ext x JOIN space s ON s.oid = x.stxnamespace

UNION ALL
SELECT 'event trigger', quote_ident(evtname), '', concat_ws(' ', evtevent, evtfoid::regproc, evtenabled)
FROM pg_event_trigger

UNION ALL
SELECT 'grants on', a.label, a.of, s.told FROM access a JOIN spelled s ON s.key = a.key

UNION ALL  -- what was created here has a number of 16384 or more; the schema public is in every database
SELECT 'comment on', pg_describe_object(d.classoid, d.objoid, d.objsubid), coalesce(r.label, ''), d.description
FROM pg_description d LEFT JOIN relation r ON r.oid = d.objoid AND d.classoid = 'pg_class'::regclass
WHERE (d.objoid >= 16384 OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace))
  AND d.classoid <> 'pg_extension'::regclass
  AND (d.classoid, d.objoid) NOT IN (SELECT classid, objid FROM member)
"""


def take_snapshot(connection: "Connection[tuple[Any, ...]]") -> Snapshot:
    """Read the schema of the database behind `connection`, within its transaction where one is open."""
    facts: dict[Entry, str] = {}
    with connection.transaction(force_rollback=True):
        # Names are told in full then, whatever a migration did to the search path; compiling would double the time.
        connection.execute("SET LOCAL search_path = ''; SET LOCAL jit = off")
        for kind, name, of, definition in connection.execute(_QUERY).fetchall():
            facts[Entry(kind, name, of)] = definition or ""
    return facts


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
    if after is None:
        return f"{step} does not restore {entry}" + (f" ({_shorten(before)})" if before else "")
    if before is None:
        return f"{step} leaves {entry} behind"
    if entry.kind == "column" and (lost := _lost_of_column(before, after)):
        return f"{step} does not restore {entry.of}.{entry.name} {lost}"
    if entry.kind == "type" and (labels := _labels(before) - _labels(after)):
        return f"{step} does not restore the label {', '.join(sorted(labels))} of {entry}"
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
