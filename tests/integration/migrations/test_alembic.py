"""The Alembic engine on a real server, over the kinds of env.py that projects have."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from fairlead._polling import wait_until
from fairlead.exceptions import MigrationError
from fairlead.migrations import Step, connect, find_irreversible
from fairlead.migrations.alembic import AlembicEngine
from fairlead.migrations.lock import hold_lock

_METADATA = """
import sqlalchemy as sa
target_metadata = sa.MetaData()
sa.Table("rooms", target_metadata, sa.Column("id", sa.Integer, primary_key=True))
sa.Table("beds", target_metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
_SYNC = """
with sa.create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
_ASYNC = """
import asyncio
from sqlalchemy.ext.asyncio import async_engine_from_config

def run(connection):
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = async_engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.")
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""
_START = "import os\nfrom alembic import context\nconfig = context.config\n"
_FROM_INI = 'url = config.get_main_option("sqlalchemy.url")\n'
_KINDS = {
    "url-from-ini": _START + _METADATA + _FROM_INI + _SYNC,
    "url-from-settings": _START + _METADATA + 'url = os.environ["DATABASE_URL"]\n' + _SYNC,
    "async": _START + _METADATA + _ASYNC,
    "asserts-cmd-opts": _START
    + "assert config.cmd_opts is not None and hasattr(config.cmd_opts, 'x')\nprint('noise')\n"
    + _METADATA
    + _FROM_INI
    + _SYNC,
    "no-metadata": _START + "import sqlalchemy as sa\ntarget_metadata = None\n" + _FROM_INI + _SYNC,
}


def _revision(revision: str, below: str | None, up: str, down: str) -> str:
    return dedent(f'''\
        """make {revision}"""
        from alembic import op
        revision = {revision!r}
        down_revision = {below!r}
        branch_labels = depends_on = None

        def upgrade():
            op.execute({up!r})

        def downgrade():
            {down}
        ''')


def _project(folder: Path, env: str, *, location: str = "scripts") -> Path:
    ini_url = "driver://user:pass%%40word@localhost/name"
    (folder / "alembic.ini").write_text(f"[alembic]\nscript_location = {location}\nsqlalchemy.url = {ini_url}\n")
    scripts = folder / location
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(env)
    (scripts / "script.py.mako").write_text(
        '"""${message}"""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision = ${repr(up_revision)}\n'
        "down_revision = ${repr(down_revision)}\nbranch_labels = depends_on = None\n\n\ndef upgrade():\n"
        '    ${upgrades if upgrades else "pass"}\n\n\ndef downgrade():\n    ${downgrades if downgrades else "pass"}\n'
    )
    _add(folder, location, "a1", None, "CREATE TABLE rooms (id serial PRIMARY KEY)", "op.drop_table('rooms')")
    _add(folder, location, "b2", "a1", "CREATE TABLE beds (id serial PRIMARY KEY)", "op.drop_table('beds')")
    return folder


def _add(folder: Path, location: str, revision: str, below: str | None, up: str, down: str = "pass") -> None:
    (folder / location / "versions" / f"{revision}.py").write_text(_revision(revision, below, up, down))


def _states(engine: AlembicEngine) -> dict[str, str]:
    return {row.version: row.state for row in engine.status()}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_project_goes_up_and_one_down_whatever_its_env_is_like(
    kind: str, tmp_path: Path, fresh_database_url: str
) -> None:
    with AlembicEngine(_project(tmp_path, _KINDS[kind]), fresh_database_url) as engine:
        told: list[Step] = []
        assert [m.label for m in engine.apply(on_progress=told.append)] == ["a1_make_a1", "b2_make_b2"]
        assert [(step.kind, step.index, step.total) for step in told] == [("done", 1, 2), ("done", 2, 2)]
        assert engine.warnings() == (
            ("alembic check was not run: target_metadata of env.py is None",) if kind == "no-metadata" else ()
        )
        assert [m.version for m in engine.revert(steps=1)] == ["b2"]
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
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "b2", "a1", "CREATE TABLE IF NOT EXISTS beds (id int)", down)
    with connect(fresh_database_url) as connection, AlembicEngine(tmp_path, fresh_database_url) as engine:
        assert find_irreversible(connection, engine.plan(), engine=engine, accepted=accepted) == told


def test_scripts_may_lie_beside_the_ini_and_a_new_one_is_filled_from_the_models(
    tmp_path: Path, fresh_database_url: str
) -> None:
    env = _KINDS["url-from-ini"].replace('sa.Table("beds"', 'sa.Table("lamps"')
    engine = AlembicEngine(_project(tmp_path, env, location="."), fresh_database_url)
    engine.apply()

    assert "New upgrade operations detected" in engine.warnings()[0]
    (made,) = engine.new("add lamps")
    assert "create_table('lamps'" in made.read_text()
    assert made.parent == tmp_path / "versions"


def test_an_existing_database_is_adopted_without_running_anything(tmp_path: Path, fresh_database_url: str) -> None:
    engine = AlembicEngine(_project(tmp_path, _KINDS["url-from-ini"]), fresh_database_url)

    assert [m.version for m in engine.baseline("a1")] == ["a1"]
    assert [m.version for m in engine.plan()] == ["b2"]
    with connect(fresh_database_url) as connection:
        assert connection.execute("SELECT to_regclass('rooms')").fetchone() == (None,)


def test_a_failing_revision_is_named_with_what_postgresql_said(tmp_path: Path, fresh_database_url: str) -> None:
    _add(_project(tmp_path, _KINDS["url-from-ini"]), "scripts", "c3", "b2", "SELECT missing_column")
    engine = AlembicEngine(tmp_path, fresh_database_url)

    with pytest.raises(MigrationError, match=r'c3_make_c3 \(.*c3\.py\) fails:(?s:.*)column "missing_column" does not'):
        engine.apply()
    assert set(_states(engine).values()) == {"pending"}


def test_several_heads_are_an_error_unless_the_configuration_says_otherwise(
    tmp_path: Path, fresh_database_url: str
) -> None:
    _add(_project(tmp_path, _KINDS["url-from-ini"]), "scripts", "c3", "a1", "SELECT 1")

    with pytest.raises(MigrationError, match="2 heads"):
        AlembicEngine(tmp_path, fresh_database_url).plan()
    planned = AlembicEngine(tmp_path, fresh_database_url, heads="warning").plan()
    assert {m.version for m in planned} == {"a1", "b2", "c3"}


def test_a_revision_without_its_file_is_told_and_stops_everything(tmp_path: Path, fresh_database_url: str) -> None:
    engine = AlembicEngine(_project(tmp_path, _KINDS["url-from-ini"]), fresh_database_url)
    engine.apply()
    (tmp_path / "scripts/versions/b2.py").unlink()

    assert _states(engine) == {"a1": "pending", "b2": "missing"}
    with pytest.raises(MigrationError, match="the database has revision b2"):
        engine.plan()


def test_an_env_that_connects_elsewhere_is_refused(tmp_path: Path, fresh_database_url: str) -> None:
    elsewhere = fresh_database_url.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://") + "/postgres"
    env = _START + _METADATA + f"url = {elsewhere!r}\n" + _SYNC

    with pytest.raises(MigrationError, match="connects to the database postgres instead of"):
        AlembicEngine(_project(tmp_path, env), fresh_database_url).apply()


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
        AlembicEngine(_project(tmp_path, env), fresh_database_url, python=python).status()
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
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "c3", "b2", "SELECT pg_advisory_xact_lock(7)")
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")

        def go_on(step: Step) -> None:
            if step.migration.version == "b2":
                holder.rollback()

        # Told only at the end, it would not get its lock.
        engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=20.0, lock_retry=0.0)
        assert [m.version for m in engine.apply(on_progress=go_on)] == ["a1", "b2", "c3"]


def test_a_lock_that_is_not_free_is_waited_for_in_turns(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "c3", "b2", "ALTER TABLE rooms ADD name text")
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
    assert told == [("waiting", "c3"), ("done", "c3")]


def test_a_lock_that_is_never_free_ends_the_run_and_changes_nothing(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "c3", "b2", "ALTER TABLE rooms ADD name text")
    engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.2, lock_retry=0.0)
    engine.apply(to="b2")
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("LOCK TABLE rooms")
        with pytest.raises(MigrationError, match=r"c3_make_c3 .* fails") as failed:
            engine.apply()
    assert "lock timeout" in failed.value.message
    assert _states(engine) == {"a1": "applied", "b2": "applied", "c3": "pending"}


def test_two_runners_at_once_apply_each_revision_exactly_once(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(AlembicEngine(tmp_path, fresh_database_url).apply) for _ in range(2)]
    assert sorted(m.version for run in runs for m in run.result()) == ["a1", "b2"]


def test_the_second_runner_waits_so_long_and_says_who_is_at_work(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    waiting = AlembicEngine(tmp_path, fresh_database_url, lock_wait=0.1)
    with (
        connect(fresh_database_url) as connection,
        hold_lock(connection, wait=0.0),
        pytest.raises(MigrationError) as refused,
    ):
        waiting.apply()
    assert "process" in refused.value.message


def test_a_project_may_be_configured_in_its_pyproject(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-settings"])
    (tmp_path / "alembic.ini").unlink()
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/scripts"\n', "utf-8")
    engine = AlembicEngine(tmp_path, fresh_database_url)
    assert [m.version for m in engine.apply()] == ["a1", "b2"]
    (made,) = engine.new("nothing new", autogenerate=False)
    assert made.parent == tmp_path / "scripts" / "versions"


def test_alembic_ends_with_the_runner_that_is_killed(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "c3", "b2", "SELECT pg_advisory_xact_lock(7)")
    script = (
        "import sys; from pathlib import Path; from fairlead.migrations.alembic import AlembicEngine;"
        " AlembicEngine(Path(sys.argv[1]), sys.argv[2], lock_timeout=None).apply()"
    )
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with psycopg.connect(fresh_database_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path), fresh_database_url]) as runner:
            wait_until(lambda _left: holder.execute(waiting).fetchone(), timeout=30, interval=0.05, what="revision c3")
            (child,) = _children(runner.pid)
            runner.kill()
        wait_until(lambda _left: not Path(f"/proc/{child}").exists() or None, timeout=10, interval=0.02, what="its end")
        holder.execute("SELECT pg_advisory_unlock(7)")
    assert set(_states(AlembicEngine(tmp_path, fresh_database_url)).values()) == {"pending"}


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_process_in_which_a_command_failed_serves_no_other(tmp_path: Path, fresh_database_url: str) -> None:
    _project(tmp_path, _KINDS["url-from-ini"])
    _add(tmp_path, "scripts", "c3", "b2", "SELECT 1 / 0")
    with AlembicEngine(tmp_path, fresh_database_url) as engine:
        engine.apply(to="a1")
        with pytest.raises(MigrationError, match="division by zero"):
            engine.apply()
        _add(tmp_path, "scripts", "c3", "b2", "SELECT 1")
        assert [m.version for m in engine.apply()] == ["b2", "c3"]
        assert engine.apply() == ()
