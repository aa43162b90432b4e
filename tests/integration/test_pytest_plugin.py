"""The fixtures as another team's test-suite uses them: a pytest of its own, in a repository of its own."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from fairlead.postgres import Databases

ROOT = Path(__file__).parents[2]
SUITE = """
    import psycopg
    import pytest

    def ask(url, statement="SELECT count(*) FROM notes"):
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_shared_database_is_migrated_and_keeps_what_tests_write(database_url, number):
        before = ask(database_url)
        ask(database_url, "INSERT INTO notes DEFAULT VALUES")
        assert ask(database_url) == before + 1

    @pytest.mark.parametrize("number", [1, 2])
    def test_migrated_database_is_this_test_s_alone(migrated_database_url, number):
        assert ask(migrated_database_url) == 0
        ask(migrated_database_url, "INSERT INTO notes DEFAULT VALUES")

    @pytest.mark.parametrize("number", [1, 2])
    def test_fresh_database_is_empty(fresh_database_url, number):
        ask(fresh_database_url, "CREATE TABLE notes ()")

    def test_databases_differ(database_url, migrated_database_url, fresh_database_url):
        assert len({database_url, migrated_database_url, fresh_database_url}) == 3
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\n[tool.fairlead.migrations]\ndirectory = "db"\n')
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "001_notes.sql").write_text("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY);")
    (tmp_path / "test_suite.py").write_text("\n".join(line[4:] for line in SUITE.splitlines()))
    return tmp_path


def run_pytest(repository: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_CORE_"))}
    inherited.pop("FAIRLEAD_TEST_DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "fairlead.pytest_plugin", "-p", "no:cacheprovider", *arguments],
        cwd=repository,
        env={**inherited, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def count_databases(server: Databases) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_database WHERE NOT starts_with(datname, 'fairlead_template_')"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("arguments", [[], ["-n", "2"], ["-n", "4"]], ids=["alone", "2 workers", "4 workers"])
def test_suite_passes_alone_and_on_several_workers(repository: Path, arguments: list[str]) -> None:
    done = run_pytest(repository, "-W", "error", *arguments)
    assert "8 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [[], ["-n", "2"], ["-n", "4"]], ids=["alone", "2 workers", "4 workers"])
def test_given_server_is_used_and_left_as_it_was(
    repository: Path, fresh_database_url: str, postgres_server: Databases, arguments: list[str]
) -> None:
    before = count_databases(postgres_server)
    address = fresh_database_url.replace("postgresql://", "postgres://", 1)
    done = run_pytest(repository, *arguments, FAIRLEAD_TEST_DATABASE_URL=address)
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    assert count_databases(postgres_server) == before


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("db/001_notes.sql", "CREATE TABEL notes ();", "001_notes.sql:1:8: syntax error"),
        ("db/notes.sql", "SELECT 1;", "notes.sql: does not fit the convention"),
        ("pyproject.toml", "", "has no [tool.fairlead] table"),
    ],
)
def test_what_is_wrong_with_the_migrations_is_told_without_a_traceback(
    repository: Path, file: str, content: str, told: str
) -> None:
    (repository / file).write_text(content)
    done = run_pytest(repository, "-k", "migrated")
    assert done.returncode == 1
    assert told in done.stdout
    assert "Traceback" not in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_unreachable_server_is_told_without_its_password(repository: Path) -> None:
    done = run_pytest(repository, "-k", "fresh", FAIRLEAD_TEST_DATABASE_URL="postgresql://u:hush-hush@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "refused" in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr


def test_empty_database_needs_no_configuration(repository: Path) -> None:
    (repository / "pyproject.toml").unlink()
    done = run_pytest(repository, "-k", "fresh")
    assert "2 passed" in done.stdout, done.stdout


ROLLED_BACK = """
import psycopg
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_work_is_rolled_back(database, number):
    assert database.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    with database.transaction():
        database.execute("INSERT INTO notes DEFAULT VALUES")
    assert database.execute("SELECT count(*) FROM notes").fetchone() == (1,)

def test_commit_is_refused(database):
    with pytest.raises(psycopg.ProgrammingError):
        database.commit()

def test_failed_statement_harms_no_other_test(database):
    with pytest.raises(psycopg.errors.DivisionByZero):
        database.execute("SELECT 1 / 0")

def test_connection_may_be_closed(database):
    database.close()
"""


def test_work_on_the_database_fixture_is_rolled_back_after_each_test(repository: Path, fresh_database_url: str) -> None:
    (repository / "test_suite.py").write_text(ROLLED_BACK)
    done = run_pytest(repository, "-W", "error", FAIRLEAD_TEST_DATABASE_URL=fresh_database_url)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_commit_sent_as_sql_is_told_with_what_to_use_instead(repository: Path, fresh_database_url: str) -> None:
    (repository / "test_suite.py").write_text("def test_it(database):\n    database.execute('COMMIT')\n")
    done = run_pytest(repository, FAIRLEAD_TEST_DATABASE_URL=fresh_database_url)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "migrated_database_url" in done.stdout
