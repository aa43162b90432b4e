"""Runners that are killed, race each other, wait for a lock or lose their server; benchmarks/faults.py does more."""

import random
from pathlib import Path

import pytest

from fairlead import postgres
from fairlead.postgres import Databases
from tests.integration.migrations import killed_runs


@pytest.mark.parametrize("concurrently", [False, True], ids=["in transactions", "with CONCURRENTLY"])
def test_a_run_killed_at_any_moment_leaves_whole_migrations_and_can_be_finished(
    tmp_path: Path, postgres_server: Databases, concurrently: bool
) -> None:
    root = killed_runs.make_project(tmp_path / "project", concurrently=concurrently)
    chance = random.Random(20 + concurrently)  # noqa: S311 - to spread the kills, not to keep a secret
    for _ in range(3):
        with postgres.scratch_database(postgres_server) as name:
            killed_runs.kill_and_recover(root, postgres_server.url(name), chance, concurrently=concurrently)


def test_four_runners_at_once_apply_each_migration_exactly_once(tmp_path: Path, fresh_database_url: str) -> None:
    root = killed_runs.make_project(tmp_path / "project", concurrently=True)
    killed_runs.race(root, fresh_database_url)


def test_a_reader_beside_a_blocked_alter_waits_no_longer_than_the_lock_timeout(
    tmp_path: Path, fresh_database_url: str
) -> None:
    root = killed_runs.make_blocked_alter(tmp_path / "project", lock_timeout=0.5)
    assert killed_runs.measure_stall(fresh_database_url, lock_timeout=0.5, migrate=root, hold=2.5) <= 2.5


def test_a_server_that_is_stopped_in_the_middle_of_a_run_is_told_and_nothing_is_half_done(tmp_path: Path) -> None:
    root = killed_runs.make_project(tmp_path / "project", concurrently=False)
    slow = root / "migrations" / "010_step.sql"
    quick = slow.read_text("utf-8")
    slow.write_text(f"{quick}SELECT pg_sleep(60);\n", "utf-8")
    with postgres.Server.start(tmp_path / "server") as server:
        runner = killed_runs.start(root, server.url())
        killed_runs.wait_for_progress(server.url(), runner, count=9)
        server.stop()
        code, said = killed_runs.finish(runner)
    assert code == 11, said
    assert "010_step.sql" in said
    assert "Traceback" not in said
    slow.write_text(quick, "utf-8")
    with postgres.Server.start(tmp_path / "server") as server:
        assert killed_runs.check(server.url(), concurrently=False) is None
        assert killed_runs.finish(killed_runs.start(root, server.url()))[0] == 0
        assert killed_runs.check(server.url(), concurrently=False, complete=True) is None
