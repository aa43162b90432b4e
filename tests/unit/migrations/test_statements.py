"""Finding statements by PostgreSQL's lexical rules."""

import time

import pytest

from fairlead.migrations.statements import (
    Mark,
    Position,
    find_client_copies,
    find_marks,
    find_meta_commands,
    find_transaction_control,
    has_statement,
    locate,
    split_statements,
)

ATOMIC = (
    "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC"
    " SELECT CASE x WHEN 1 THEN 2 ELSE 3 END; SELECT 4; END"
)


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; ; ", []),
        ("-- only a comment", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; one'; b", ["SELECT 'it''s; one'", "b"]),
        (r"SELECT E'\'; one'; b", [r"SELECT E'\'; one'", "b"]),
        (r"SELECT '\'; b", [r"SELECT '\'", "b"]),
        ('SELECT ";"; b', ['SELECT ";"', "b"]),
        ("SELECT 1 -- ; no\n; b", ["SELECT 1", "b"]),
        ("SELECT /* ; /* ; */ ; */ 1; b", ["SELECT /* ; /* ; */ ; */ 1", "b"]),
        ("DO $$ BEGIN; END $$; b", ["DO $$ BEGIN; END $$", "b"]),
        ("DO $x$ ; $$ ; $x$; b", ["DO $x$ ; $$ ; $x$", "b"]),
        ("SELECT $1; b", ["SELECT $1", "b"]),
        ("SELECT a$$b; c", ["SELECT a$$b", "c"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); b",
         ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "b"]),
        (f"{ATOMIC}; b", [ATOMIC, "b"]),
        ("SELECT 'never closed; ", ["SELECT 'never closed;"]),
        ("DO $$ never closed; ", ["DO $$ never closed; "]),
        ("/* never closed; SELECT 1", []),
        ("SELECT U&'d\\0061t;a'; b", ["SELECT U&'d\\0061t;a'", "b"]),
        ("CREATE TABLE \u00fcber (); b", ["CREATE TABLE \u00fcber ()", "b"]),
    ],
)  # fmt: skip
def test_statements_are_split_as_postgresql_reads_them(text: str, statements: list[str]) -> None:
    assert [statement.text for statement in split_statements(text)] == statements


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BEGIN; SELECT 1; COMMIT;", ["BEGIN", "COMMIT"]),
        ("begin transaction", ["begin transaction"]),
        ("START TRANSACTION", ["START TRANSACTION"]),
        ("ROLLBACK; ABORT; END", ["ROLLBACK", "ABORT", "END"]),
        ("PREPARE TRANSACTION 'x'", ["PREPARE TRANSACTION 'x'"]),
        ("SAVEPOINT a; ROLLBACK TO SAVEPOINT a; ROLLBACK WORK TO a; RELEASE a", []),
        ("PREPARE x AS SELECT 1", []),
        ("SELECT 'COMMIT; '; -- COMMIT;\n/* COMMIT; */ SELECT $$ COMMIT; $$", []),
        (f"{ATOMIC};", []),
        ("CREATE TABLE begin_end (commit_id int)", []),
        ("COMMENT ON TABLE t IS 'x'", []),
    ],
)
def test_only_what_begins_or_ends_a_transaction_is_found(text: str, found: list[str]) -> None:
    assert [statement.text for statement in find_transaction_control(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("COPY t FROM STDIN", 1),
        ("copy t (a, b) from stdin with (format csv)", 1),
        ("COPY (SELECT 1) TO STDOUT", 1),
        ("COPY t FROM '/tmp/stdin'", 0),
        ("SELECT 'COPY t FROM STDIN'", 0),
    ],
)
def test_copies_of_the_client_s_streams_are_found(text: str, found: int) -> None:
    assert len(find_client_copies(text)) == found


def test_statement_knows_where_it_begins() -> None:
    first, second = split_statements("\n SELECT 1;\n\n  SELECT 2")
    assert (first.start, second.start) == (2, 15)


@pytest.mark.parametrize(("offset", "position"), [(0, (1, 1)), (3, (1, 4)), (5, (2, 1)), (7, (3, 1)), (8, (3, 2))])
def test_place_is_counted_from_one(offset: int, position: tuple[int, int]) -> None:
    assert locate("abcd\ne\nfg", offset) == Position(*position)


def test_text_of_comments_has_no_statement() -> None:
    assert not has_statement("-- a\n/* b */ ;")
    assert has_statement("-- a\nb")


def test_long_text_is_read_in_one_pass() -> None:
    text = "INSERT INTO t VALUES ('" + "x''y" * 200_000 + "');\n" + "SELECT 1;\n" * 2_000
    assert sum(1 for _ in split_statements(text)) == 2_001


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("-- fairlead: no-transaction", [Mark("no-transaction", "", 1)]),
        ("SELECT 1; --fairlead:contract\n", [Mark("contract", "", 1)]),
        ("a;\r\n-- fairlead: destructive because no one reads it\r\n", [Mark("destructive", "no one reads it", 2)]),
        (
            "-- fairlead: contract a\n-- fairlead: destructive b",
            [Mark("contract", "a", 1), Mark("destructive", "b", 2)],
        ),
        ("SELECT '\n-- fairlead: contract\n'", []),
        ('SELECT "\n-- fairlead: contract\n"', []),
        ("DO $x$\n-- fairlead: contract\n$x$", []),
        ("/*\n-- fairlead: contract\n*/", []),
        ("-- see fairlead: contract", []),
    ],
)
def test_marks_are_read_from_comments_alone(text: str, marks: list[Mark]) -> None:
    assert list(find_marks(text)) == marks


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\\connect other\nSELECT 1;", ["\\connect other"]),
        ("SELECT 1 \\gexec\n\\i other.sql\r\n", ["\\gexec", "\\i other.sql"]),
        ("SELECT '\\connect', $$ \\i $$; -- \\d\n/* \\q */", []),
        ("SELECT 1", []),
    ],
)
def test_commands_of_psql_are_told_from_sql(text: str, found: list[str]) -> None:
    assert [command.text for command in find_meta_commands(text)] == found


def test_words_of_a_statement_leave_strings_out() -> None:
    (statement,) = split_statements("/* a */ alter table \"T\" -- b\n ALTER c SET DEFAULT 'd' ;")
    assert statement.words == ("ALTER", "TABLE", '"T"', "ALTER", "C", "SET", "DEFAULT")


def test_two_megabytes_are_read_in_a_moment() -> None:
    text = "INSERT INTO t VALUES (1, 'it''s', E'a\\n', 12.5, NULL);\nUPDATE t SET a = 1;\n" * 30_000
    started = time.process_time()
    assert find_transaction_control(f"{text}COMMIT")[0].start == len(text)
    assert time.process_time() - started < 4
