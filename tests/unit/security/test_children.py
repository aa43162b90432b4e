import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.security import children


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as started:
        yield started.pid


def test_a_program_that_this_process_has_started_is_known(child: int) -> None:
    assert child in children._find(os.getpid())
    assert os.getpid() in children._find(os.getppid())
    assert child not in children._find(os.getppid())


@pytest.mark.skipif(shutil.which("ps") is None, reason="this machine has no ps")
def test_where_the_system_keeps_no_files_of_processes_they_are_asked_for(
    child: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_PROCESSES", tmp_path)
    assert child in children._find(os.getpid())


def test_a_name_with_anything_in_it_misleads_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in {"17": "17 (a) b) 1 2) S 4 17", "18": "gone", "19": "19 (sh) R 17 19"}.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "stat").write_text(text)
    monkeypatch.setattr(children, "_PROCESSES", tmp_path)
    assert (children._find(4), children._find(17)) == ([17], [19])


def test_where_no_process_can_be_told_none_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_PROCESSES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert children._find(os.getpid()) == []
