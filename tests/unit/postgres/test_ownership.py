"""One owner at a time, and strangers left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.exceptions import PlatformError
from fairlead.postgres.ownership import OwnerLock, end_orphan, is_server, read_pid, reap


def test_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    lock = OwnerLock.acquire(tmp_path / "a" / "owner.lock")
    with pytest.raises(PlatformError, match=f"belongs to process {os.getpid()}"):
        OwnerLock.acquire(tmp_path / "a" / "owner.lock")
    lock.release()


def test_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first = OwnerLock.acquire(tmp_path / "owner.lock")
    first.release()
    first.release()
    OwnerLock.acquire(tmp_path / "owner.lock").release()


def test_longer_name_of_an_earlier_owner_leaves_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "owner.lock"
    file.write_text("99999999999999\n")
    lock = OwnerLock.acquire(file)
    assert file.read_text() == f"{os.getpid()}\n"
    lock.release()


@pytest.mark.parametrize(
    ("content", "pid"), [("123\n/data\n", 123), ("123", 123), ("", None), ("x\n", None), ("-5\n", None), ("1\n", None)]
)
def test_process_is_read_from_the_first_line(tmp_path: Path, content: str, pid: int | None) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    assert read_pid(tmp_path / "postmaster.pid") == pid


def test_missing_file_names_no_process(tmp_path: Path) -> None:
    assert read_pid(tmp_path / "postmaster.pid") is None
    assert end_orphan(tmp_path) is False


def test_stranger_with_the_recorded_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "postmaster.pid").write_text(f"{stranger.pid}\n{tmp_path}\n")
        assert end_orphan(tmp_path) is False
        assert stranger.poll() is None
        assert not (tmp_path / "postmaster.pid").exists()
    finally:
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_record_of_a_process_that_is_gone_is_left_to_postgresql(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "postmaster.pid").write_text(f"{gone.pid}\n")
    assert end_orphan(tmp_path) is False
    assert (tmp_path / "postmaster.pid").exists()


def test_process_is_a_server_only_on_its_own_folder(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.symlink_to("/bin/sh")
    argv = [program, "-c", "echo ready; read line", "-D", tmp_path / "data"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            assert is_server(child.pid, tmp_path / "data")
            assert not is_server(child.pid, tmp_path / "other")
            assert not is_server(os.getpid(), tmp_path / "data")
        finally:
            child.kill()


def test_child_that_ignores_what_it_is_told_is_killed() -> None:
    code = "import signal\nfor n in (2, 3): signal.signal(n, signal.SIG_IGN)\nprint(flush=True)\nsignal.pause()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        reap(child, grace=0.2)
    assert child.returncode == -signal.SIGKILL
