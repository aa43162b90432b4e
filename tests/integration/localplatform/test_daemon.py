"""The platform's process: one for each folder, and nothing of it is ever left behind."""

import concurrent.futures
import os
import shutil
import socket
import stat
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from fairlead import _process, config, localplatform
from fairlead.exceptions import ConfigurationError, PlatformError
from fairlead.localplatform.endpoint import PROTOCOL, state_file
from tests.integration.localplatform.tiny import (
    Project,
    list_processes,
    make_bundle,
    make_digest,
    make_project,
    still_running,
    wait_for,
)

START = """
import pathlib, sys
from fairlead import config, localplatform
print(localplatform.start(config.load(pathlib.Path(sys.argv[1]))).pid)
"""


def test_start_is_idempotent_and_find_tells_the_same(project: Project) -> None:
    assert localplatform.find(project.config) is None
    endpoint = project.start()
    assert project.start() == endpoint
    assert localplatform.find(project.config) == endpoint


def test_two_starts_at_once_give_one_platform(project: Project) -> None:
    command = [
        sys.executable,
        "-c",
        START,
        str(project.root),
    ]
    environ = {**project.environ, "PYTHONPATH": str(Path(localplatform.__file__).parents[2])}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda _: _process.run(command, env=environ, timeout=120).stdout, range(2)))
    assert started[0] == started[1]


def test_stop_leaves_no_process(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle(), endpoint=endpoint)
    processes = list_processes(endpoint)
    assert len(processes) >= 4  # the platform, its guard, PostgreSQL, the release
    assert localplatform.stop(project.config)
    assert still_running(processes) == []
    assert not localplatform.stop(project.config)
    assert localplatform.find(project.config) is None
    assert not state_file(project.directory).exists()


def test_platform_outlives_the_command_that_started_it_and_serves_the_same_release_after_a_stop(
    project: Project,
) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    assert os.getsid(endpoint.pid) != os.getsid(0)
    localplatform.stop(project.config)
    again = project.start()
    assert (again.port, again.token, again.project_id, again.service_id) == (
        endpoint.port,
        endpoint.token,
        endpoint.project_id,
        endpoint.service_id,
    )
    assert project.serving_digest(again) == make_digest("kept")


def test_kill_9_leaves_nothing_and_the_next_start_serves_the_same_release(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    with psycopg.connect(endpoint.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    processes = list_processes(endpoint)
    project.kill_daemon(endpoint)
    wait_for(lambda: not still_running(processes))
    assert localplatform.find(project.config) is None
    again = project.start()
    assert project.serving_digest(again) == make_digest("kept")
    with psycopg.connect(again.database_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_start_right_after_a_kill_9_ends_what_was_left(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    processes = list_processes(endpoint)
    project.kill_daemon(endpoint)
    again = project.start()
    assert project.serving_digest(again) == make_digest("kept")
    wait_for(lambda: not still_running(processes))


def test_stop_after_a_kill_9_leaves_nothing(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle(), endpoint=endpoint)
    processes = list_processes(endpoint)
    project.kill_daemon(endpoint)
    localplatform.stop(project.config)
    wait_for(lambda: not still_running(processes))


def test_kill_9_in_the_middle_of_a_deployment_is_told_and_the_earlier_release_serves(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    waiting = {"preDeployCommand": 'touch "$GATES/waiting"; sleep 600'}
    interrupted = project.upload(make_bundle("new", deploy=waiting), endpoint)
    wait_for((project.gates / "waiting").exists)
    processes = list_processes(endpoint)
    project.kill_daemon(endpoint)
    again = project.start()
    deployment = project.ask(interrupted, again)
    assert deployment["status"] == "FAILED"
    assert "ended while this was being deployed" in deployment["diagnosis"]
    assert project.serving_digest(again) == make_digest("kept")
    wait_for(lambda: not still_running(processes))


def test_stop_in_the_middle_of_a_deployment_ends_it(project: Project) -> None:
    endpoint = project.start()
    waiting = {"preDeployCommand": 'touch "$GATES/waiting"; trap "" TERM; sleep 600 & wait; sleep 600'}
    project.upload(make_bundle(deploy=waiting), endpoint)
    wait_for((project.gates / "waiting").exists)
    processes = list_processes(endpoint)
    assert localplatform.stop(project.config)
    assert still_running(processes) == []


def test_port_taken_by_another_program_gives_the_next_free_one(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        project = make_project(tmp_path, settings=f"port = {taken}")
        try:
            endpoint = project.start()
            assert endpoint.wanted_port == taken
            assert taken < endpoint.port <= taken + 100
            assert httpx.get(f"{endpoint.public_url}/", timeout=30).status_code == 503
        finally:
            project.remove()


def test_stale_state_of_a_reused_process_id_is_recognised(project: Project) -> None:
    endpoint = project.start()
    file = state_file(project.directory)
    stale = file.read_text().replace(f'"pid": {endpoint.pid}', f'"pid": {os.getpid()}')
    localplatform.stop(project.config)
    file.write_text(stale)
    assert localplatform.find(project.config) is None
    assert not localplatform.stop(project.config)
    assert project.start().pid != os.getpid()


def test_platform_ends_by_itself_when_its_folder_is_removed(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle(), endpoint=endpoint)
    processes = list_processes(endpoint)
    shutil.rmtree(project.root / ".fairlead", ignore_errors=True)
    wait_for(lambda: not still_running(processes))


def test_platform_that_lost_its_state_file_is_followed_by_a_new_one(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    state_file(project.directory).unlink()
    again = project.start()
    assert again.pid != endpoint.pid
    assert project.serving_digest(again) == make_digest("kept")


def test_platform_of_another_version_is_replaced(project: Project) -> None:
    endpoint = project.start()
    file = state_file(project.directory)
    file.write_text(file.read_text().replace(f'"protocol": {PROTOCOL}', '"protocol": 0'))
    assert project.start().pid != endpoint.pid


def test_files_with_secrets_are_for_their_owner_only(project: Project) -> None:
    project.deploy(make_bundle())
    files = [state_file(project.directory), *project.directory.glob("state.sqlite3*"), project.directory / "daemon.log"]
    files += (project.directory / "logs").iterdir()
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_postgresql_that_dies_is_started_again_at_the_same_address(project: Project) -> None:
    endpoint = project.start()
    with psycopg.connect(endpoint.database_url) as connection:
        row = connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").fetchone()
    assert row is not None
    os.kill(row[0], 9)

    def answers() -> bool:
        try:
            with psycopg.connect(endpoint.database_url, connect_timeout=5) as connection:
                new = connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").fetchone()
        except psycopg.OperationalError:
            return False
        return new != row

    wait_for(answers)


def test_configuration_that_breaks_meanwhile_fails_the_deployment_only(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("kept"), endpoint=endpoint)
    file = project.root / "pyproject.toml"
    whole = file.read_text()
    file.write_text(whole + "\n[tool.fairlead.bundle]\ninclude = 3\n")
    deployment = project.deploy(make_bundle("new"), endpoint=endpoint)
    file.write_text(whole)
    assert deployment["status"] == "FAILED"
    assert "include" in deployment["diagnosis"]
    assert project.serving_digest(endpoint) == make_digest("kept")


def test_start_with_a_folder_that_cannot_be_made_says_so(project: Project) -> None:
    (project.root / ".fairlead").write_text("in the way")
    with pytest.raises(PlatformError, match="cannot be made"):
        project.start()
    (project.root / ".fairlead").unlink()


def test_platform_that_cannot_start_says_why(project: Project) -> None:
    project.directory.mkdir(parents=True)
    state = project.directory / "state.sqlite3"
    state.write_text("no database, and long enough to be looked at closely " * 10)
    with pytest.raises(PlatformError, match="did not start: the local platform cannot keep its state") as caught:
        project.start()
    assert "starts afresh" in (caught.value.hint or "")
    state.unlink()


def test_variables_of_a_release_are_given_to_commands_outside_it(project: Project) -> None:
    with pytest.raises(PlatformError, match="not running"):
        localplatform.release_environment(project.config)
    endpoint = project.start()
    project.deploy(make_bundle(), endpoint=endpoint)
    variables = localplatform.release_environment(project.config)
    served = httpx.get(f"{endpoint.public_url}/variables", timeout=30).json()
    for name in ("DATABASE_URL", "JWT_SECRET_KEY", "ENCRYPTION_KEY", "GREETING", "RAILWAY_SERVICE_ID"):
        assert variables[name] == served[name]
    lock = project.root / "requirements.txt"
    lock.touch()
    python = localplatform.prepare_environment(project.config, lock)
    assert python.is_file()
    assert python == localplatform.prepare_environment(project.config, lock)


def test_commands_run_in_the_release_that_serves(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PlatformError, match="not running"):
        localplatform.run_in_release(project.config, ["true"])
    endpoint = project.start()
    with pytest.raises(PlatformError, match="no release"):
        localplatform.run_in_release(project.config, ["true"])
    project.deploy(make_bundle(), endpoint=endpoint)
    shown = "os.environ['DATABASE_URL'], os.environ['GREETING'], os.path.exists('app.py'), sys.prefix"
    script = f"import os, sys; print({shown})"
    assert localplatform.run_in_release(project.config, ["python", "-c", script]) == 0
    assert localplatform.run_in_release(project.config, ["python", "-c", "raise SystemExit(7)"]) == 7
    url, greeting, inside, prefix = capfd.readouterr().out.strip().split(" ", 3)
    assert (url, greeting, inside) == (endpoint.database_url, "hello", "True")
    assert prefix.startswith(str(project.directory / "environments"))


def test_broken_configuration_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.fairlead]\nplatfrom = 1\n")
    with pytest.raises(ConfigurationError):
        config.load(tmp_path, environ={})
