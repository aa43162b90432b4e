"""The Alembic engine on a real server, over the kinds of env.py that projects have."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations import Step, connect, find_irreversible
from fairlead.migrations.alembic import AlembicEngine
from fairlead.migrations.lock import hold_lock
from tests.integration.migrations.alembic_projects import KINDS, METADATA, START, SYNC, add, make_project


def _states(engine: AlembicEngine) -> dict[str, str]:
    return {row.version: row.state for row in engine.status()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_goes_up_and_one_down_whatever_its_env_is_like(
    kind: str, tmp_path: Path, fresh_database_url: str
) -> None:
    with AlembicEngine(make_project(tmp_path, KINDS[kind]), fresh_database_url) as engine:
        told: list[Step] = []
        assert [m.label for m in engine.apply(on_progress=told.append)] == ["a1_make_a1", "b2_make_b2"]
        assert [(step.kind, step.index, step.total) for step in told] == [
            (kind, index, 2) for index in (1, 2) for kind in ("started", "done")
        ]
        assert engine.warnings() == (
            ("alembic check was not run: target_metadata of env.py is None",) if kind == "no-metadata" else ()
        )
        assert [m.version for m in engine.revert(steps=1)] == ["b2"]
    assert all(0 < step.seconds < 30 for step in told if step.kind == "done")
    assert engine.warnings() == ()  # Alembic looks at no models while something is pending
    with connect(fresh_database_url) as connection:
        assert connection.execute("SELECT to_regclass('rooms'), to_regclass('beds')").fetchone() == ("rooms", None)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("a1",)]


@pytest.mark.parametrize(
    ("down", "accepted", "told"),
    [
        ("op.drop_table('beds')", {}, ()),
        ("op.execute('SELECT 1')", {}, ("b2_make_b2: down leaves table beds behind",)),
        ("op.execute('SELECT 1')", {"b2": "nobody minds"}, ()),
    ],
)
def test_every_revision_is_walked_up_down_and_up_again(
    down: str, accepted: dict[str, str], told: tuple[str, ...], tmp_path: Path, fresh_database_url: str
) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    add(tmp_path, "scripts", "b2", "a1", "CREATE TABLE IF NOT EXISTS beds (id int)", down)
    with connect(fresh_database_url) as connection, AlembicEngine(tmp_path, fresh_database_url) as engine:
        assert find_irreversible(connection, engine.plan(), engine=engine, accepted=accepted) == told


def test_scripts_may_lie_beside_the_ini_and_a_new_one_is_filled_from_the_models(
    tmp_path: Path, fresh_database_url: str
) -> None:
    env = KINDS["url-from-ini"].replace('sa.Table("beds"', 'sa.Table("lamps"')
    engine = AlembicEngine(make_project(tmp_path, env, location="."), fresh_database_url)
    engine.apply()

    assert "New upgrade operations detected" in engine.warnings()[0]
    (made,) = engine.new("add lamps")
    assert "create_table('lamps'" in made.read_text()
    assert made.parent == tmp_path / "versions"


def test_an_existing_database_is_adopted_without_running_anything(tmp_path: Path, fresh_database_url: str) -> None:
    engine = AlembicEngine(make_project(tmp_path, KINDS["url-from-ini"]), fresh_database_url)

    assert [m.version for m in engine.baseline("a1")] == ["a1"]
    assert [m.version for m in engine.plan()] == ["b2"]
    with connect(fresh_database_url) as connection:
        assert connection.execute("SELECT to_regclass('rooms')").fetchone() == (None,)


def test_a_failing_revision_is_named_with_what_postgresql_said(tmp_path: Path, fresh_database_url: str) -> None:
    add(make_project(tmp_path, KINDS["url-from-ini"]), "scripts", "c3", "b2", "SELECT missing_column")
    engine = AlembicEngine(tmp_path, fresh_database_url)

    with pytest.raises(
        MigrationError, match=r'c3_make_c3 \(.*c3\.py:8\) fails:(?s:.*)column "missing_column" does not'
    ) as failed:
        engine.apply()
    assert "site-packages" not in failed.value.message
    assert set(_states(engine).values()) == {"pending"}


def test_several_heads_are_an_error_unless_the_configuration_says_otherwise(
    tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path, KINDS["url-from-ini"]), "scripts", "c3", "a1", "SELECT 1")

    with pytest.raises(MigrationError, match="2 heads"):
        AlembicEngine(tmp_path, fresh_database_url).plan()
    planned = AlembicEngine(tmp_path, fresh_database_url, heads="warning").plan()
    assert {m.version for m in planned} == {"a1", "b2", "c3"}


def test_a_revision_without_its_file_is_told_and_stops_everything(tmp_path: Path, fresh_database_url: str) -> None:
    engine = AlembicEngine(make_project(tmp_path, KINDS["url-from-ini"]), fresh_database_url)
    engine.apply()
    (tmp_path / "scripts/versions/b2.py").unlink()

    assert _states(engine) == {"a1": "pending", "b2": "missing"}
    with pytest.raises(MigrationError, match="the database has revision b2"):
        engine.plan()


def test_an_env_that_connects_elsewhere_is_refused(tmp_path: Path, fresh_database_url: str) -> None:
    elsewhere = fresh_database_url.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://") + "/postgres"
    env = START + METADATA + f"url = {elsewhere!r}\n" + SYNC

    with pytest.raises(MigrationError, match="connects to the database postgres instead of"):
        AlembicEngine(make_project(tmp_path, env), fresh_database_url).apply()


@pytest.mark.parametrize(
    ("env", "python", "message"),
    [
        ("raise RuntimeError('no settings')", None, "no settings"),
        ("import os; os.kill(os.getpid(), 9)", None, "exit code -9"),
        ("", Path("/nowhere/python"), "/nowhere/python is not installed"),
        ("", None, "ran no migrations"),
    ],
)
def test_what_cannot_run_says_why(
    env: str, python: Path | None, message: str, tmp_path: Path, fresh_database_url: str
) -> None:
    with pytest.raises(MigrationError, match=message) as raised:
        AlembicEngine(make_project(tmp_path, env), fresh_database_url, python=python).status()
    assert raised.value.hint


def test_a_folder_without_an_ini_and_an_old_alembic_are_refused(tmp_path: Path) -> None:
    engine = AlembicEngine(tmp_path, "postgresql://user@localhost/name", python=Path(sys.executable))
    with pytest.raises(MigrationError, match=r"no alembic\.ini"):
        engine.status()
    (tmp_path / "alembic.ini").write_text("[alembic]\n")
    # The project's own folder comes first on the path, so that this stands for what is installed.
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic/__init__.py").write_text("__version__ = '1.13.2'\n")
    (tmp_path / "alembic/config.py").write_text("")
    with pytest.raises(MigrationError, match=r"alembic 1\.13\.2 is too old"):
        engine.status()


def test_a_revision_is_told_while_the_next_one_still_runs(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    add(tmp_path, "scripts", "c3", "b2", "SELECT pg_advisory_xact_lock(7)")
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")

        def go_on(step: Step) -> None:
            if step.kind == "done" and step.migration.version == "b2":
                holder.rollback()

        # Told only at the end, it would not get its lock.
        engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=20.0, lock_retry=0.0)
        assert [m.version for m in engine.apply(on_progress=go_on)] == ["a1", "b2", "c3"]


def test_a_lock_that_is_not_free_is_waited_for_in_turns(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    add(tmp_path, "scripts", "c3", "b2", "ALTER TABLE rooms ADD name text")
    AlembicEngine(tmp_path, fresh_database_url).apply(to="b2")
    told: list[tuple[str, str]] = []
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("LOCK TABLE rooms")

        def hear(step: Step) -> None:
            told.append((step.kind, step.migration.version))
            if step.kind == "waiting":
                holder.rollback()

        engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.2, sleep=lambda _seconds: None)
        assert [m.version for m in engine.apply(on_progress=hear)] == ["c3"]
    assert told == [(kind, "c3") for kind in ("started", "waiting", "started", "done")]


def test_a_lock_that_is_never_free_ends_the_run_and_changes_nothing(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    add(tmp_path, "scripts", "c3", "b2", "ALTER TABLE rooms ADD name text")
    engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.2, lock_retry=0.0)
    engine.apply(to="b2")
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("LOCK TABLE rooms")
        process = holder.info.backend_pid
        with pytest.raises(MigrationError, match=r"c3_make_c3 .* fails") as failed:
            engine.apply()
    assert f"a lock was not free within 0.2 s: held by server process {process}" in failed.value.message
    assert _states(engine) == {"a1": "applied", "b2": "applied", "c3": "pending"}


def test_two_runners_at_once_apply_each_revision_exactly_once(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(AlembicEngine(tmp_path, fresh_database_url).apply) for _ in range(2)]
    assert sorted(m.version for run in runs for m in run.result()) == ["a1", "b2"]


def test_the_second_runner_waits_so_long_and_says_who_is_at_work(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-ini"])
    waiting = AlembicEngine(tmp_path, fresh_database_url, lock_wait=0.1)
    with (
        connect(fresh_database_url) as connection,
        hold_lock(connection, wait=0.0),
        pytest.raises(MigrationError) as refused,
    ):
        waiting.apply()
    assert "process" in refused.value.message


def test_a_project_may_be_configured_in_its_pyproject(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, KINDS["url-from-settings"])
    (tmp_path / "alembic.ini").unlink()
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/scripts"\n', "utf-8")
    engine = AlembicEngine(tmp_path, fresh_database_url)
    assert [m.version for m in engine.apply()] == ["a1", "b2"]
    (made,) = engine.new("nothing new", autogenerate=False)
    assert made.parent == tmp_path / "scripts" / "versions"
