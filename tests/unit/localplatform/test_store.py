"""The platform's memory survives whatever ends its process."""

import base64
import sqlite3
from pathlib import Path

import pytest

from fairlead.exceptions import PlatformError
from fairlead.localplatform.records import BUILDING, FAILED, SUCCESS, OwnedProcess
from fairlead.localplatform.store import Store


def test_everything_is_there_again_after_reopening_without_a_close(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.add_deployment(message="first")
    second = store.add_deployment(message=None)
    store.change(first.id, status=BUILDING)
    store.change(first.id, status=FAILED, diagnosis="it broke", digest="sha256:1")
    store.remember("active", second.id)
    store.add_process(OwnedProcess(10, "123", "release"))
    store.add_process(OwnedProcess(11, "124", "release"))
    store.remove_process(10)
    facts = (store.project_id, store.environment_id, store.service_id(), store.token, store.secret("KEY"))

    again = Store(tmp_path)  # as after a kill -9: the other one was never closed
    assert again.deployments() == store.deployments()
    assert [deployment.id for deployment in again.deployments(limit=1)] == [second.id]
    assert again.statuses(first.id) == store.statuses(first.id)
    assert [status for status, _ in again.statuses(first.id)] == ["INITIALIZING", "BUILDING", "FAILED"]
    assert again.active == second.id
    assert again.processes() == (OwnedProcess(11, "124", "release"),)
    kept = (again.project_id, again.environment_id, again.service_id(), again.token, again.secret("KEY"))
    assert kept == facts
    assert len(set(facts)) == len(facts)
    store.close()
    again.close()


def test_two_folders_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert one.project_id != two.project_id
    assert one.token != two.token
    assert one.secret("KEY") != two.secret("KEY")
    one.close()
    two.close()


def test_generated_secrets_fit_a_fernet_key_and_a_jwt_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    secret = store.secret("ENCRYPTION_KEY")
    store.close()
    assert len(secret) >= 32
    assert len(base64.b64decode(secret, validate=True)) == 32


def test_two_processes_agree_on_a_secret_made_meanwhile(tmp_path: Path) -> None:
    one, two = Store(tmp_path), Store(tmp_path)
    assert one.secret("KEY") == two.secret("KEY")
    one.close()
    two.close()


def test_same_status_again_is_no_new_entry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployment = store.add_deployment(message=None)
    store.change(deployment.id, status=SUCCESS)
    before = store.change(deployment.id, status=SUCCESS)
    assert store.change(deployment.id, stopped=False).status_updated_at == before.status_updated_at
    assert len(store.statuses(deployment.id)) == 2
    store.close()


def test_change_that_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployment = store.add_deployment(message=None)
    other = sqlite3.connect(tmp_path / "state.sqlite3", isolation_level=None)
    store._connection.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")  # nobody else can write now, as on a full disk
    store.change(deployment.id, status=FAILED, diagnosis="the disk is full")
    with pytest.raises(PlatformError, match="cannot keep its state"):
        store.add_deployment(message="refused")
    assert [found.status for found in store.deployments()] == [FAILED]
    other.execute("ROLLBACK")
    other.close()
    store.remember("anything", 1)
    again = Store(tmp_path)
    assert [(found.status, found.diagnosis) for found in again.deployments()] == [(FAILED, "the disk is full")]
    store.close()
    again.close()


def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_text("this is not a database, and long enough to be looked at closely" * 10)
    with pytest.raises(PlatformError, match="cannot keep its state") as caught:
        Store(tmp_path)
    assert "starts afresh" in (caught.value.hint or "")
