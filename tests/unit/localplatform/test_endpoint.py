"""Which port is taken, and whether what a file says about a platform is still so."""

import dataclasses
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from fairlead.localplatform import endpoint, ports, releases
from fairlead.localplatform.endpoint import Endpoint
from fairlead.localplatform.processes import fetch_start_time
from fairlead.localplatform.server import database_name

ENDPOINT = Endpoint(
    api_url="http://127.0.0.1:1",
    public_url="http://127.0.0.1:2",
    token="canary-token",
    project_id="p",
    environment_id="e",
    service_id="s",
    database_url="postgresql://u:canary-password@h/d",
    pid=os.getpid(),
    wanted_port=8000,
    port=8001,
)


def facts(**changed: Any) -> dict[str, Any]:
    started = fetch_start_time(os.getpid())
    return {
        "protocol": 1,
        "version": "1",
        "started": started,
        "endpoint": dataclasses.asdict(ENDPOINT),
    } | changed


def test_state_comes_back_for_its_owner_only(tmp_path: Path) -> None:
    endpoint.write_state(tmp_path, facts())
    state = endpoint.read_running_state(tmp_path)
    assert state is not None
    assert state.endpoint == ENDPOINT
    assert stat.S_IMODE(endpoint.state_file(tmp_path).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["daemon.json"]


def test_state_of_another_process_with_the_same_id_counts_for_nothing(tmp_path: Path) -> None:
    endpoint.write_state(tmp_path, facts(started="1"))
    assert endpoint.read_state(tmp_path) is not None
    assert endpoint.read_running_state(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"endpoint": {}, "started": "1", "protocol": 1, "version": "1"}']
)
def test_state_that_makes_no_sense_counts_for_nothing(tmp_path: Path, text: str) -> None:
    endpoint.state_file(tmp_path).write_text(text)
    assert endpoint.read_state(tmp_path) is None


def test_endpoint_does_not_show_its_secrets() -> None:
    assert "canary" not in repr(ENDPOINT)


def test_wanted_port_is_taken_when_it_is_free() -> None:
    wanted = ports.choose_free_port()
    with ports.bind_public(wanted) as bound:
        assert ports.port_of(bound) == wanted


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - a program that listens everywhere
def test_next_port_is_taken_when_another_program_listens(address: str) -> None:
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        with ports.bind_public(other.getsockname()[1]) as bound:
            assert ports.port_of(bound) > other.getsockname()[1]


def test_port_of_the_last_time_is_kept() -> None:
    wanted, last = ports.choose_free_port(), ports.choose_free_port()
    with ports.bind_public(wanted, last=last) as bound:
        assert ports.port_of(bound) == last


def test_port_0_is_any() -> None:
    with ports.bind_public(0) as one, ports.bind_public(0) as two:
        assert ports.port_of(one) != ports.port_of(two)


@pytest.mark.parametrize(
    ("name", "database"),
    [("maya-backend", "maya_backend"), ("Big.Name", "big_name"), ("9lives", "app_9lives"), ("x" * 80, "x" * 63)],
)
def test_database_is_named_after_the_project(tmp_path: Path, name: str, database: str) -> None:
    from fairlead import config

    (tmp_path / "pyproject.toml").write_text(f'[tool.fairlead]\nname = "{name}"\n')
    assert database_name(config.load(tmp_path, environ={})) == database


def test_procfile_lines_are_read_by_process_type(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: a: b\n\n# web: no\nworker:work\nbroken\nempty:\n")
    assert releases.read_procfile(tmp_path) == {"web": "a: b", "worker": "work"}
