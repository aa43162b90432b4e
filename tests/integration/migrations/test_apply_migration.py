"""`python backend/apply_migration.py 015_new_feature.sql`, in a checkout and inside a release."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["checkout", "release"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The program with two migrations beside it; fairlead/ lies above it in a checkout, and beside it in a release."""
    backend = tmp_path / "my code" / "backend"
    (backend / "migrations").mkdir(parents=True)
    (backend / "migrations" / "001_a.sql").write_text("CREATE TABLE a ();")
    (backend / "migrations" / "002_b.sql").write_text("CREATE TABLE b ();")
    toolkit = (backend.parent if request.param == "checkout" else backend) / "fairlead"
    toolkit.symlink_to(ROOT / "fairlead")
    return Path(shutil.copy(ROOT / "backend" / "apply_migration.py", backend))


def run(script: Path, *arguments: str, url: str | None) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "PYTHONPATH"}}
    if url is not None:
        environment["DATABASE_URL"] = url
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


def versions(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()]


def test_files_are_applied_one_by_one(script: Path, fresh_database_url: str) -> None:
    for name, label in (("001_a.sql", "001_a"), ("migrations/002_b.sql", "002_b")):
        done = run(script, name, url=fresh_database_url)
        assert done.returncode == 0, done.stderr
        assert f"{label} applied to postgres@127.0.0.1" in done.stderr
    assert versions(fresh_database_url) == ["001", "002"]


def test_version_and_whole_path_name_a_file_too(script: Path, fresh_database_url: str) -> None:
    for name in ("1", script.parent / "migrations" / "002_b.sql"):
        done = run(script, str(name), url=fresh_database_url)
        assert done.returncode == 0, done.stderr
    assert versions(fresh_database_url) == ["001", "002"]


def test_file_of_another_folder_is_refused(script: Path, tmp_path: Path) -> None:
    other = tmp_path / "001_a.sql"
    other.write_text("DROP TABLE a;")
    done = run(script, str(other), url="postgresql:///x")
    assert done.returncode == 10
    assert "does not lie in" in done.stderr


def test_pooler_is_warned_of(script: Path) -> None:
    done = run(script, "001_a.sql", url="postgresql://u:hush-hush@127.0.0.1:6543/x")
    assert done.returncode == 11
    assert "looks like a pooler" in done.stderr
    assert "hush-hush" not in done.stderr


def test_file_that_is_applied_already_says_so(script: Path, fresh_database_url: str) -> None:
    run(script, "001_a.sql", url=fresh_database_url)
    done = run(script, "001_a.sql", url=fresh_database_url)
    assert done.returncode == 0
    assert "001_a is applied already" in done.stderr


def test_file_with_earlier_ones_pending_is_refused(script: Path, fresh_database_url: str) -> None:
    done = run(script, "002_b.sql", url=fresh_database_url)
    assert done.returncode == 11
    assert "002_b cannot be applied before 001_a" in done.stderr
    assert "apply that first: 001_a.sql" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "url", "code", "told"),
    [
        (["009_none.sql"], "postgresql:///x", 11, "there is no migration 009_none.sql"),
        (["001_a.sql"], None, 10, "DATABASE_URL is not set"),
        (["001_a.sql"], "", 10, "DATABASE_URL is not set"),
        ([], "postgresql:///x", 10, "name the one file"),
        (["001_a.sql", "002_b.sql"], "postgresql:///x", 10, "name the one file"),
        (["001_a.sql"], "mysql://u:hush-hush@h/x", 11, "mysql:// is no address"),
        (["001_a.sql"], "postgresql://u:hush-hush@127.0.0.1:1/x", 11, "nothing listens there"),
    ],
)
def test_each_mistake_has_a_message_and_a_code(
    script: Path, arguments: list[str], url: str | None, code: int, told: str
) -> None:
    done = run(script, *arguments, url=url)
    assert done.returncode == code
    assert told in done.stderr
    assert "next: " in done.stderr
    assert "hush-hush" not in done.stderr


def test_failing_file_shows_where(script: Path, fresh_database_url: str) -> None:
    (script.parent / "migrations" / "001_a.sql").write_text("SELECT 1;\nSELEC 2;")
    done = run(script, "001_a.sql", url=fresh_database_url)
    assert done.returncode == 11
    assert "001_a.sql:2:1: syntax error" in done.stderr


def test_help_is_printed(script: Path) -> None:
    done = run(script, "--help", url=None)
    assert done.returncode == 0
    assert "015_new_feature.sql" in done.stdout


def test_missing_toolkit_is_told(script: Path) -> None:
    for folder in (script.parent, script.parent.parent):
        (folder / "fairlead").unlink(missing_ok=True)
    # Without site-packages, where Fairlead may be installed.
    argv = [sys.executable, "-I", "-S", script, "001_a.sql"]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 10
    assert "there is no fairlead/ beside" in done.stderr
    assert "Traceback" not in done.stderr
