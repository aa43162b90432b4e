"""The acts of migrations on a database of their own, as a person runs them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psycopg
import pytest

from fairlead.postgres.databases import replace_database
from tests.git import git
from tests.integration.tasks.test_acts import Done, run_act

PYPROJECT = """\
[tool.fairlead]
name = "shop"
migrations = { directory = "migrations" }

[tool.fairlead.environments.local]
database-url-env = "SHOP_DATABASE_URL"
"""
FILES = {
    "001_orders.sql": "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric NOT NULL);",
    "001_orders.down.sql": "DROP TABLE orders;",
    "003_note.sql": "ALTER TABLE orders ADD COLUMN note text;",
    "003_note.down.sql": "ALTER TABLE orders DROP COLUMN note;",
}
Act = Callable[..., Done]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (tmp_path / "migrations").mkdir()
    for name, text in FILES.items():
        (tmp_path / "migrations" / name).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def act(shop: Path, fresh_database_url: str) -> Act:
    def run(*arguments: str, url: str = fresh_database_url) -> Done:
        with mock.patch.dict(os.environ, {"SHOP_DATABASE_URL": url}):
            return run_act(shop, *arguments)

    return run


def test_an_existing_database_is_adopted_without_running_anything(act: Act, fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, total numeric NOT NULL)")
    assert "already exists" in act("migrate").stderr
    adopted = act("migrations.baseline", "001")
    assert (adopted.returncode, "recorded 1 migration as applied" in adopted.stdout) == (0, True), adopted.stderr
    assert "applied 1 migration to local" in act("migrate").stdout
    assert "nothing to apply" in act("migrate").stdout


def test_what_is_below_the_newest_is_applied_only_when_asked_for(act: Act, shop: Path) -> None:
    assert act("migrate").returncode == 0
    (shop / "migrations" / "002_late.sql").write_text("CREATE TABLE late (id bigint);", "utf-8")
    refused = act("migrate")
    assert (refused.returncode, "002_late.sql" in refused.stderr) == (11, True)
    assert "applied 1 migration to local" in act("migrate", "--allow-out-of-order").stdout


def test_a_database_that_is_missing_is_created_only_when_asked_for(act: Act, fresh_database_url: str) -> None:
    missing = replace_database(fresh_database_url, f"{fresh_database_url.rpartition('/')[2]}_new")
    refused = act("migrate", url=missing)
    assert (refused.returncode, "--create" in refused.stderr) == (11, True), refused.stderr
    try:
        created = act("migrate", "--create", url=missing)
        assert created.returncode == 0, created.stderr
    finally:
        with psycopg.connect(fresh_database_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{missing.rpartition("/")[2]}"')


def test_an_interrupted_migration_is_resolved_by_a_person(act: Act, shop: Path, fresh_database_url: str) -> None:
    (shop / "migrations" / "004_unique.sql").write_text(
        "-- fairlead: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY orders_total ON orders (total);", "utf-8"
    )
    assert act("migrate", "--to", "003").returncode == 0
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("INSERT INTO orders VALUES (1, 5), (2, 5)")
    failed = act("migrate")
    assert (failed.returncode, "migrations.resolve 004" in failed.stderr) == (11, True), failed.stderr
    assert act("migrations.resolve", "004").returncode == 10
    assert "migrations.resolve 004" in act("migrate").stderr
    resolved = act("migrations.resolve", "004", "--reverted")
    assert resolved.returncode == 0, resolved.stderr
    assert "dropped the INVALID index" in resolved.stderr
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("DELETE FROM orders WHERE id = 2")
    assert "applied 1 migration to local" in act("migrate").stdout


def test_verify_names_the_revision_that_does_not_reverse(act: Act, shop: Path) -> None:
    assert act("migrations.verify").returncode == 0
    (shop / "migrations" / "003_note.down.sql").write_text("SELECT 1;", "utf-8")
    found = act("migrations.verify")
    assert found.returncode == 11
    assert "003" in found.stderr
    assert "orders.note" in found.stderr


def test_asking_for_help_makes_no_migration(act: Act, shop: Path) -> None:
    before = sorted((shop / "migrations").iterdir())
    helped = act("migrations.new", "--help")
    assert (helped.returncode, "what it does, in a few words" in helped.stdout) == (0, True)
    assert sorted((shop / "migrations").iterdir()) == before


def drop_note(shop: Path, *marks: str) -> None:
    text = "".join(f"-- fairlead: {mark}\n" for mark in marks) + "ALTER TABLE orders DROP COLUMN note;"
    (shop / "migrations" / "004_drop.sql").write_text(text, "utf-8")
    (shop / "migrations" / "004_drop.down.sql").write_text("ALTER TABLE orders ADD COLUMN note text;", "utf-8")


def test_the_plan_tells_what_is_risky_and_changes_nothing(act: Act, shop: Path) -> None:
    assert act("migrate").returncode == 0
    drop_note(shop)
    plan = act("migrate", "--dry")
    assert (plan.returncode, "would apply 004_drop" in plan.stdout) == (0, True), plan.stderr
    assert "migrations/004_drop.sql:1:1: error: drops the column orders.note" in plan.stdout
    assert "003_note" not in plan.stdout
    assert "would apply 004_drop" in act("migrate", "--dry").stdout


def test_lint_refuses_what_breaks_the_release_that_serves(act: Act, shop: Path) -> None:
    clean = act("migrations.lint")
    assert (clean.returncode, clean.stdout) == (0, "2 migrations looked at: nothing stands against them\n"), (
        clean.stderr
    )
    drop_note(shop)
    sarif = shop / "lint.sarif"
    found = act("migrations.lint", "--since", "003", "--sarif", str(sarif), "--annotations")
    assert (found.returncode, "1 migration looked at: 2 errors" in found.stdout) == (11, True), found.stderr
    assert "::error file=migrations/004_drop.sql,line=1,col=1,title=contract::" in found.stdout
    assert len(json.loads(sarif.read_text("utf-8"))["runs"][0]["results"]) == 2
    report = json.loads(act("migrations.lint", "--json").stdout)
    assert {finding["rule"] for finding in report["findings"]} == {"contract", "destructive"}


def test_what_went_out_already_is_not_looked_at(act: Act, shop: Path) -> None:
    drop_note(shop)
    since = PYPROJECT.replace('"migrations" }', '"migrations", lint-since = "004" }')
    (shop / "pyproject.toml").write_text(since, "utf-8")
    assert act("migrations.lint").stdout.startswith("0 migrations looked at")


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ('lint-ignore = ["scan-under-lok"]', 10, "scan-under-lok, which is no rule"),
        ('engine = "alembic"', 11, "Alembic's revisions are programs"),
        ('lint-since = "009"', 11, "there is no migration 009"),
    ],
)
def test_lint_says_what_it_cannot_do(act: Act, shop: Path, setting: str, code: int, words: str) -> None:
    (shop / "pyproject.toml").write_text(PYPROJECT.replace('"migrations" }', f'"migrations", {setting} }}'), "utf-8")
    refused = act("migrations.lint")
    assert (refused.returncode, words in refused.stderr) == (code, True), refused.stderr


def test_a_contract_is_held_against_the_code_that_serves(act: Act, shop: Path) -> None:
    code = shop / "backend" / "app.py"
    code.parent.mkdir()
    code.write_text("QUERY = 'SELECT note FROM orders'\n", "utf-8")
    commit(shop, "reads note")
    code.write_text("QUERY = 'SELECT notes FROM orders'\n", "utf-8")
    commit(shop, "does without")
    drop_note(shop, "destructive because nobody wrote it", "contract because it is not read")
    unknown = act("migrations.lint")
    assert (unknown.returncode, "[use-unknown]" in unknown.stdout) == (0, True), unknown.stderr
    used = act("migrations.lint", "--serving", "HEAD~1")
    assert (used.returncode, "names it: backend/app.py:1" in used.stdout) == (11, True), used.stdout
    assert act("migrations.lint", "--serving", "HEAD").stdout == (
        "3 migrations looked at: nothing stands against them\n"
    )
    for strange in ("0123456", "--open-files-in-pager=true"):
        lost = act("migrations.lint", f"--serving={strange}")
        assert (lost.returncode, "cannot be looked at" in lost.stdout) == (11, True), lost.stdout


def commit(folder: Path, message: str) -> None:
    for arguments in (["init", "-q"], ["add", "backend"], ["commit", "-q", "-m", message]):
        git(folder, *arguments)
