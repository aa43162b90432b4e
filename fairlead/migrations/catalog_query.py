"""The query that reads a schema from the catalogs, a row for each thing in it: kind, name, part of what, definition."""

import re
from typing import Final

from fairlead.migrations.catalog_lesser import LESSER

#: Each branch is one kind of thing. `{...options}` stands for a list of options, told in the order of the alphabet.
_TEMPLATE: Final = r"""
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
           c.relpartbound, c.reloptions, c.relacl, c.relowner, c.relreplident, c.relam, c.reloftype, c.reltoastrelid,
           s.prefix || quote_ident(c.relname) AS label,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                          WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind
    FROM pg_class c JOIN space s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname NOT IN ('schema_migrations', 'alembic_version')
      AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
      AND c.oid NOT IN (  -- Alembic's record under a name of the project's own
          SELECT k.conrelid FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = 1
          WHERE k.contype = 'p' AND k.conkey = '{1}' AND a.attname = 'version_num' AND k.conname LIKE '%\_pkc')
),
routine AS (
    SELECT p.oid, p.prokind, p.proacl, p.proowner,
           s.prefix || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS label
    FROM pg_proc p JOIN space s ON s.oid = p.pronamespace
    WHERE p.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_proc'::regclass)
),
type AS (  -- neither the arrays that PostgreSQL makes beside each, nor the rows of tables
    SELECT t.*, s.prefix || quote_ident(t.typname) AS label
    FROM pg_type t JOIN space s ON s.oid = t.typnamespace
    WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype IN ('b', 'p') AND t.typcategory <> 'A')
           OR (t.typtype = 'c' AND t.typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')))
      AND t.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_type'::regclass)
),
server AS (
    SELECT v.*, quote_ident(v.srvname) AS label FROM pg_foreign_server v
    WHERE v.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_foreign_server'::regclass)
),
wrapper AS (
    SELECT w.*, quote_ident(w.fdwname) AS label FROM pg_foreign_data_wrapper w
    WHERE w.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_foreign_data_wrapper'::regclass)
),
plain AS (  -- indexes that are spelled here, in the words of pg_get_indexdef, which takes longer than all else
    SELECT i.indexrelid, string_agg(quote_ident(a.attname), ', ' ORDER BY key.place) AS columns
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[])
        WITH ORDINALITY key (attnum, class, sorted, way, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
    JOIN pg_opclass o ON o.oid = key.class
    WHERE i.indrelid IN (SELECT oid FROM relation) AND c.relkind = 'i' AND c.reloptions IS NULL
      AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
      AND i.indnatts = i.indnkeyatts AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT i.indnullsnotdistinct
      AND i.indexrelid NOT IN (SELECT attrelid FROM pg_attribute WHERE attoptions IS NOT NULL)
    GROUP BY i.indexrelid
    HAVING bool_and(o.opcdefault AND key.sorted = a.attcollation AND key.way = 0 AND (
        o.opcintype = a.atttypid OR (o.opcintype = 'text'::regtype AND a.atttypid = 'varchar'::regtype)))
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
    UNION ALL
    SELECT 'type ' || label, label, typacl, typowner, 'T' FROM type
    UNION ALL SELECT 'foreign server ' || label, label, srvacl, srvowner, 'S' FROM server
    UNION ALL SELECT 'foreign-data wrapper ' || label, label, fdwacl, fdwowner, 'F' FROM wrapper
    UNION ALL SELECT 'the database', '', datacl, datdba, 'd' FROM pg_database WHERE datname = current_database()
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
    CASE WHEN reloftype <> 0 THEN 'OF ' || format_type(reloftype, NULL) END,
    CASE WHEN relam NOT IN (0, 2) THEN 'USING ' || (SELECT amname FROM pg_am WHERE oid = relam) END,
    CASE WHEN relkind IN ('v', 'm') THEN regexp_replace(pg_get_viewdef(oid), '\s+', ' ', 'g') END,
    CASE WHEN relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
    (SELECT 'INHERITS ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
     FROM pg_inherits WHERE inhrelid = relation.oid),
    CASE WHEN relispartition THEN pg_get_expr(relpartbound, oid) END,
    CASE WHEN relrowsecurity THEN 'ROW LEVEL SECURITY' END,
    CASE WHEN relforcerowsecurity THEN 'FORCED' END,
    CASE relreplident WHEN 'f' THEN 'REPLICA IDENTITY FULL' WHEN 'n' THEN 'REPLICA IDENTITY NOTHING'
        WHEN 'i' THEN 'REPLICA IDENTITY USING INDEX ' || (
            SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = relation.oid AND indisreplident) END,
    CASE relkind WHEN 'f' THEN (
        SELECT concat_ws(' ', 'SERVER', quote_ident(srvname), {ftoptions})
        FROM pg_foreign_table JOIN pg_foreign_server v ON v.oid = ftserver WHERE ftrelid = relation.oid) END,
    'WITH (' || {reloptions} || ')',
    (SELECT 'TOAST WITH (' || {t.reloptions} || ')' FROM pg_class t WHERE t.oid = relation.reltoastrelid))
FROM relation WHERE relkind <> 'S'

UNION ALL
SELECT 'column', quote_ident(a.attname), r.label, concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attstorage <> t.typstorage THEN 'STORAGE ' || a.attstorage::text END,
    CASE WHEN coalesce(a.attstattarget, -1) <> -1 THEN 'STATISTICS ' || a.attstattarget END,
    CASE WHEN a.attcompression <> '' THEN 'COMPRESSION ' || a.attcompression::text END,
    'WITH (' || {a.attoptions} || ')',
    'OPTIONS (' || {a.attfdwoptions} || ')',
    CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation::text END,
    CASE WHEN a.attnotnull THEN 'NOT NULL' END,
    CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                       WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
    CASE WHEN a.attgenerated <> '' THEN 'GENERATED ALWAYS AS' WHEN d.oid IS NOT NULL THEN 'DEFAULT' END,
    pg_get_expr(d.adbin, d.adrelid),
    CASE a.attgenerated WHEN 's' THEN 'STORED' WHEN 'v' THEN 'VIRTUAL' END)
FROM pg_attribute a
JOIN relation r ON r.oid = a.attrelid AND r.relkind <> 'S'
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped

UNION ALL  -- NOT NULL is told with its column; a key to a partitioned table has one more of its own for each partition
SELECT 'constraint', quote_ident(k.conname), r.label, concat_ws(' ', pg_get_constraintdef(k.oid),
    CASE WHEN k.conparentid <> 0 THEN 'INHERITED' END,
    CASE WHEN k.contype IN ('p', 'u', 'x') AND k.conindid IN (SELECT indexrelid FROM pg_index WHERE indisclustered)
         THEN 'CLUSTERED' END,
    CASE WHEN k.oid IN (SELECT tgconstraint FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O')
         THEN 'NOT ENABLED' END)
FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid LEFT JOIN pg_constraint whole ON whole.oid = k.conparentid
WHERE k.contype <> 'n' AND whole.conrelid IS DISTINCT FROM k.conrelid

UNION ALL  -- those that are not a constraint's
SELECT 'index', quote_ident(c.relname), r.label,
       CASE WHEN p.columns IS NULL THEN pg_get_indexdef(i.indexrelid) ELSE concat(
           'CREATE ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, 'INDEX ', quote_ident(c.relname), ' ON ',
           i.indrelid::regclass, ' USING btree (', p.columns, ')') END
       || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
       || CASE WHEN i.indisclustered THEN ' CLUSTERED' ELSE '' END
       || CASE WHEN c.relispartition THEN ' ATTACHED' ELSE '' END
FROM pg_index i JOIN relation r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN plain p ON p.indexrelid = i.indexrelid
WHERE i.indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u', 'x'))

UNION ALL
SELECT 'sequence', r.label, '', concat_ws(' ', CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' END,
    format_type(s.seqtypid, NULL), 'START', s.seqstart,
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
    || CASE w.ev_enabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLED' ELSE ' ENABLED ' || w.ev_enabled::text END
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
        (SELECT concat_ws(' ', format_type(aggtranstype, NULL),
             CASE WHEN aggsortop <> 0 THEN aggsortop::regoperator END, p.proparallel,
             to_jsonb(g) - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[])
         FROM pg_aggregate g JOIN pg_proc p ON p.oid = aggfnoid WHERE aggfnoid = r.oid)
        ELSE pg_get_functiondef(r.oid) END, '\s+', ' ', 'g')
FROM routine r

UNION ALL
SELECT 'type', t.label, '', CASE t.typtype
    WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                               FROM pg_enum WHERE enumtypid = t.oid) || ')'
    WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(t.typbasetype, t.typtypmod),
        CASE WHEN t.typcollation NOT IN (0, 100) THEN 'COLLATE ' || t.typcollation::regcollation END,
        CASE WHEN t.typnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
        (SELECT string_agg(quote_ident(conname) || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname)
         FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'))
    WHEN 'c' THEN 'COMPOSITE (' || (
        SELECT string_agg(concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
            CASE WHEN attcollation NOT IN (0, 100) THEN 'COLLATE ' || attcollation::regcollation END),
            ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped) || ')'
    WHEN 'r' THEN (
        SELECT concat_ws(' ', 'RANGE', format_type(rngsubtype, NULL), rngcanonical, rngsubdiff,
            CASE WHEN rngcollation NOT IN (0, 100) THEN 'COLLATE ' || rngcollation::regcollation END,
            (SELECT opcname FROM pg_opclass WHERE oid = rngsubopc), 'MULTIRANGE ' || format_type(rngmultitypid, NULL))
        FROM pg_range WHERE rngtypid = t.oid)
    ELSE concat_ws(' ', 'BASE', t.typinput, t.typoutput, t.typlen, t.typalign, t.typstorage, t.typcategory) END
FROM type t

UNION ALL
SELECT 'extension', quote_ident(e.extname), '', e.extversion || ' in ' || n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace

UNION ALL
SELECT 'statistics', s.prefix || quote_ident(x.stxname), '', concat_ws(' ', pg_get_statisticsobjdef(x.oid),
    'TARGET ' || NULLIF(x.stxstattarget, -1))
FROM pg_statistic_ext x JOIN space s ON s.oid = x.stxnamespace
WHERE x.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_statistic_ext'::regclass)

UNION ALL
SELECT 'event trigger', quote_ident(evtname), '', concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, {evttags})
FROM pg_event_trigger WHERE oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_event_trigger'::regclass)

UNION ALL  -- what belongs to whoever looks is not told: everything does, until somebody gives it away
SELECT 'owner of', label, of, pg_get_userbyid(owner) FROM (
    SELECT kind || ' ' || label AS label, label AS of, relowner AS owner FROM relation
    UNION ALL SELECT 'function ' || label, label, proowner FROM routine
    UNION ALL SELECT 'type ' || label, label, typowner FROM type
    UNION ALL SELECT 'schema ' || quote_ident(nspname), quote_ident(nspname), nspowner FROM space
    UNION ALL SELECT 'foreign server ' || label, label, srvowner FROM server
    UNION ALL SELECT 'foreign-data wrapper ' || label, label, fdwowner FROM wrapper
    UNION ALL SELECT 'publication ' || quote_ident(pubname), quote_ident(pubname), pubowner FROM pg_publication
    UNION ALL SELECT 'event trigger ' || quote_ident(evtname), quote_ident(evtname), evtowner FROM pg_event_trigger
) each WHERE owner <> current_user::regrole

UNION ALL  -- one with a dot in its name is the application's, and may be a secret
SELECT 'database setting', concat_ws(' ', name, 'of ' || r.rolname), '',
       CASE WHEN strpos(name, '.') > 0 THEN md5(one) ELSE substr(one, length(name) + 2) END
FROM pg_db_role_setting d CROSS JOIN unnest(d.setconfig) one CROSS JOIN split_part(one, '=', 1) name
LEFT JOIN pg_roles r ON r.oid = d.setrole
WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())

UNION ALL
SELECT 'default privileges', concat_ws(' ', 'of', pg_get_userbyid(d.defaclrole), 'on', CASE d.defaclobjtype
    WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
    WHEN 'n' THEN 'schemas' ELSE 'large objects' END, 'in ' || quote_ident(n.nspname)), '',
    (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(d.defaclacl) a)
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace

UNION ALL
SELECT 'publication', quote_ident(p.pubname), '', concat_ws(' ', CASE WHEN p.puballtables THEN 'ALL TABLES' END,
    CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
    CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END,
    CASE WHEN p.pubviaroot THEN 'VIA ROOT' END, 'GENERATED ' || NULLIF(to_jsonb(p) ->> 'pubgencols', 'n'),
    (SELECT 'IN ' || string_agg(pnnspid::regnamespace::text, ', ' ORDER BY pnnspid::regnamespace::text)
     FROM pg_publication_namespace WHERE pnpubid = p.oid),
    (SELECT string_agg(concat_ws(' ', prrelid::regclass,
        (SELECT '(' || string_agg(quote_ident(attname), ', ' ORDER BY attname) || ')'
         FROM pg_attribute WHERE attrelid = prrelid AND attnum = ANY (prattrs::int2[])),
        'WHERE ' || pg_get_expr(prqual, prrelid)), ', ' ORDER BY prrelid::regclass::text)
     FROM pg_publication_rel WHERE prpubid = p.oid))
FROM pg_publication p

UNION ALL
SELECT 'foreign server', v.label, '', concat_ws(' ', quote_ident(w.fdwname), v.srvtype, v.srvversion, {v.srvoptions})
FROM server v JOIN pg_foreign_data_wrapper w ON w.oid = v.srvfdw

UNION ALL
SELECT 'foreign-data wrapper', label, '', concat_ws(' ', CASE WHEN fdwhandler <> 0 THEN fdwhandler::regproc END,
    CASE WHEN fdwvalidator <> 0 THEN fdwvalidator::regproc END, {fdwoptions})
FROM wrapper

UNION ALL  -- its options may hold a password
SELECT 'user mapping', quote_ident(srvname) || ' for ' || usename, '', md5({umoptions}) FROM pg_user_mappings

UNION ALL  -- what there is of lesser kinds
SELECT i.type, i.identity, '', made.told
FROM (
{lesser}) made, pg_identify_object(made.catalog, made.oid, 0) i
WHERE (made.catalog::oid, made.oid) NOT IN (SELECT classid, objid FROM member)

UNION ALL
SELECT 'security label on', pg_describe_object(classoid, objoid, objsubid), '', provider || ' ' || label
FROM pg_seclabel

UNION ALL
SELECT 'grants on', a.label, a.of, s.told FROM access a JOIN spelled s ON s.key = a.key

UNION ALL
SELECT 'comment on', 'the database', '', description FROM pg_shdescription
WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database())

UNION ALL  -- what was created here has a number of 16384 or more; the schema public is in every database
SELECT 'comment on', pg_describe_object(d.classoid, d.objoid, d.objsubid), coalesce(r.label, ''), d.description
FROM pg_description d LEFT JOIN relation r ON r.oid = d.objoid AND d.classoid = 'pg_class'::regclass
WHERE (d.objoid >= 16384 OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace))
  AND d.classoid <> 'pg_extension'::regclass
  AND (d.classoid, d.objoid) NOT IN (SELECT classid, objid FROM member)
"""

#: Yields: kind, name, what it is a part of, definition.
QUERY: Final = re.sub(
    r"\{([a-z.]+options|evttags)\}",
    r"CASE WHEN \1 IS NOT NULL THEN (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(\1) o) END",
    _TEMPLATE.replace("{lesser}", LESSER),
)
