"""The linter finds what is unsafe and leaves alone what is not: the table it is judged by, and each of its rules."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import connect, load_migrations
from fairlead.migrations.lint import Options, Report, Uses, lint, render, render_annotations, render_sarif

Connection = psycopg.Connection[tuple[Any, ...]]

BASE = """
CREATE TYPE state AS ENUM ('new', 'done');
CREATE TABLE customers (id bigint PRIMARY KEY, email text, name varchar(50), age integer NOT NULL DEFAULT 0);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, state state, total numeric(10, 2), placed timestamptz);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE VIEW totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY 1;
CREATE FUNCTION greet(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hello ' || $1 $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
"""

#: What can hurt a database in use, and the rule that should say so.
UNSAFE = {
    "index": ("CREATE INDEX orders_placed ON orders (placed);", "scan-under-lock"),
    "unique constraint": ("ALTER TABLE customers ADD CONSTRAINT one UNIQUE (email);", "scan-under-lock"),
    "foreign key": ("ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id);", "scan-under-lock"),
    "check": ("ALTER TABLE customers ADD CONSTRAINT old CHECK (age >= 0);", "scan-under-lock"),
    "set not null": ("ALTER TABLE customers ALTER email SET NOT NULL;", "scan-under-lock"),
    "type that is rewritten": ("ALTER TABLE customers ALTER age TYPE bigint;", "table-rewrite"),
    "volatile default": ("ALTER TABLE orders ADD token uuid DEFAULT gen_random_uuid();", "table-rewrite"),
    "stored generated column": (
        "ALTER TABLE orders ADD twice numeric GENERATED ALWAYS AS (total * 2) STORED;",
        "table-rewrite",
    ),
    "serial column": ("ALTER TABLE orders ADD number bigserial;", "table-rewrite"),
    "type in a do block": (
        "DO $$ BEGIN ALTER TABLE customers ALTER age TYPE bigint; END $$;",
        "table-rewrite",
    ),
    "drop column": ("ALTER TABLE customers DROP COLUMN email;", "destructive"),
    "drop column in a do block": (
        "DO $$ BEGIN EXECUTE 'ALTER TABLE customers DROP COLUMN ' || 'email'; END $$;",
        "contract",
    ),
    "drop table": ("DROP TABLE orders CASCADE;", "destructive"),
    "rename column": ("ALTER TABLE customers RENAME email TO mail;", "contract"),
    "rename table": ("ALTER TABLE customers RENAME TO clients;", "contract"),
    "required column": ("ALTER TABLE customers ADD phone text NOT NULL;", "contract"),
    "narrower type": ("ALTER TABLE customers ALTER name TYPE varchar(20);", "contract"),
    "truncate": ("TRUNCATE orders;", "destructive"),
    "delete all": ("DELETE FROM orders;", "destructive"),
    "update all": ("UPDATE customers SET name = upper(name);", "mass-change"),
    "update all in a do block": (
        "DO $$ BEGIN UPDATE customers SET name = lower(name); END $$;",
        "mass-change",
    ),
}

#: What a database in use does not feel.
SAFE = {
    "nullable column": "ALTER TABLE customers ADD phone text;",
    "column with a constant default": "ALTER TABLE customers ADD active boolean NOT NULL DEFAULT true;",
    "new table with everything": (
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL CHECK (body <> ''));"
        " CREATE INDEX notes_body ON notes (body); INSERT INTO notes VALUES (1, 'x'); UPDATE notes SET body = 'y';"
    ),
    "constraint not yet valid": "ALTER TABLE customers ADD CONSTRAINT old CHECK (age >= 0) NOT VALID;",
    "foreign key not yet valid": (
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;"
    ),
    "wider varchar": "ALTER TABLE customers ALTER name TYPE varchar(100);",
    "a default for new rows": "ALTER TABLE customers ALTER email SET DEFAULT '';",
    "a new label": "ALTER TYPE state ADD VALUE 'late';",
    "one row by its key": "UPDATE customers SET name = 'x' WHERE id = 1;",
    "view and function made anew": (
        "DROP VIEW totals; CREATE VIEW totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY 1;"
        " CREATE OR REPLACE FUNCTION greet(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hi ' || $1 $$;"
    ),
}


@pytest.fixture
def scratch(fresh_database_url: str) -> Iterator[Connection]:
    with connect(fresh_database_url) as connection:
        yield connection


def look(
    connection: Connection,
    folder: Path,
    *texts: str,
    options: Options | None = None,
    base: str = BASE,
    down: str | None = "SELECT 1;",
) -> Report:
    """Lint `texts` as the migrations 002, 003 … over a base."""
    write(folder, "001_base", base, "SELECT 1;")
    for number, text in enumerate(texts, 2):
        write(folder, f"{number:03}_step", text, down)
    found = load_migrations(folder)
    return lint(found, pending=found[1:], connection=connection, root=folder, options=options)


def write(folder: Path, name: str, text: str, down: str | None) -> None:
    (folder / f"{name}.sql").write_text(text, "utf-8")
    if down is not None:
        (folder / f"{name}.down.sql").write_text(down, "utf-8")


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize(("text", "rule"), UNSAFE.values(), ids=list(UNSAFE))
def test_what_is_unsafe_is_found(scratch: Connection, tmp_path: Path, text: str, rule: str) -> None:
    report = look(scratch, tmp_path, f"-- what it is for\n{text}")
    assert rule in rules(report), render(report)
    assert report.failed
    assert all(finding.place.startswith("002_step.sql:2:") for finding in report.findings), render(report)


@pytest.mark.parametrize("text", SAFE.values(), ids=list(SAFE))
def test_what_is_safe_is_left_alone(scratch: Connection, tmp_path: Path, text: str) -> None:
    report = look(scratch, tmp_path, text)
    assert not report.findings, render(report)


#: What only shows in how statements follow each other, or where no transaction can be rolled back.
MORE = {
    "work below a lock": ("ALTER TABLE customers ADD phone text;\nUPDATE orders SET total = 0;", "mass-change", 2),
    "validation below a lock": (
        "ALTER TABLE orders ADD CONSTRAINT a CHECK (total > 0) NOT VALID;\nALTER TABLE orders VALIDATE CONSTRAINT a;",
        "work-under-lock",
        2,
    ),
    "lock table": ("LOCK TABLE orders IN EXCLUSIVE MODE;", "lock-table", 1),
    "reindex": ("REINDEX TABLE orders;", "scan-under-lock", 1),
    "cluster": ("CLUSTER orders USING orders_customer;", "table-rewrite", 1),
    "truncate in a do block": ("DO $$ BEGIN TRUNCATE orders; END $$;", "destructive", 1),
    "index outside a transaction": (
        "-- fairlead: no-transaction\nCREATE INDEX orders_placed ON orders (placed);",
        "squawk/require-concurrent-index-creation",
        2,
    ),
    "drop outside a transaction": (
        "-- fairlead: no-transaction\nALTER TABLE customers DROP COLUMN email;",
        "contract",
        1,
    ),
    "concurrently without the mark": ("CREATE INDEX CONCURRENTLY o ON orders (placed);", "needs-no-transaction", 1),
    "commit": ("SELECT 1;\nCOMMIT;", "transaction-control", 2),
    "several outside a transaction": (
        "-- fairlead: no-transaction\nANALYZE orders;\nANALYZE customers;",
        "several-statements",
        3,
    ),
    "index dropped": ("DROP INDEX orders_customer;", "squawk/require-concurrent-index-deletion", 1),
    "default taken away": ("ALTER TABLE customers ALTER age DROP DEFAULT;", "contract", 1),
    "function dropped": ("DROP FUNCTION greet(text);", "contract", 1),
    "label renamed": ("ALTER TYPE state RENAME VALUE 'new' TO 'fresh';", "contract", 1),
    "view dropped": ("DROP VIEW totals;", "contract", 1),
    "syntax": ("SELECT 1;\nALTER TABEL orders ADD x int;", "trial-failed", 2),
    "one row of many": (
        "INSERT INTO customers (id) VALUES (1);\nSET work_mem = '1MB';\nINSERT INTO customers (id) VALUES (1);",
        "trial-failed",
        3,
    ),
    "no such table": ("ALTER TABLE nothing ADD x int;", "trial-failed", 1),
}


@pytest.mark.parametrize(("text", "rule", "line"), MORE.values(), ids=list(MORE))
def test_what_shows_only_in_its_surroundings_is_found(
    scratch: Connection, tmp_path: Path, text: str, rule: str, line: int
) -> None:
    report = look(scratch, tmp_path, text)
    assert (rule, line) in {(finding.rule, finding.line) for finding in report.errors}, render(report)


def test_an_index_built_concurrently_is_safe(scratch: Connection, tmp_path: Path) -> None:
    text = "-- fairlead: no-transaction\nCREATE INDEX CONCURRENTLY orders_placed ON orders (placed);"
    assert not look(scratch, tmp_path, text).findings


def test_a_null_check_that_is_valid_spares_the_scan(scratch: Connection, tmp_path: Path) -> None:
    base = f"{BASE} ALTER TABLE customers ADD CONSTRAINT has_email CHECK (email IS NOT NULL);"
    text = "-- fairlead: contract because every release gives it\nALTER TABLE customers ALTER email SET NOT NULL;"
    report = look(scratch, tmp_path, text, base=base)
    assert "scan-under-lock" not in rules(report), render(report)


def test_the_second_statement_is_told_what_the_first_still_locks(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "ALTER TABLE customers ADD phone text;\nUPDATE orders SET total = 0;")
    assert "customers stays locked since an earlier statement, shutting readers and writers out" in render(report)


def test_a_missing_down_is_found_unless_it_is_accepted(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "SELECT 1;", down=None)
    assert rules(report) == ["missing-down"]


def test_a_missing_down_that_is_listed_is_none(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "SELECT 1;", down=None, options=Options(accepted={"2"}))
    assert not report.findings, render(report)


def test_what_comes_after_a_failing_migration_is_told_to_be_untried(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "SELECT 1;", "DROP TABLE nothing;", "SELECT 3;")
    assert [(finding.file, finding.rule) for finding in report.findings] == [
        ("003_step.sql", "trial-failed"),
        ("004_step.sql", "trial-failed"),
    ]
    assert "was not tried" in report.findings[1].message


def test_a_reason_excuses_and_none_does_not(scratch: Connection, tmp_path: Path) -> None:
    drop = "ALTER TABLE customers DROP COLUMN email;"
    bare = look(scratch, tmp_path, f"-- fairlead: destructive\n-- fairlead: contract because unused\n{drop}")
    assert [finding.rule for finding in bare.errors] == ["destructive"]
    assert "the reason is missing" in render(bare)


def test_a_mark_that_excuses_nothing_is_told(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "-- fairlead: destructive because of old rows\nSELECT 1;")
    assert [(finding.rule, finding.level, finding.line) for finding in report.findings] == [
        ("needless-mark", "warning", 1)
    ]
    assert not report.failed


@pytest.mark.parametrize(
    ("mark", "left"),
    [
        ("-- fairlead: accept mass-change because there are twelve", []),
        ("-- fairlead: accept mass-change", ["needless-mark", "mass-change"]),
        ("-- fairlead: accept mass-chnage because of haste", ["needless-mark", "mass-change"]),
    ],
)
def test_a_rule_is_accepted_by_name_and_reason(
    scratch: Connection, tmp_path: Path, mark: str, left: Sequence[str]
) -> None:
    assert rules(look(scratch, tmp_path, f"{mark}\nUPDATE customers SET name = 'x';")) == left


def test_a_rule_that_the_project_ignores_is_not_asked(scratch: Connection, tmp_path: Path) -> None:
    options = Options(ignore={"mass-change"})
    assert not look(scratch, tmp_path, "UPDATE customers SET name = 'x';", options=options).findings


CREATED_THEN_INDEXED = ("CREATE TABLE notes (id bigint, body text);", "CREATE INDEX notes_body ON notes (body);")


def test_each_migration_is_looked_at_as_if_those_before_had_gone_out(scratch: Connection, tmp_path: Path) -> None:
    assert rules(look(scratch, tmp_path, *CREATED_THEN_INDEXED)) == ["scan-under-lock"]


def test_what_goes_out_together_may_change_what_it_creates(scratch: Connection, tmp_path: Path) -> None:
    texts = (*CREATED_THEN_INDEXED, "ALTER TABLE notes RENAME body TO words;", "ALTER TABLE orders RENAME state TO s;")
    report = look(scratch, tmp_path, *texts, options=Options(together=True))
    assert [(finding.file, finding.rule) for finding in report.findings] == [("005_step.sql", "contract")]


def refuse(_name: str) -> Sequence[str]:
    raise MigrationError("the code of release 12 is not here")


@pytest.mark.parametrize(
    ("uses", "rule", "failed"),
    [
        (None, ["use-unknown"], False),
        (lambda _name: (), [], False),
        (lambda name: (f"backend/app/mail.py:7: {name}",), ["still-used"], True),
        (refuse, ["still-used"], True),
    ],
    ids=["not looked", "unused", "used", "cannot look"],
)
def test_a_contract_asks_whether_the_release_that_serves_uses_it(
    scratch: Connection, tmp_path: Path, uses: Uses | None, rule: Sequence[str], failed: bool
) -> None:
    text = "-- fairlead: contract because release 12 does without it\nALTER TABLE customers RENAME email TO mail;"
    report = look(scratch, tmp_path, text, options=Options(uses=uses))
    assert (rules(report), report.failed) == (rule, failed), render(report)


def test_the_report_speaks_sarif_and_annotations(scratch: Connection, tmp_path: Path) -> None:
    report = look(scratch, tmp_path, "\nDROP TABLE orders CASCADE;")
    document = json.loads(render_sarif(report))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    for result, finding in zip(run["results"], report.findings, strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("002_step.sql", 2)
    first = render_annotations(report).splitlines()[0]
    assert first.startswith("::error file=002_step.sql,line=2,col=1,title=contract::drops the ")


def test_lines_of_a_file_with_sections_are_the_file_s_own(scratch: Connection, tmp_path: Path) -> None:
    text = "-- migrate:up\n\nDROP VIEW totals;\n\n-- migrate:down\nSELECT 1;\n"
    report = look(scratch, tmp_path, text, down=None)
    assert [(finding.rule, finding.line) for finding in report.findings] == [("contract", 3)]
