"""The part of the snapshot's query that reads what few schemas have: catalog, number, definition."""

from typing import Final

#: What initdb made has a number below 16384.
LESSER: Final = r"""
    SELECT 'pg_collation'::regclass AS catalog, oid,
           (to_jsonb(c) - '{oid,collname,collnamespace,collowner,collversion}'::text[])::text AS told
    FROM pg_collation c WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_operator'::regclass, oid, concat_ws(' ', oprcode, format_type(oprresult, NULL),
        CASE WHEN oprcom <> 0 THEN 'COMMUTATOR ' || oprcom::regoperator END,
        CASE WHEN oprnegate <> 0 THEN 'NEGATOR ' || oprnegate::regoperator END, oprrest, oprjoin,
        CASE WHEN oprcanmerge THEN 'MERGES' END, CASE WHEN oprcanhash THEN 'HASHES' END)
    FROM pg_operator WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_opclass'::regclass, oid, concat_ws(' ', CASE WHEN opcdefault THEN 'DEFAULT' END,
        format_type(opcintype, NULL),
        CASE WHEN opckeytype <> 0 THEN format_type(opckeytype, NULL) END)
    FROM pg_opclass WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_opfamily'::regclass, oid, concat_ws(', ',
        (SELECT string_agg(one, ', ' ORDER BY one) FROM pg_amop
         CROSS JOIN concat_ws(' ', amopstrategy, amopopr::regoperator) one WHERE amopfamily = f.oid),
        (SELECT string_agg(one, ', ' ORDER BY one) FROM pg_amproc CROSS JOIN concat_ws(' ', amprocnum, amproc) one
         WHERE amprocfamily = f.oid))
    FROM pg_opfamily f WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_cast'::regclass, oid,
           concat_ws(' ', castmethod, castcontext, CASE WHEN castfunc <> 0 THEN castfunc::regprocedure END)
    FROM pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_ts_config'::regclass, oid, (
        SELECT string_agg(concat_ws(' ', maptokentype, mapdict::regdictionary), ', ' ORDER BY maptokentype, mapseqno)
        FROM pg_ts_config_map WHERE mapcfg = g.oid)
    FROM pg_ts_config g WHERE oid >= 16384
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictinitoption FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT 'pg_language'::regclass, oid, lanpltrusted::text FROM pg_language WHERE oid >= 16384
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conproc::text FROM pg_conversion WHERE oid >= 16384
    UNION ALL SELECT 'pg_transform'::regclass, oid, concat_ws(' ', trffromsql, trftosql) FROM pg_transform
    WHERE oid >= 16384
    UNION ALL SELECT 'pg_am'::regclass, oid, amhandler::text FROM pg_am WHERE oid >= 16384
"""
