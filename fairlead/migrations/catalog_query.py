"""The query that reads a schema from the catalogs, a row for each thing in it: kind, name, part of what, definition."""

from typing import Final

#: Yields: kind, name, what it is a part of, definition. Each branch is one kind of thing.
QUERY: Final = r"""
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
           c.relpartbound, c.reloptions, c.relacl, c.relowner, c.relreplident,
           s.prefix || quote_ident(c.relname) AS label,
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
    UNION ALL
    SELECT 'type ' || s.prefix || quote_ident(t.typname), s.prefix || quote_ident(t.typname), t.typacl, t.typowner, 'T'
    FROM pg_type t JOIN space s ON s.oid = t.typnamespace
    WHERE t.typacl <> acldefault('T', t.typowner)
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
    CASE relreplident WHEN 'f' THEN 'REPLICA IDENTITY FULL' WHEN 'n' THEN 'REPLICA IDENTITY NOTHING'
        WHEN 'i' THEN 'REPLICA IDENTITY USING INDEX ' || (
            SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = relation.oid AND indisreplident) END,
    CASE relkind WHEN 'f' THEN (
        SELECT concat_ws(' ', 'SERVER', quote_ident(srvname), array_to_string(ftoptions, ', '))
        FROM pg_foreign_table JOIN pg_foreign_server v ON v.oid = ftserver WHERE ftrelid = relation.oid) END,
    'WITH (' || array_to_string(reloptions, ', ') || ')')
FROM relation WHERE relkind <> 'S'

UNION ALL
SELECT 'column', quote_ident(a.attname), r.label, concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attstorage <> t.typstorage THEN 'STORAGE ' || a.attstorage::text END,
    CASE WHEN coalesce(a.attstattarget, -1) <> -1 THEN 'STATISTICS ' || a.attstattarget END,
    'WITH (' || array_to_string(a.attoptions, ', ') || ')',
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
       || CASE WHEN i.indisclustered THEN ' CLUSTERED' ELSE '' END
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

UNION ALL  -- what belongs to whoever looks is not told: everything does, until somebody gives it away
SELECT 'owner of', label, of, pg_get_userbyid(owner) FROM (
    SELECT kind || ' ' || label AS label, label AS of, relowner AS owner FROM relation
    UNION ALL SELECT 'function ' || label, label, proowner FROM routine
    UNION ALL SELECT 'type ' || s.prefix || quote_ident(t.typname), s.prefix || quote_ident(t.typname), t.typowner
    FROM pg_type t JOIN space s ON s.oid = t.typnamespace WHERE t.typtype IN ('e', 'd')
    UNION ALL SELECT 'schema ' || quote_ident(nspname), quote_ident(nspname), nspowner FROM space
    WHERE nspname <> 'public'
) each WHERE owner <> current_user::regrole

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
    (SELECT string_agg(prrelid::regclass::text || coalesce(' WHERE ' || pg_get_expr(prqual, prrelid), ''), ', '
                       ORDER BY prrelid::regclass::text) FROM pg_publication_rel WHERE prpubid = p.oid))
FROM pg_publication p

UNION ALL
SELECT 'foreign server', quote_ident(v.srvname), '', concat_ws(' ', w.fdwname, v.srvtype, v.srvversion,
    array_to_string(v.srvoptions, ', '), v.srvacl::text)
FROM pg_foreign_server v JOIN pg_foreign_data_wrapper w ON w.oid = v.srvfdw

UNION ALL  -- its options may hold a password
SELECT 'user mapping', quote_ident(srvname) || ' for ' || usename, '', md5(umoptions::text) FROM pg_user_mappings

UNION ALL  -- of these, that they exist
SELECT i.type, i.identity, '', ''
FROM (
    SELECT 'pg_collation'::regclass AS catalog, oid FROM pg_collation
    UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
    UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
    UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
) made, pg_identify_object(made.catalog, made.oid, 0) i
WHERE made.oid >= 16384 AND (made.catalog::oid, made.oid) NOT IN (SELECT classid, objid FROM member)

UNION ALL
SELECT 'grants on', a.label, a.of, s.told FROM access a JOIN spelled s ON s.key = a.key

UNION ALL  -- what was created here has a number of 16384 or more; the schema public is in every database
SELECT 'comment on', pg_describe_object(d.classoid, d.objoid, d.objsubid), coalesce(r.label, ''), d.description
FROM pg_description d LEFT JOIN relation r ON r.oid = d.objoid AND d.classoid = 'pg_class'::regclass
WHERE (d.objoid >= 16384 OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace))
  AND d.classoid <> 'pg_extension'::regclass
  AND (d.classoid, d.objoid) NOT IN (SELECT classid, objid FROM member)
"""
