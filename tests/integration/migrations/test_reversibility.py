"""Downs that do not reverse are found, each at its own revision; those that do are not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import connect, find_irreversible, load_migrations, verify_reversible

ROOT = Path(__file__).parents[3]
Connection = psycopg.Connection[tuple[Any, ...]]

BASE = """
CREATE TYPE status AS ENUM ('new', 'done');
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', age int, CHECK (age > 0));
CREATE TABLE bookings (id serial, owner_id int NOT NULL REFERENCES users, state status);
CREATE INDEX bookings_owner ON bookings (owner_id);
CREATE VIEW owners AS SELECT id, name FROM users;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SEQUENCE numbers OWNED BY users.age;
CREATE POLICY mine ON users USING (id > 0);
COMMENT ON TABLE users IS 'people';
GRANT SELECT ON users TO PUBLIC;
"""

BASE_DOWN = """
DROP SEQUENCE numbers;
DROP VIEW owners;
DROP TABLE bookings, users;
DROP FUNCTION touch;
DROP TYPE status;
"""
BOOKINGS = "CREATE TABLE bookings (id serial, owner_id int NOT NULL REFERENCES users, state status);"
RECREATED = """
CREATE TYPE shorter AS ENUM ('new', 'done');
ALTER TABLE bookings ALTER state TYPE shorter USING state::text::shorter;
DROP TYPE old_status;
ALTER TYPE shorter RENAME TO old_status;
"""
SHORTER = """
UPDATE bookings SET state = 'new' WHERE state = 'done';
CREATE TYPE shorter AS ENUM ('new');
ALTER TABLE bookings ALTER state TYPE shorter USING state::text::shorter;
DROP TYPE status;
ALTER TYPE shorter RENAME TO status;
"""
FOREIGN = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER v FOREIGN DATA WRAPPER w;"
#: Which its own transaction allows: the child comes first.
DEFERRED = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO child VALUES (1);
INSERT INTO parent VALUES (1);
"""
NAME_AND_VIEW = """
ALTER TABLE users ADD name text NOT NULL DEFAULT 'x';
CREATE VIEW owners AS SELECT id, name FROM users;
"""

#: What the up does, the down that forgets something, and the words that it is told in.
PLANTED = {
    "not null": (
        "ALTER TABLE bookings ALTER owner_id DROP NOT NULL;", "SELECT 1;",
        "down does not restore bookings.owner_id NOT NULL"),
    "default": ("ALTER TABLE users ALTER name DROP DEFAULT;", "SELECT 1;",
                "down does not restore users.name DEFAULT 'x'::text"),
    "type": ("ALTER TABLE users ALTER age TYPE bigint;", "SELECT 1;",
             "column users.age: it was integer, and is bigint"),
    "column": ("ALTER TABLE users ADD email text;", "SELECT 1;", "down leaves column users.email behind"),
    "table": ("CREATE TABLE extra (id int PRIMARY KEY);", "SELECT 1;", "down leaves table extra behind"),
    "dropped table": ("DROP TABLE bookings;", BOOKINGS, "down does not restore index bookings.bookings_owner"),
    "index": ("DROP INDEX bookings_owner;", "SELECT 1;", "down does not restore index bookings.bookings_owner"),
    "constraint": ("ALTER TABLE users DROP CONSTRAINT users_age_check;", "SELECT 1;",
                   "down does not restore constraint users.users_age_check"),
    "enum label": ("ALTER TYPE status ADD VALUE 'late';", "SELECT 1;",
                   "type status: it was ENUM ('new', 'done'), and is ENUM ('new', 'done', 'late')"),
    "view": ("CREATE OR REPLACE VIEW owners AS SELECT id, name, age FROM users;", "SELECT 1;",
             "down does not restore view owners"),
    "function": ("CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;",
                 "SELECT 1;", "down does not restore function touch()"),
    "trigger": ("DROP TRIGGER users_touch ON users;", "SELECT 1;", "down does not restore trigger users.users_touch"),
    "sequence owner": ("ALTER SEQUENCE numbers OWNED BY NONE;", "SELECT 1;", "down does not restore sequence numbers"),
    "policy": ("DROP POLICY mine ON users;", "SELECT 1;", "down does not restore policy users.mine"),
    "row level security": ("ALTER TABLE users ENABLE ROW LEVEL SECURITY;", "SELECT 1;",
                           "down does not restore table users: it was nothing, and is ROW LEVEL SECURITY"),
    "comment": ("COMMENT ON TABLE users IS NULL;", "SELECT 1;", "down does not restore comment on table "),
    "grant": ("REVOKE SELECT ON users FROM PUBLIC;", "SELECT 1;", "down does not restore grants on table users"),
    "extension": ("DROP EXTENSION vector;", "SELECT 1;", "down does not restore extension vector"),
    "schema": ("CREATE SCHEMA extra;", "SELECT 1;", "down leaves schema extra behind"),
    "owner": ("ALTER TABLE bookings OWNER TO pg_monitor;", "SELECT 1;",
              "down does not restore owner of table bookings: it was whoever migrates, and is pg_monitor"),
    "default privileges": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;", "SELECT 1;",
                           "down leaves default privileges of postgres on tables behind"),
    "grant on a type": ("REVOKE USAGE ON TYPE status FROM PUBLIC;", "SELECT 1;",
                        "down does not restore grants on type status"),
    "replica identity": ("ALTER TABLE users REPLICA IDENTITY FULL;", "SELECT 1;",
                         "down does not restore table users: it was nothing, and is REPLICA IDENTITY FULL"),
    "publication": ("CREATE PUBLICATION p FOR TABLE users WHERE (id > 1);", "SELECT 1;",
                    "down leaves publication p behind"),
    "foreign server": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER v FOREIGN DATA WRAPPER w;",
                       "DROP SERVER v;", "down leaves foreign-data wrapper w behind"),
    "user mapping": (FOREIGN + "CREATE USER MAPPING FOR pg_monitor SERVER v OPTIONS (password 'secret');",
                     "DROP USER MAPPING FOR pg_monitor SERVER v;", "down leaves foreign server v behind"),
    "storage": ("ALTER TABLE users ALTER name SET STORAGE EXTERNAL;", "SELECT 1;",
                "column users.name: it was text NOT NULL DEFAULT 'x'::text, and is text STORAGE e NOT NULL"),
    "operator": ("CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);", "SELECT 1;",
                 "down leaves operator public.===(pg_catalog.text,pg_catalog.text) behind"),
    "collation": ('CREATE COLLATION plain FROM "C";', "SELECT 1;",
                  "down leaves collation public.plain behind"),
    "disabled keys": ("ALTER TABLE users DISABLE TRIGGER ALL;", "ALTER TABLE users ENABLE TRIGGER users_touch;",
                      "REFERENCES public.users(id), and is FOREIGN KEY (owner_id) REFERENCES public.users(id) NOT EN"),
    "storage parameter": ("ALTER TABLE users SET (fillfactor = 70);", "SELECT 1;",
                          "table users: it was nothing, and is WITH (fillfactor=70)"),
    "volatility": ("ALTER FUNCTION touch() STABLE;", "SELECT 1;", "LANGUAGE plpgsql STABLE AS"),
    "deferred constraint": (DEFERRED, "DELETE FROM parent;", "down fails: update or delete on table"),
    "clustered index": ("ALTER TABLE bookings CLUSTER ON bookings_owner;", "SELECT 1;", "CLUSTERED"),
    "failing down": ("CREATE TABLE extra ();", "DROP TABLE wrong;", 'down fails: table "wrong" does not exist'),
    "up again fails": ("CREATE ROLE fairlead_planted;", "SELECT 1;",
                       'up after down fails: role "fairlead_planted" already exists'),
    "up again differs": ("SELECT set_config('a.b', '1', false); CREATE TABLE extra ();",
                         "DROP TABLE extra; ALTER TABLE users RENAME TO people;", "down does not restore table users"),
}  # fmt: skip

#: Pairs that do reverse, in ways that a careless comparison would complain about.
CLEAN = {
    "column order": ("DROP VIEW owners; ALTER TABLE users DROP name;", NAME_AND_VIEW),
    "white space of a body": (
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;",
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN NEW;\nEND $$;"),
    "grant and revoke": ("GRANT SELECT ON bookings TO PUBLIC;", "REVOKE SELECT ON bookings FROM PUBLIC;"),
    "recreated table": ("CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL);",
                        "DROP TABLE a;"),
    "extension": ("DROP EXTENSION vector;", "CREATE EXTENSION vector;"),
    "enum": ("CREATE TYPE mood AS ENUM ('a'); ALTER TABLE users ADD mood mood DEFAULT 'a';",
             "ALTER TABLE users DROP mood; DROP TYPE mood;"),
    "label put back": (SHORTER, "ALTER TYPE status ADD VALUE 'done';"),
    "owner given and taken back": ("ALTER TABLE users OWNER TO pg_monitor;", "ALTER TABLE users OWNER TO postgres;"),
    "grant on a type and back": ("GRANT USAGE ON TYPE status TO pg_monitor;",
                                 "REVOKE USAGE ON TYPE status FROM pg_monitor;"),
    "foreign table": (FOREIGN + "CREATE FOREIGN TABLE f (id int) SERVER v OPTIONS (a 'b');",
                      "DROP FOREIGN TABLE f; DROP SERVER v; DROP FOREIGN DATA WRAPPER w;"),
    "constraints that are asked last": (DEFERRED, "DROP TABLE child, parent;"),
    "session settings": ("SET search_path = pg_catalog; CREATE TABLE public.b ();", "DROP TABLE public.b;"),
}  # fmt: skip


@pytest.fixture
def connection(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def write(folder: Path, up: str, down: str) -> Path:
    extension = "EXTENSION vector;" if "EXTENSION vector" in up else ""  # it takes as long to make as all the rest
    texts = {
        "001_base.sql": BASE + extension.replace("EXT", "CREATE EXT"),
        "001_base.down.sql": BASE_DOWN + extension.replace("EXT", "DROP EXT"),
        "002_step.sql": up,
        "002_step.down.sql": down,
        "003_after.sql": "CREATE TABLE later ();",
        "003_after.down.sql": "DROP TABLE later;",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_defect_is_named_at_its_revision(connection: Connection, tmp_path: Path, kind: str) -> None:
    up, down, told = PLANTED[kind]
    try:
        findings = find_irreversible(connection, load_migrations(write(tmp_path, up, down)))
    finally:
        connection.execute("DROP ROLE IF EXISTS fairlead_planted")
    assert any(told in finding for finding in findings), findings
    assert {finding.partition(":")[0] for finding in findings} == {"002_step"}


@pytest.mark.parametrize("kind", CLEAN)
def test_down_that_reverses_is_not_complained_about(connection: Connection, tmp_path: Path, kind: str) -> None:
    up, down = CLEAN[kind]
    verify_reversible(connection, load_migrations(write(tmp_path, up, down)))
    rows = connection.execute("SELECT version FROM public.schema_migrations ORDER BY 1").fetchall()
    assert rows == [("001",), ("002",), ("003",)]


def test_every_defect_of_a_chain_is_named(connection: Connection, tmp_path: Path) -> None:
    write(tmp_path, "CREATE TABLE extra ();", "SELECT 1;")
    (tmp_path / "003_after.down.sql").write_text("SELECT 1;")
    (tmp_path / "004_none.sql").write_text("CREATE TABLE more ();")
    with pytest.raises(MigrationError) as caught:
        verify_reversible(connection, load_migrations(tmp_path))
    for told in ("002_step: down leaves table extra", "003_after: down leaves table later", "004_none: there is no"):
        assert told in caught.value.message
    assert caught.value.exit_code == 11


CONCURRENTLY = "-- fairlead: no-transaction\nCREATE INDEX CONCURRENTLY users_age ON users (age);"


@pytest.mark.parametrize(
    ("down", "told"),
    [
        ("-- fairlead: no-transaction\nDROP INDEX CONCURRENTLY users_age;", []),
        ("SELECT 1;", ["002_step: down leaves index users.users_age behind"]),
        ("DROP INDEX wrong;", ["002_step: down fails"]),
    ],
)
def test_revision_outside_a_transaction_is_walked_for_real(
    connection: Connection, tmp_path: Path, down: str, told: list[str]
) -> None:
    findings = find_irreversible(connection, load_migrations(write(tmp_path, CONCURRENTLY, down)))
    assert [part for part in told if not any(part in finding for finding in findings)] == []
    assert bool(findings) == bool(told)


@pytest.mark.parametrize(
    ("seed", "told"),
    [
        ("", []),
        ("-- fairlead: after 002\nINSERT INTO users (id, age) VALUES (1, NULL);", ["002_step: down fails"]),
        ("-- fairlead: after 003\nINSERT INTO users (id, age) VALUES (1, NULL);", ["the whole chain: down fails"]),
        ("INSERT INTO users (id, age) VALUES (1, NULL);", ["the whole chain: down fails"]),
    ],
)
def test_down_that_fails_on_rows_is_found_by_the_seed(
    connection: Connection, tmp_path: Path, seed: str, told: list[str]
) -> None:
    up, down = "SELECT 1;", "ALTER TABLE users ALTER age SET NOT NULL; ALTER TABLE users ALTER age DROP NOT NULL;"
    findings = find_irreversible(connection, load_migrations(write(tmp_path, up, down)), seed=seed)
    assert [finding.partition(" fails")[0] + " fails" for finding in findings] == told


def test_seed_for_a_version_that_there_is_not_is_refused(connection: Connection, tmp_path: Path) -> None:
    migrations = load_migrations(write(tmp_path, "SELECT 1;", "SELECT 1;"))
    with pytest.raises(MigrationError, match="names the version 009"):
        find_irreversible(connection, migrations, seed="-- fairlead: after 009\nSELECT 1;")


def test_rows_that_are_refused_are_told(connection: Connection, tmp_path: Path) -> None:
    migrations = load_migrations(write(tmp_path, "SELECT 1;", "SELECT 1;"))
    with pytest.raises(MigrationError, match="the seed's rows for 003_after were refused"):
        find_irreversible(connection, migrations, seed="INSERT INTO nothing VALUES (1);")


@pytest.mark.parametrize(
    ("down", "accepted", "told"),
    [
        ("SELECT 1;", {"2": "nobody reads it"}, []),
        ("DROP TABLE extra;", {"002": "nobody reads it"}, ["002_step: is listed in baseline-irreversible"]),
        ("DROP TABLE extra;", {"009": "?"}, ["009: is listed in baseline-irreversible, and there is no such"]),
    ],
)
def test_accepted_is_let_pass_only_while_it_is_needed(
    connection: Connection, tmp_path: Path, down: str, accepted: dict[str, str], told: list[str]
) -> None:
    migrations = load_migrations(write(tmp_path, "CREATE TABLE IF NOT EXISTS extra ();", down))
    findings = find_irreversible(connection, migrations, accepted=accepted)
    assert [part for part in told if not any(part in finding for finding in findings)] == []
    assert len(findings) == len(told)


def test_extension_that_the_server_has_not_is_told_before_anything_runs(connection: Connection, tmp_path: Path) -> None:
    migrations = load_migrations(write(tmp_path, 'CREATE EXTENSION IF NOT EXISTS "no_such";', "SELECT 1;"))
    with pytest.raises(MigrationError, match=r"extension no_such \(002_step\)"):
        find_irreversible(connection, migrations)
    assert connection.execute("SELECT to_regclass('users')").fetchone() == (None,)


def test_database_that_is_not_empty_is_refused(connection: Connection, tmp_path: Path) -> None:
    connection.execute("CREATE TABLE precious ()")
    with pytest.raises(MigrationError, match="is not empty"):
        verify_reversible(connection, load_migrations(write(tmp_path, "SELECT 1;", "SELECT 1;")))
    assert connection.execute("SELECT to_regclass('precious') IS NOT NULL").fetchone() == (True,)


def test_up_that_cannot_be_applied_is_told_with_its_place(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"002_step\.sql:1:1"):
        verify_reversible(connection, load_migrations(write(tmp_path, "SELEC 1;", "SELECT 1;")))


def test_down_that_ends_its_transaction_is_refused(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"002_step\.down\.sql:1: COMMIT"):
        verify_reversible(connection, load_migrations(write(tmp_path, "SELECT 1;", "COMMIT;")))


def test_label_that_its_own_migration_uses_is_no_finding(connection: Connection, tmp_path: Path) -> None:
    write(tmp_path, "ALTER TYPE status RENAME TO old_status;", "ALTER TYPE old_status RENAME TO status;")
    (tmp_path / "003_after.sql").write_text("ALTER TYPE old_status ADD VALUE 'late';")
    (tmp_path / "003_after.down.sql").write_text(RECREATED)
    (tmp_path / "004_use.sql").write_text("INSERT INTO users VALUES (1); INSERT INTO bookings VALUES (1, 1, 'late');")
    (tmp_path / "004_use.down.sql").write_text("DELETE FROM bookings; DELETE FROM users;")
    verify_reversible(connection, load_migrations(tmp_path))


def test_the_repository_s_own_chain_reverses(connection: Connection) -> None:
    migrations = load_migrations(ROOT / "backend" / "migrations")
    assert migrations
    verify_reversible(connection, migrations)
