"""`db.backup` and `db.restore` as a person runs them."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.tasks.test_migration_acts import Act, act, shop

__all__ = ["act", "shop"]


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    assert row is not None
    return int(row[0])


def test_a_backup_comes_back_in_place_of_what_was_there(act: Act, shop: Path, fresh_database_url: str) -> None:
    assert act("migrate").returncode == 0
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("INSERT INTO orders SELECT n, n FROM generate_series(1, 50) n")
    made = act("db.backup", "--json")
    assert made.returncode == 0, made.stderr
    manifest = json.loads(made.stdout)
    assert (manifest["rows"]["public.orders"], manifest["migration"]) == (50, "003")
    assert "-local-003-" in manifest["file"]
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("DELETE FROM orders")
    name = fresh_database_url.rpartition("/")[2]
    for arguments, code, told in (
        ((), 12, "is not empty"),
        (("--replace",), 16, "pass --name"),
        (("--replace", "--name", "other"), 12, "not other"),
    ):
        refused = act("db.restore", manifest["file"], *arguments)
        assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
        assert count(fresh_database_url) == 0
    restored = act("db.restore", manifest["file"], "--replace", "--name", name)
    assert restored.returncode == 0, restored.stderr
    assert count(fresh_database_url) == 50
    assert "nothing to apply" in act("migrate").stdout


@pytest.mark.parametrize(
    ("setting", "flags", "made"),
    [
        ("", (), False),
        ("", ("--backup",), True),
        ("backup = true", (), True),
        ("backup = true", ("--backup",), True),
        ("backup = true", ("--no-backup",), False),
        ("backup = false", ("--backup",), True),
    ],
)
def test_a_flag_of_deploy_is_stronger_than_what_the_environment_says(
    act: Act, shop: Path, setting: str, flags: tuple[str, ...], made: bool
) -> None:
    with (shop / "pyproject.toml").open("a") as file:
        file.write(f"{setting}\n")
    planned = act("deploy", "--dry", "--json", *flags)
    assert json.loads(planned.stdout)["backup"] is made, planned.stderr


def test_flags_of_deploy_that_contradict_each_other_are_refused(act: Act) -> None:
    refused = act("deploy", "--dry", "--backup", "--no-backup")
    assert (refused.returncode, "contradict" in refused.stderr) == (10, True), refused.stderr


def test_a_piped_backup_tells_no_progress(act: Act) -> None:
    made = act("db.backup")
    assert made.returncode == 0, made.stderr
    assert "\r" not in made.stderr
    assert "written in" not in made.stderr
