"""What is said of statements, held against what PostgreSQL itself does with them."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from fairlead.migrations.statements import find_nontransactional, split_statements
from fairlead.postgres import Databases

SETUP = """
CREATE TABLE t (a int);
CREATE INDEX i ON t (a);
CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
CREATE UNIQUE INDEX mi ON m (a);
CREATE TABLE p (a int) PARTITION BY LIST (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TYPE mood AS ENUM ('ok');
CLUSTER t USING i;
"""


@pytest.fixture(scope="module")
def shared_url(postgres_server: Databases) -> Iterator[str]:
    """A database in which every test rolls back what it did."""
    name = f"fairlead_test_{uuid.uuid4().hex[:16]}"
    postgres_server.create_database(name)
    try:
        yield postgres_server.url(name)
    finally:
        postgres_server.drop_database(name)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY j ON t (a)",
        "create unique index /* why */ concurrently if not exists j on t (a)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (CONCURRENTLY) TABLE t",
        "REINDEX SCHEMA public",
        "VACUUM",
        "VACUUM (ANALYZE) t",
        "ALTER SYSTEM SET work_mem = '4MB'",
        "CREATE DATABASE other",
        "DROP DATABASE IF EXISTS other",
        "CREATE TABLESPACE s LOCATION '/nowhere'",
        "DROP TABLESPACE s",
        "CLUSTER",
        "CLUSTER (VERBOSE)",
        "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
        "DISCARD ALL",
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p",
    ],
)
def test_statement_that_is_found_is_refused_in_a_transaction(shared_url: str, statement: str) -> None:
    assert len(find_nontransactional(f"SELECT 1;\n{statement};")) == 1
    with psycopg.connect(shared_url) as connection:
        connection.execute(SETUP)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute(statement.encode())
        connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        "REFRESH MATERIALIZED VIEW m",
        "ALTER TYPE mood ADD VALUE 'fine'",
        "ALTER TABLE p DETACH PARTITION p1",
        "CLUSTER t",
        'CLUSTER "t"',
        "REINDEX TABLE t",
        "ANALYZE t",
        "DISCARD PLANS",
        "CREATE INDEX j ON t (a)",
        "COMMENT ON TABLE t IS 'VACUUM; CREATE INDEX CONCURRENTLY'",
        "DO $$ BEGIN PERFORM 1; -- VACUUM\nEND $$",
        "CREATE TABLE vacuum_system (concurrently_made int)",
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
    ],
)
def test_statement_that_runs_in_a_transaction_is_not_found(shared_url: str, statement: str) -> None:
    assert find_nontransactional(f"{statement};") == ()
    with psycopg.connect(shared_url) as connection:
        connection.execute(SETUP)
        connection.execute(statement.encode())
        connection.rollback()  # a subscription that stays would keep its database from being dropped


TEXTS = [
    r"SELECT E'a\'; b'; SELECT 2",
    "SELECT E'a'\n  'b\\'; c'; SELECT 2",
    "SELECT E'a' -- why\n 'b\\'; c'; SELECT 2",
    "SELECT 'a'\n 'b\\'; SELECT 2",
    r"SELECT U&'d\0061t;a'; SELECT 2",
    'SELECT 1 AS ";"";", 2 AS U&"d\\0061;"; SELECT 2',
    "SELECT $a$;$b$;$a$; SELECT $$;$$",
    "SELECT 1 AS a$b$; SELECT 2 AS b$b$",
    "SELECT 1 /* ; /* ; */ ; */; SELECT 2",
    "SELECT 1 +-- ; no\n 2; SELECT 3",
    "SELECT 1 -- ends at the carriage return\r; SELECT 2",
    "SELECT 2 */* ; */ 3; SELECT 3",
    "SELECT 1 AS \u00a0; SELECT 2",
    "SELECT B'1', X'1F', N';'; SELECT 2",
    "CREATE FUNCTION f(x int) RETURNS int BEGIN ATOMIC SELECT CASE x WHEN 1 THEN 2 END; SELECT 4; END; SELECT 2",
    "CREATE TABLE w (a int); CREATE RULE r AS ON INSERT TO w DO ALSO (SELECT 1; SELECT 2); SELECT 3",
    "CREATE TABLE rule_atomic (begin_atomic int); SELECT 2;;",
    "SELECT '\u00fc;' AS \u00fcber; SELECT 2;",
]


@pytest.mark.parametrize("text", TEXTS)
def test_statements_are_as_many_as_the_server_answers(shared_url: str, text: str) -> None:
    with psycopg.connect(shared_url) as connection:
        cursor = connection.execute(text.encode())
        answers = 1
        while cursor.nextset():
            answers += 1
        connection.rollback()
    assert len(list(split_statements(text))) == answers
