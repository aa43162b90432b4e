"""What a snapshot sees of a schema, and what it does not mind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead import postgres
from fairlead.migrations import connect, find_irreversible, load_migrations
from fairlead.migrations.catalog import Difference, compare, take_snapshot

Connection = psycopg.Connection[tuple[Any, ...]]

BASE = r"""
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', age int CHECK (age > 0));
CREATE TABLE bookings (id serial, owner int REFERENCES users, code char(3));
CREATE INDEX bookings_owner ON bookings (owner);
CREATE RULE kept AS ON DELETE TO bookings DO INSTEAD NOTHING;
CREATE TABLE times (at timestamptz DEFAULT timestamptz '2020-01-01 00:00Z', amount float8 DEFAULT 0.1::float8);
CREATE TABLE tuned (id int) WITH (fillfactor = 70, autovacuum_enabled = false);
CREATE TABLE plain (id int);
CREATE TABLE part (id int, d int) PARTITION BY LIST (d);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 (id int, d int);
CREATE INDEX ON part (id);
CREATE TABLE "od d.tab""le" ("col umn.x" int, "ü" int);
CREATE INDEX "in dex" ON "od d.tab""le" ("col umn.x");
CREATE SCHEMA other;
CREATE TABLE other.users (id int);
CREATE SEQUENCE numbers;
CREATE TYPE state AS ENUM ('a', 'b');
CREATE TYPE pair AS (a text, b int);
CREATE TYPE span AS RANGE (subtype = int);
CREATE DOMAIN word AS text;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select 1';
CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'select 1';
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end';
CREATE EVENT TRIGGER watcher ON ddl_command_end WHEN TAG IN ('CREATE VIEW', 'DROP VIEW') EXECUTE FUNCTION watch();
CREATE FUNCTION tell(pair) RETURNS text LANGUAGE sql AS 'select null::text';
CREATE CAST (pair AS text) WITH FUNCTION tell(pair);
CREATE COLLATION own FROM "C";
CREATE FOREIGN DATA WRAPPER w;
CREATE SERVER v FOREIGN DATA WRAPPER w OPTIONS (a '1', b '2');
CREATE FOREIGN TABLE far (id int OPTIONS (k 'v')) SERVER v;
CREATE PUBLICATION p FOR TABLE users;
CREATE STATISTICS s (ndistinct) ON id, owner FROM bookings;
CREATE TEXT SEARCH CONFIGURATION search (COPY = english);
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
"""
BASE_DOWN = """
DROP EVENT TRIGGER watcher;
DROP PUBLICATION p;
DROP SCHEMA other CASCADE;
DROP TABLE bookings, users, times, tuned, plain, part, part_2, "od d.tab""le";
DROP SERVER v CASCADE;
DROP FOREIGN DATA WRAPPER w;
DROP SEQUENCE numbers;
DROP CAST (pair AS text);
DROP FUNCTION tell, watch, f(int), f(text);
DROP AGGREGATE total(int);
DROP TYPE state, pair, span;
DROP DOMAIN word;
DROP COLLATION own;
DROP TEXT SEARCH CONFIGURATION search;
DROP OPERATOR === (text, text);
"""
CHANGES = """
ALTER TABLE users RENAME age TO years;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON users USING (id > 0);
ALTER TABLE other.users RENAME TO people;
ALTER TABLE "od d.tab""le" RENAME "col umn.x" TO plain;
ALTER FUNCTION f(int) STABLE SECURITY DEFINER;
DROP FUNCTION f(text);
ALTER TABLE part DETACH PARTITION part_1;
ALTER TABLE tuned RESET (fillfactor);
ALTER TABLE bookings DROP CONSTRAINT bookings_owner_fkey;
DROP INDEX bookings_owner;
GRANT SELECT (name) ON users TO pg_monitor;
REVOKE USAGE ON TYPE state FROM PUBLIC;
COMMENT ON TYPE pair IS 'two';
ALTER TABLE plain OWNER TO pg_monitor;
ALTER PUBLICATION p ADD TABLE plain;
"""
CHANGES_DOWN = """
ALTER PUBLICATION p DROP TABLE plain;
ALTER TABLE plain OWNER TO CURRENT_USER;
COMMENT ON TYPE pair IS NULL;
GRANT USAGE ON TYPE state TO PUBLIC;
REVOKE SELECT (name) ON users FROM pg_monitor;
ALTER TABLE bookings ADD FOREIGN KEY (owner) REFERENCES users;
CREATE INDEX bookings_owner ON bookings (owner);
ALTER TABLE tuned SET (fillfactor = 70);
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES IN (1);
CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'select 1';
ALTER FUNCTION f(int) VOLATILE SECURITY INVOKER;
ALTER TABLE "od d.tab""le" RENAME plain TO "col umn.x";
ALTER TABLE other.people RENAME TO users;
DROP POLICY mine ON users;
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
ALTER TABLE users RENAME years TO age;
"""
FOREIGN_KEY = "ALTER TABLE bookings DROP CONSTRAINT bookings_owner_fkey, ADD FOREIGN KEY (owner) REFERENCES users"
INDEX = "DROP INDEX bookings_owner; CREATE INDEX bookings_owner ON bookings"

#: Changes, and the kind and name of one thing that they are seen in.
SEEN = [
    ("ALTER TABLE users DISABLE TRIGGER ALL", "constraint bookings.bookings_owner_fkey"),
    ("ALTER TABLE users SET (toast.autovacuum_enabled=false)", "table users"),
    ("ALTER TABLE users CLUSTER ON users_pkey", "constraint users.users_pkey"),
    ("ALTER RULE kept ON bookings RENAME TO gone", "rule bookings.gone"),
    ("ALTER TABLE bookings DISABLE RULE kept", "rule bookings.kept"),
    ("ALTER DOMAIN word SET NOT NULL", "type word"),
    ("ALTER TYPE pair OWNER TO pg_monitor", "owner of type pair"),
    ('ALTER TYPE pair ALTER ATTRIBUTE a TYPE text COLLATE "C"', "type pair"),
    ("ALTER TYPE span OWNER TO pg_monitor", "owner of type span"),
    ("ALTER SCHEMA public OWNER TO pg_monitor", "owner of schema public"),
    ("ALTER PUBLICATION p OWNER TO pg_monitor", "owner of publication p"),
    ("ALTER PUBLICATION p SET (publish_via_partition_root=true)", "publication p"),
    ("ALTER PUBLICATION p ADD TABLES IN SCHEMA other", "publication p"),
    ("ALTER PUBLICATION p SET TABLE users (id, name)", "publication p"),
    (
        "DROP EVENT TRIGGER watcher; CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION watch()",
        "event trigger watcher",
    ),
    ("ALTER EVENT TRIGGER watcher DISABLE", "event trigger watcher"),
    ("ALTER SERVER v OPTIONS (SET a '3')", "foreign server v"),
    ("GRANT USAGE ON FOREIGN SERVER v TO pg_monitor", "grants on foreign server v"),
    ("ALTER FOREIGN DATA WRAPPER w OPTIONS (ADD z '3')", "foreign-data wrapper w"),
    ("GRANT USAGE ON FOREIGN DATA WRAPPER w TO pg_monitor", "grants on foreign-data wrapper w"),
    ("ALTER FOREIGN TABLE far ALTER id OPTIONS (SET k 'z')", "column far.id"),
    ("ALTER FOREIGN TABLE far OPTIONS (ADD k 'z')", "foreign table far"),
    ("ALTER STATISTICS s SET STATISTICS 77", "statistics s"),
    (
        "DROP CAST (pair AS text); CREATE CAST (pair AS text) WITH FUNCTION tell(pair) AS ASSIGNMENT",
        "cast (public.pair AS pg_catalog.text)",
    ),
    ("DROP COLLATION own; CREATE COLLATION own (locale = 'POSIX')", "collation public.own"),
    ("ALTER TEXT SEARCH CONFIGURATION search DROP MAPPING FOR word", "text search configuration public.search"),
    ("ALTER OPERATOR === (text,text) SET (RESTRICT = eqsel)", "operator public.===(pg_catalog.text,pg_catalog.text)"),
    (
        "DROP OPERATOR === (text,text); CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = textne)",
        "operator public.===(pg_catalog.text,pg_catalog.text)",
    ),
    ("ALTER TABLE part DETACH PARTITION part_1", "table part_1"),
    ("ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES IN (2)", "table part_2"),
    ("ALTER SEQUENCE numbers SET UNLOGGED", "sequence numbers"),
    ("ALTER SEQUENCE numbers INCREMENT 2", "sequence numbers"),
    ("ALTER SEQUENCE bookings_id_seq OWNED BY NONE", "sequence bookings_id_seq"),
    ("ALTER TABLE users ALTER name SET COMPRESSION pglz", "column users.name"),
    ("ALTER TABLE users ALTER name SET STATISTICS 10", "column users.name"),
    ("ALTER TABLE users ADD g int GENERATED ALWAYS AS (age+1) STORED", "column users.g"),
    ("ALTER TABLE users SET (fillfactor=50)", "table users"),
    ("ALTER TABLE tuned RESET (fillfactor)", "table tuned"),
    ("ALTER TABLE users RENAME age TO years", "column users.age"),
    ("ALTER TABLE users RENAME TO people", "constraint bookings.bookings_owner_fkey"),
    ("ALTER TABLE other.users RENAME TO people", "table other.people"),
    ('ALTER TABLE "od d.tab""le" RENAME "ü" TO u', 'column "od d.tab""le"."ü"'),
    ('ALTER INDEX "in dex" RENAME TO "in dey"', 'index "od d.tab""le"."in dex"'),
    ("ALTER FUNCTION f(int) IMMUTABLE", "function f(integer)"),
    ("ALTER FUNCTION f(int) SECURITY DEFINER", "function f(integer)"),
    ("ALTER FUNCTION f(int) STRICT", "function f(integer)"),
    ("ALTER FUNCTION f(int) COST 7", "function f(integer)"),
    ("ALTER FUNCTION f(int) PARALLEL SAFE", "function f(integer)"),
    ("ALTER FUNCTION f(int) SET search_path = ''", "function f(integer)"),
    ("ALTER FUNCTION f(text) LEAKPROOF", "function f(text)"),
    ("ALTER FUNCTION f(text) OWNER TO pg_monitor", "owner of function f(text)"),
    ("GRANT EXECUTE ON FUNCTION f(text) TO pg_monitor", "grants on function f(text)"),
    ("REVOKE EXECUTE ON FUNCTION f(text) FROM PUBLIC", "grants on function f(text)"),
    ("DROP FUNCTION f(int)", "function f(integer)"),
    (
        "DROP AGGREGATE total(int); CREATE AGGREGATE total(int) (SFUNC=int4pl, STYPE=int, COMBINEFUNC=int4pl)",
        "aggregate total(integer)",
    ),
    (
        "DROP AGGREGATE total(int); CREATE AGGREGATE total(int) (SFUNC=int4pl, STYPE=int, PARALLEL=SAFE)",
        "aggregate total(integer)",
    ),
    ("CREATE TYPE shell", "type shell"),
    ("GRANT USAGE ON SCHEMA other TO pg_monitor", "grants on schema other"),
    ("GRANT SELECT (name) ON users TO pg_monitor", "grants on column users.name"),
    ("GRANT SELECT ON ALL TABLES IN SCHEMA other TO pg_monitor", "grants on table other.users"),
    ("GRANT UPDATE ON SEQUENCE numbers TO pg_monitor", "grants on sequence numbers"),
    ("COMMENT ON SCHEMA other IS 'x'", "comment on schema other"),
    ("COMMENT ON COLUMN users.age IS 'x'", "comment on column age of table public.users"),
    ("COMMENT ON FUNCTION f(int) IS 'x'", "comment on function public.f(integer)"),
    ("COMMENT ON INDEX bookings_owner IS 'x'", "comment on index public.bookings_owner"),
    ("COMMENT ON TYPE state IS 'x'", "comment on type public.state"),
    ("COMMENT ON CONSTRAINT users_pkey ON users IS 'x'", "comment on constraint users_pkey on table public.users"),
    (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), 'UTC'); END $$",
        "database setting TimeZone",
    ),
    (
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO pg_monitor', current_database()); END $$",
        "grants on the database",
    ),
    (
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'x'); END $$",
        "comment on the database",
    ),
    (f"{FOREIGN_KEY} NOT VALID", "constraint bookings.bookings_owner_fkey"),
    (f"{FOREIGN_KEY} DEFERRABLE", "constraint bookings.bookings_owner_fkey"),
    (f"{FOREIGN_KEY} ON DELETE CASCADE", "constraint bookings.bookings_owner_fkey"),
    (f"{INDEX} (owner DESC)", "index bookings.bookings_owner"),
    (
        "DROP INDEX bookings_owner; CREATE UNIQUE INDEX bookings_owner ON bookings(owner)",
        "index bookings.bookings_owner",
    ),
    (f"{INDEX} (owner) INCLUDE (id)", "index bookings.bookings_owner"),
    (f"{INDEX} (owner) WHERE id>1", "index bookings.bookings_owner"),
    (f"{INDEX} (owner, id)", "index bookings.bookings_owner"),
    (f"{INDEX} (id)", "index bookings.bookings_owner"),
    (f"{INDEX} USING hash (owner)", "index bookings.bookings_owner"),
    (
        "DROP INDEX bookings_owner; CREATE UNIQUE INDEX bookings_owner ON bookings(owner) NULLS NOT DISTINCT",
        "index bookings.bookings_owner",
    ),
    ("ALTER INDEX bookings_owner SET (fillfactor=60)", "index bookings.bookings_owner"),
    ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", "table users"),
    ("ALTER TABLE users FORCE ROW LEVEL SECURITY", "table users"),
    ("ALTER TABLE bookings REPLICA IDENTITY FULL", "table bookings"),
    ("ALTER TABLE bookings SET UNLOGGED", "table bookings"),
    ("ALTER TABLE bookings INHERIT plain", "table bookings"),
    ("ALTER TABLE part ALTER d SET NOT NULL", "column part.d"),
    ("ALTER TYPE state RENAME VALUE 'a' TO 'c'", "type state"),
    ("ALTER DOMAIN word ADD CONSTRAINT k CHECK (VALUE <> '')", "type word"),
    ("CREATE MATERIALIZED VIEW mv AS SELECT 1 a", "materialized view mv"),
    ("CREATE CONVERSION conv FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1", "conversion public.conv"),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE pg_monitor IN SCHEMA other GRANT SELECT ON TABLES TO PUBLIC",
        "default privileges of pg_monitor on tables in other",
    ),
    ("CREATE USER MAPPING FOR PUBLIC SERVER v OPTIONS (u 'x')", "user mapping v for public"),
]

#: What leaves the schema as it was.
UNSEEN = [
    "REVOKE USAGE ON TYPE state FROM PUBLIC; GRANT USAGE ON TYPE state TO PUBLIC",
    "GRANT SELECT ON users TO PUBLIC; REVOKE SELECT ON users FROM PUBLIC",
    "GRANT SELECT (id) ON users TO pg_monitor; REVOKE SELECT (id) ON users FROM pg_monitor",
    "ALTER TABLE tuned RESET (fillfactor); ALTER TABLE tuned SET (fillfactor=70)",
    "ALTER SERVER v OPTIONS (DROP a); ALTER SERVER v OPTIONS (ADD a '1')",
    "GRANT USAGE ON FOREIGN SERVER v TO pg_monitor; REVOKE USAGE ON FOREIGN SERVER v FROM pg_monitor",
    "ALTER TABLE users RENAME age TO years; ALTER TABLE users RENAME years TO age",
    "ALTER TABLE part DETACH PARTITION part_1; ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES IN (1)",
    "DROP TABLE part_1; CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1)",
    "DROP INDEX bookings_owner; CREATE INDEX bookings_owner ON bookings(owner)",
    "SET timezone='Asia/Tokyo'; SET DateStyle='German'; SET quote_all_identifiers=on; SET extra_float_digits=0",
    "SET standard_conforming_strings=off",
    "SET ROLE pg_monitor",
    "SET SESSION AUTHORIZATION pg_monitor",
    "CREATE TABLE ver (version_num varchar(32) NOT NULL, CONSTRAINT ver_pkc PRIMARY KEY (version_num))",
    "CREATE TEMP TABLE tt (id int); CREATE TEMP VIEW tv AS SELECT 1",
    "CREATE EXTENSION IF NOT EXISTS vector; DROP EXTENSION vector",
    "ALTER TABLE users DROP age; ALTER TABLE users ADD age int CHECK (age>0)",
    "ALTER FUNCTION f(int) OWNER TO pg_monitor; ALTER FUNCTION f(int) OWNER TO CURRENT_USER",
    "REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION f(int) TO PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC",
    "DROP TYPE span; CREATE TYPE span AS RANGE (subtype=int)",
]


@pytest.fixture(scope="module")
def shared(postgres_server: postgres.Databases) -> Iterator[Connection]:
    with postgres.scratch_database(postgres_server) as name, connect(postgres_server.url(name)) as connection:
        connection.execute(BASE.encode())
        yield connection


def differences(connection: Connection, change: str) -> tuple[Difference, ...]:
    with connection.transaction(force_rollback=True):
        before = take_snapshot(connection)
        connection.execute(change.encode())
        return compare(before, take_snapshot(connection))


@pytest.mark.parametrize(("change", "seen"), SEEN)
def test_change_is_seen(shared: Connection, change: str, seen: str) -> None:
    assert seen in [str(difference.entry) for difference in differences(shared, change)]


@pytest.mark.parametrize("change", UNSEEN)
def test_what_changes_nothing_is_not_seen(shared: Connection, change: str) -> None:
    assert differences(shared, change) == ()


def test_chain_of_all_kinds_reverses(fresh_database_url: str, tmp_path: Path) -> None:
    texts = {"1_base": BASE, "1_base.down": BASE_DOWN, "2_changes": CHANGES, "2_changes.down": CHANGES_DOWN}
    for name, text in texts.items():
        (tmp_path / f"{name}.sql").write_text(text, "utf-8")
    with connect(fresh_database_url) as connection:
        assert find_irreversible(connection, load_migrations(tmp_path)) == ()


def test_query_is_planned_again_when_the_schema_has_grown(fresh_database_url: str) -> None:
    with connect(fresh_database_url) as connection:
        for tables in (0, 0, 300):
            connection.execute(
                f"DO $$ BEGIN FOR n IN 1..{tables} LOOP EXECUTE format("
                "'CREATE TABLE t%s (a int, b int, c int, d int)', n); END LOOP; END $$"
            )
            take_snapshot(connection)
        names = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert names == (2,)
        connection.execute("DEALLOCATE ALL")
        assert sum(entry.kind == "table" for entry in take_snapshot(connection)) == 300


def test_security_label_is_seen(shared: Connection) -> None:
    row = "('users'::regclass, 'pg_class'::regclass, 0, 'anon', 'MASKED')"  # no provider is at hand
    found = differences(shared, f"INSERT INTO pg_catalog.pg_seclabel VALUES {row}")
    assert [(str(one.entry), one.after) for one in found] == [
        ("security label on table public.users", "anon MASKED"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE USER MAPPING FOR PUBLIC SERVER v OPTIONS (password 'hunter2')",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.key TO %L', current_database(), 'hunter2'); END $$",
    ],
)
def test_secret_is_not_part_of_a_snapshot(shared: Connection, change: str) -> None:
    found = differences(shared, change)
    assert found
    assert not any("hunter2" in str(difference) for difference in found)


def test_index_is_told_in_the_words_of_postgresql(shared: Connection) -> None:
    with shared.transaction(force_rollback=True):
        shared.execute(INDEXES.encode())
        told = {entry.name: text for entry, text in take_snapshot(shared).items() if entry.kind == "index"}
        shared.execute("SET LOCAL search_path = ''")
        names = "SELECT quote_ident(relname), pg_get_indexdef(oid) FROM pg_class WHERE relkind IN ('i', 'I')"
        expected = {name: text for name, text in shared.execute(names.encode()) if name in told}
    assert len(told) >= 14
    assert {name: text.removesuffix(" ATTACHED") for name, text in told.items()} == expected


INDEXES = """
CREATE TABLE many (a int, b text COLLATE "C", v varchar(10), e state, arr int[], c char(3), n name, d word, j jsonb);
CREATE UNIQUE INDEX i1 ON many (a);
CREATE INDEX i2 ON many (b, v);
CREATE INDEX i3 ON many (v text_ops);
CREATE INDEX i4 ON many (v varchar_pattern_ops);
CREATE INDEX i5 ON many (e, arr);
CREATE INDEX i6 ON many (c, n, d);
CREATE INDEX i7 ON many (b COLLATE "POSIX", a DESC NULLS LAST);
CREATE INDEX i8 ON many USING gin (j jsonb_path_ops);
CREATE INDEX i9 ON many (lower(v)) INCLUDE (a) WHERE a > 1;
CREATE INDEX "I 10" ON "od d.tab""le" ("ü", "col umn.x");
CREATE UNIQUE INDEX i11 ON many (a, b) NULLS NOT DISTINCT WITH (fillfactor = 60);
"""
