"""The sessions that a project's Alembic opens: their time-outs, their end with the runner, and where they lead."""

import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from fairlead import config, postgres
from fairlead._polling import wait_until
from fairlead.exceptions import MigrationError
from fairlead.migrations import Options, Step, open_engine
from fairlead.migrations.alembic import AlembicEngine
from fairlead.postgres import Databases
from tests.integration.migrations.alembic_projects import KINDS, METADATA, START, SYNC, add, make_project

SEEN = (
    "CREATE TABLE {} AS SELECT current_setting('lock_timeout') AS locks, current_setting('statement_timeout') AS"
    " statements, current_setting('client_connection_check_interval') AS checked"
)
EACH_ALONE = KINDS["url-from-ini"].replace("metadata=target_metadata", "metadata=target_metadata, **EACH")
RUNNER = (
    "import sys; from pathlib import Path; from fairlead.migrations.alembic import AlembicEngine;"
    " AlembicEngine(Path(sys.argv[1]), sys.argv[2], lock_timeout=None).apply()"
)


def seen(address: str, table: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        return connection.execute(f"SELECT * FROM {table}".encode()).fetchall()


def body(folder: Path, revision: str, *lines: str) -> None:
    """Write what the upgrade of a revision does, each line as Python."""
    file = folder / "scripts" / "versions" / f"{revision}.py"
    before, _, after = file.read_text().partition("def upgrade():\n")
    rest = after.partition("def downgrade():")[2]
    file.write_text(
        f"{before}def upgrade():\n" + "".join(f"    {line}\n" for line in lines) + f"def downgrade():{rest}"
    )


@pytest.mark.parametrize("kind", ["url-from-ini", "async"])
@pytest.mark.parametrize("options", ["", f"?options={quote('-c search_path=public')}"], ids=["plain", "with options"])
def test_every_session_has_the_time_outs_whatever_its_address_sets(
    kind: str, options: str, tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path, KINDS[kind]), "scripts", "c3", "b2", SEEN.format("seen"))
    AlembicEngine(tmp_path, fresh_database_url + options, lock_timeout=1.5, statement_timeout=40.0).apply()
    assert seen(fresh_database_url, "seen") == [("1500ms", "40s", "1s")]


def test_a_driver_of_its_own_protocol_has_the_time_outs_too(tmp_path: Path, fresh_database_url: str) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is installed by the gate, and not needed for anything else")
    add(make_project(tmp_path, KINDS["async"]), "scripts", "c3", "b2", SEEN.format("seen"))
    address = fresh_database_url.replace("postgresql://", "postgresql+asyncpg://")
    AlembicEngine(tmp_path, f"{address}?sslmode=disable", lock_timeout=1.5, statement_timeout=40.0).apply()
    assert seen(fresh_database_url, "seen") == [("1500ms", "40s", "1s")]


def test_what_runs_outside_a_transaction_has_no_time_out_and_what_follows_has(
    tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path), "scripts", "c3", "b2", "")
    outside, after = (SEEN.format(table) for table in ("outside", "after"))
    body(
        tmp_path,
        "c3",
        "with op.get_context().autocommit_block():",
        f"    op.execute({outside!r})",
        "    op.execute('CREATE INDEX CONCURRENTLY here ON rooms (id)')",
        f"op.execute({after!r})",
    )
    AlembicEngine(tmp_path, fresh_database_url, lock_timeout=1.0, statement_timeout=40.0).apply()
    assert seen(fresh_database_url, "outside") == [("0", "0", "1s")]
    assert seen(fresh_database_url, "after") == [("1s", "40s", "1s")]


def test_a_revision_that_left_its_transaction_is_not_run_again_on_its_own(
    tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path), "scripts", "c3", "b2", "")
    body(
        tmp_path,
        "c3",
        "with op.get_context().autocommit_block():",
        "    op.execute('CREATE INDEX CONCURRENTLY here ON beds (id)')",
        "op.execute('ALTER TABLE rooms ADD name text')",
    )
    AlembicEngine(tmp_path, fresh_database_url).apply(to="b2")
    told: list[str] = []
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("LOCK TABLE rooms")
        process = holder.info.backend_pid
        with pytest.raises(MigrationError, match=r"c3_make_c3 .* fails") as failed:
            AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.2).apply(
                on_progress=lambda step: told.append(step.kind)
            )
    assert told == ["started"]
    assert "what it did before this is kept" in failed.value.message
    assert f"held by server process {process}" in failed.value.message


def test_each_revision_is_told_when_it_begins_and_when_it_is_done_across_a_lock(
    tmp_path: Path, fresh_database_url: str
) -> None:
    make_project(tmp_path, "EACH = {'transaction_per_migration': True}\n" + EACH_ALONE)
    add(tmp_path, "scripts", "c3", "b2", "SELECT 1")
    add(tmp_path, "scripts", "d4", "c3", "ALTER TABLE rooms ADD name text")
    AlembicEngine(tmp_path, fresh_database_url).apply(to="b2")
    told: list[tuple[str, str, int]] = []
    with psycopg.connect(fresh_database_url) as holder:
        holder.execute("LOCK TABLE rooms")

        def hear(step: Step) -> None:
            told.append((step.kind, step.migration.version, step.index))
            if [kind for kind, _, _ in told].count("waiting") == 2:
                holder.rollback()

        AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.2, sleep=lambda _: None).apply(on_progress=hear)
    first = [("started", "c3", 1), ("done", "c3", 1), ("started", "d4", 2)]
    waited = [("waiting", "d4", 2), ("started", "d4", 2)]
    assert told == [*first, *waited, *waited, ("done", "d4", 2)]


def test_a_reader_beside_a_blocked_revision_waits_no_longer_than_the_lock_timeout(
    tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path), "scripts", "c3", "b2", "ALTER TABLE rooms ADD name text")
    AlembicEngine(tmp_path, fresh_database_url).apply(to="b2")
    met = threading.Event()

    def hear(step: Step) -> None:
        if step.kind == "waiting":
            met.set()

    engine = AlembicEngine(tmp_path, fresh_database_url, lock_timeout=0.5)
    run = threading.Thread(target=engine.apply, kwargs={"on_progress": hear})
    worst = 0.0
    with psycopg.connect(fresh_database_url, autocommit=True) as reader, psycopg.connect(fresh_database_url) as holder:
        holder.execute("SELECT FROM rooms")
        run.start()
        while not met.is_set() and run.is_alive():
            began = time.monotonic()
            reader.execute("SELECT FROM rooms")
            worst = max(worst, time.monotonic() - began)
        holder.rollback()
        run.join()
    assert 0.1 < worst <= 1.0
    assert {row.state for row in AlembicEngine(tmp_path, fresh_database_url).status()} == {"applied"}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_alembic_and_its_session_end_with_the_runner(
    sent: signal.Signals, tmp_path: Path, fresh_database_url: str
) -> None:
    add(make_project(tmp_path), "scripts", "c3", "b2", "SELECT pg_advisory_xact_lock(7)")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with psycopg.connect(fresh_database_url, autocommit=True) as looking:
        looking.execute("SELECT pg_advisory_lock(7)")
        argv = [sys.executable, "-c", RUNNER, str(tmp_path), fresh_database_url]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as runner:
            wait_until(lambda _left: looking.execute(waiting).fetchone(), timeout=30, interval=0.05, what="revision c3")
            children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
            runner.send_signal(sent)
        (child,) = children
        wait_until(lambda _left: not Path(f"/proc/{child}").exists() or None, timeout=10, interval=0.02, what="its end")
        # The lock that it waits for is never given to it: only the server's own look ends the session.
        wait_until(
            lambda _left: looking.execute(waiting).fetchone() is None or None,
            timeout=5,
            interval=0.05,
            what="no session",
        )
    assert {row.state for row in AlembicEngine(tmp_path, fresh_database_url).status()} == {"pending"}


def test_a_database_of_the_same_name_on_another_server_is_refused(tmp_path: Path, fresh_database_url: str) -> None:
    name = fresh_database_url.rpartition("/")[2]
    with postgres.temporary_server() as other:
        with psycopg.connect(other.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        elsewhere = other.url(name).replace("postgresql://", "postgresql+psycopg://")
        make_project(tmp_path, START + METADATA + f"url = {elsewhere!r}\n" + SYNC)
        with pytest.raises(MigrationError, match="on another server") as refused:
            AlembicEngine(tmp_path, fresh_database_url).apply()
        assert "DATABASE_URL" in str(refused.value.hint)
        with psycopg.connect(other.url(name)) as connection:
            assert connection.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


def test_a_command_that_ends_well_and_applied_nothing_is_no_success(tmp_path: Path, fresh_database_url: str) -> None:
    make_project(tmp_path, "import sys\nif 'upgrade' in sys.argv: sys.exit(0)\n" + KINDS["url-from-ini"])
    with pytest.raises(MigrationError, match="did not run a1_make_a1, b2_make_b2"):
        AlembicEngine(tmp_path, fresh_database_url).apply()


def test_a_missing_database_is_created_when_asked_for(tmp_path: Path, postgres_server: Databases) -> None:
    make_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.fairlead]\nname = "shop"\nmigrations = { engine = "alembic", directory = "." }\n', "utf-8"
    )
    settings = config.load(tmp_path).migrations
    name = f"made_{secrets.token_hex(4)}"
    try:
        with (
            pytest.raises(MigrationError, match=f"no database {name}"),
            open_engine(settings, postgres_server.url(name)) as engine,
        ):
            engine.apply()
        with open_engine(settings, postgres_server.url(name), options=Options(create=True)) as engine:
            assert [m.version for m in engine.apply()] == ["a1", "b2"]
    finally:
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
